#!/usr/bin/env python3
"""contract.py finds what it is there for, and nothing in a page that is right."""
import tempfile
import unittest
from pathlib import Path

import contract

TESTS = {
    "test_a.py": "import pytest\n\ndef test_one(client):\n    pass\n\n@pytest.mark.kafka_only\ndef test_two(client):\n    pass\n",
    "test_b.py": "import pytest\npytestmark = [pytest.mark.kafka_only, pytest.mark.alone]\n\ndef test_three():\n    pass\n",
}
GOOD = "- It is `a. B` so: {}. [`test_a.py::test_one`]\n"
PAGE = "# Title\n\nText. More text.\n\n" + "".join(f"## {n}. Name\n\n" + GOOD.format(n) + "\n" for n in contract.BEHAVIOURS) + "## Not yet\n\nNothing.\n"
RIGHT = [
    "- It is so,\n  and so. [`test_a.py::test_one`,\n  `test_a.py::test_two`]\n",
    "- On Kafka, it is so. [`test_b.py::test_three`]\n",
]
WRONG = {
    "no tests": ("- It is so.\n", "no sentence that ends with its tests"),
    "no list": ("It is so. [`test_a.py::test_one`]\n", "no sentence that ends with its tests"),
    "two sentences": ("- It is so. It is. [`test_a.py::test_one`]\n", "a second sentence"),
    "no name": ("- It is so. [tests]\n", "no names of tests"),
    "something beside a name": ("- It is so. [`test_a.py::test_one` and others]\n", "no names of tests"),
    "no such function": ("- It is so. [`test_a.py::test_three`]\n", "there is no test test_a.py::test_three"),
    "no such file": ("- It is so. [`test_c.py::test_one`]\n", "there is no test test_c.py::test_one"),
    "one log by its mark": ("- It is so. [`test_a.py::test_two`]\n", "on one log only"),
    "one log by its file": ("- It is so. [`test_b.py::test_three`]\n", "on one log only"),
}


def problems(page):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in {**TESTS, "page.md": page}.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        return contract.check(Path(folder, "page.md"), Path(folder))


class Contract(unittest.TestCase):
    def test_a_right_page_has_no_violation(self):
        self.assertEqual(problems(PAGE), [])
        for more in RIGHT:
            self.assertEqual(problems(PAGE.replace("## 2.", more + "\n## 2.")), [])

    def test_each_violation_is_found_alone(self):
        for what, (more, expected) in WRONG.items():
            with self.subTest(what):
                found = problems(PAGE.replace("## 2.", more + "\n## 2."))
                self.assertEqual(len(found), 1, found)
                self.assertIn(expected, found[0])

    def test_a_behaviour_that_is_missing_is_named(self):
        self.assertEqual(problems(PAGE.replace("## 16. Name", "## Others")), ["page.md: nothing about behaviour 16"])
        self.assertEqual(problems(PAGE.replace(GOOD.format(2), "")), ["page.md: nothing about behaviour 2"])


if __name__ == "__main__":
    unittest.main()
