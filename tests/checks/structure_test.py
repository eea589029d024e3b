#!/usr/bin/env python3
"""Each check of structure.py finds what it is there for, and nothing in a tree that is right."""
import argparse
import sys
import tempfile
import unittest
from pathlib import Path

import structure

CC = "gcc"
GOOD = {
    "base/a.h": "#ifndef A_H\n#define A_H\n#include <stdint.h>\nstruct a { uint32_t v; };\n#define A_MAGIC 0x1u\n#endif\n",
    "base/a_priv.h": '#include "base/a.h"\nextern struct a *the_a;\n',
    "base/rows.tbl.h": "ROW(one)\n",
    "base/a.c": '#include "base/a.h"\n#include "base/a_priv.h"\n#include <yaml.h>\n#include <sys/socket.h>\n',
    "eventlog/kafka/k.h": '#include "base/a.h"\n',
    "eventlog/log.c": '#include "eventlog/kafka/k.h"\n',
    "eventlog/kafka/k.c": "#include <librdkafka/rdkafka.h>\n",
    "rpc/r.c": '#include "base/a.h"\n#include "angzarr/types.pb-c.h"\n#include <grpc/grpc.h>\n',
    "tests/unit/base/t.c": '#include "base/a_priv.h"\n#include <cmocka.h>\n',
    "tests/mock/m.c": '#include "eventlog/kafka/k.h"\n#include <librdkafka/rdkafka_mock.h>\n',
    "build/x.c": "\t \n",
    "README.md": "text\n",
}
# what: (file, its text, what the message must hold)
BAD = {
    "a later folder": ("base/b.c", '#include "rpc/r.h"\n', "base may not include rpc/r.h: rpc comes after it"),
    "generated code in base": ("base/b.c", '#include "angzarr/types.pb-c.h"\n', "proto comes after it"),
    "private of another folder": ("rpc/b.c", '#include "base/a_priv.h"\n', "base/a_priv.h is private to base"),
    "one of the two logs": ("processor/b.c", '#include "eventlog/kafka/k.h"\n', "private to eventlog"),
    "private from a test of another": ("tests/unit/rpc/t.c", '#include "base/a_priv.h"\n', "private to base"),
    "a test's header": ("cmd/b.c", '#include "tests/lib/t.h"\n', "only tests may include"),
    "not from the root": ("base/b.c", '#include "a.h"\n', '"a.h" is not found'),
    "librdkafka outside": ("eventlog/log2.c", "#include <librdkafka/rdkafka.h>\n", "only in eventlog/kafka"),
    "rocksdb in kafka": ("eventlog/kafka/b.c", "#include <rocksdb/c.h>\n", "only in statestore, eventlog/embedded"),
    "grpc in gateway": ("gateway/b.c", "#include <grpc/grpc.h>\n", "only in rpc"),
    "yajl in gateway": ("gateway/b.c", "#include <yajl/yajl_gen.h>\n", "only in base, proto"),
    "cmocka in product code": ("base/b.c", "#include <cmocka.h>\n", "only in tests"),
    "an unknown library": ("base/b.c", "#include <curl/curl.h>\n", "<curl/curl.h> is not known"),
    "a header that needs another": ("base/b.h", "extern struct a v; uint32_t f(void);\n", "base/b.h: does not compile alone"),
    "a warning in a header": ("base/b.h", "int f();\n", "base/b.h: does not compile alone"),
    "a magic used twice": ("rpc/b.h", "#define B_MAGIC 0x00000001\n", "B_MAGIC has the value of A_MAGIC (base/a.h:5)"),
    "a tab": ("base/b.c", "int\tx;\n", "base/b.c:1: a tab"),
    "white space at the end": ("docs/b.md", "one\ntwo \n", "docs/b.md:2: white space"),
    "no newline at the end": ("docs/b.md", "one", "docs/b.md: no newline"),
}
EXTRA = {"rpc/r.h": "\n", "tests/lib/t.h": "\n"}


def problems(files):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return structure.check(Path(folder), cc=CC, flags=["-Werror", "-Wstrict-prototypes"])


class Structure(unittest.TestCase):
    def test_a_good_tree_has_no_violation(self):
        self.assertEqual(problems({**GOOD, **EXTRA}), [])

    def test_each_violation_is_found_alone(self):
        for what, (name, text, expected) in BAD.items():
            with self.subTest(what):
                found = problems({**GOOD, **EXTRA, name: text})
                self.assertEqual(len(found), 1, found)
                self.assertIn(expected, found[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--cc", default=CC)
    args, rest = parser.parse_known_args()
    CC = args.cc
    unittest.main(argv=sys.argv[:1] + rest)
