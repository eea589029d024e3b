#!/usr/bin/env python3
"""Checks docs/contract.md: each sentence of a numbered behaviour ends with the tests that prove it, they exist, and run on both logs.

    contract.py --page docs/contract.md --tests tests/e2e

Prints one line per violation and exits 1 when there is one.
"""
import argparse
import ast
import re
import sys
from pathlib import Path

BEHAVIOURS = [*range(1, 12), 15, 16]
SECTION = re.compile(r"## (\d+)\. ")
SENTENCE = re.compile(r"- (.+\.) \[([^\[\]]+)\]")
TEST = re.compile(r"`([^`:]+)::([^`:]+)`")
ONLY = {"kafka_only": "kafka", "embedded_only": "embedded"}
LOGS = {"kafka", "embedded"}
ONE_LOG = "On Kafka,"  # how a sentence begins that is about one log


def marked(node, logs):
    for mark, log in ONLY.items():
        if mark in ast.unparse(node):
            logs = logs & {log}
    return logs


def tests_of(folder):
    """{(file, function): logs that it runs on}"""
    found = {}
    for path in sorted(folder.glob("test_*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        of_all = LOGS
        for node in body:
            if isinstance(node, ast.Assign) and "pytestmark" in [getattr(t, "id", "") for t in node.targets]:
                of_all = marked(node.value, of_all)
        for node in body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                logs = of_all
                for decorator in node.decorator_list:
                    logs = marked(decorator, logs)
                found[path.name, node.name] = logs
    return found


def items(text):
    """(line, number of the behaviour, its sentence with the tests, on one line)"""
    number, found = 0, []
    for at, line in enumerate(text.splitlines(), 1):
        if line.startswith("#"):
            section = SECTION.match(line)
            number = int(section.group(1)) if section else 0
            found += [(at, number, "")] if section else []
        elif number and line.startswith("  ") and found[-1][2]:
            found[-1] = (*found[-1][:2], found[-1][2] + " " + line.strip())
        elif number and line:
            found.append((at, number, line))
    return found


def check_sentence(item, tests):
    parts = SENTENCE.fullmatch(item)
    if parts is None:
        return ["this is no sentence that ends with its tests: - Sentence. [`file.py::test`, …]"]
    sentence, names = parts.groups()
    if re.search(r"[.!?] ", re.sub(r"`[^`]*`", "", sentence)):
        return ["a second sentence: it needs tests of its own"]
    named = TEST.findall(names)
    if not named or TEST.sub("", names).strip(", "):
        return [f"these are no names of tests: {names}"]
    wrong = [f"there is no test {file}::{name}" for file, name in named if (file, name) not in tests]
    logs = set().union(*(tests.get(name, LOGS) for name in named))
    if logs != LOGS and not sentence.startswith(ONE_LOG):
        wrong.append(f"proved on one log only, {', '.join(logs)}")
    return wrong


def check(page, folder):
    tests = tests_of(folder)
    found, has = [], set()
    for line, number, item in items(page.read_text(encoding="utf-8")):
        if item:
            has.add(number)
            found += [f"{page.name}:{line}: {what}" for what in check_sentence(item, tests)]
    return found + [f"{page.name}: nothing about behaviour {n}" for n in BEHAVIOURS if n not in has]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, required=True)
    parser.add_argument("--tests", type=Path, required=True)
    args = parser.parse_args()
    found = check(args.page, args.tests)
    for what in found:
        print(what)
    print(f"{len(found)} violations" if found else "every sentence has its tests")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
