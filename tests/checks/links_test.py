#!/usr/bin/env python3
"""links.py finds each kind of link that leads nowhere, and nothing where all is well."""
import tempfile
import unittest
from pathlib import Path

import links

OTHER = "# The first\n## Twice, `said`\n## Twice, said\n### [A link](https://example.org) in it\n```\n# not a heading\n```\n"
GOOD = [
    "[a](docs/b.md) and [c](docs), ![d](docs/d.svg)",
    "[web](https://example.org/nothing) [mail](mailto:a@example.org) [cut](//example.org/x)",
    "[here](#here)\n# Here",
    "[part](docs/b.md#the-first) [second](docs/b.md#twice-said-1) [linked](docs/b.md#a-link-in-it)",
    "[title](docs/b.md \"what it is\") [angled](<docs/b.md>) [space](docs/with%20space.md)",
    "`[code](nothing.md)` ``a ` [code](nothing.md)``",
    "```\n[code](nothing.md)\n```",
    "text\n\n    [code](nothing.md)\n\n    [more](nothing.md)\n\ntext",
    "[a]\n\n[a]: docs/b.md",
]
# What is written -> what the message must hold.
BAD = {
    "[a](nothing.md)": "README.md:1: nothing.md is not there",
    "text\n[a](docs/b.md) [b](docs/nothing)": "README.md:2: docs/nothing is not there",
    "| [a](docs/b.md) | [b](nothing.md) |": "nothing.md is not there",
    "![a](nothing.png)": "nothing.png is not there",
    "[a]: nothing.md": "nothing.md is not there",
    "[a](../README.md)": "leads out of the tree",
    "[a](/docs/b.md)": "leads out of the tree",
    "[a](#nowhere)": "#nowhere has no heading #nowhere",
    "[a](docs/b.md#nowhere)": "has no heading #nowhere",
    "[a](docs/b.md#twice-said-2)": "has no heading #twice-said-2",
    "[a](docs/b.md#not-a-heading)": "has no heading #not-a-heading",
    "- point\n    [a](nothing.md)": "nothing.md is not there",
    "```\ncode\n```\n[a](nothing.md)": "README.md:4: nothing.md is not there",
}


def problems(text):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "tree"
        for name, content in {"README.md": text, "docs/b.md": OTHER, "docs/d.svg": "", "docs/with space.md": "",
                              "build/x.md": "[a](nothing.md)"}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content, encoding="utf-8")
        (root.parent / "README.md").write_text("", encoding="utf-8")
        return list(links.check(root))


class Links(unittest.TestCase):
    def test_links_that_lead_somewhere(self):
        for text in GOOD:
            with self.subTest(text):
                self.assertEqual(problems(text), [])

    def test_each_link_that_leads_nowhere_is_found_alone(self):
        for text, expected in BAD.items():
            with self.subTest(text):
                found = problems(text)
                self.assertEqual(len(found), 1, found)
                self.assertIn(expected, found[0])


if __name__ == "__main__":
    unittest.main()
