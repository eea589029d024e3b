#!/usr/bin/env python3
"""Relative links in *.md lead to a file or folder of the tree, and `#part` to a heading of the page it names.

    links.py --root DIR

Prints one line per link that leads nowhere (file:line: what) and exits 1 when there is one.  Links to the web are not followed.
"""
import argparse
import re
import sys
from pathlib import Path
from urllib.parse import unquote

from structure import walk

LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|^\s*\[[^\]]+\]:\s+<?(\S+?)>?\s*$")
FENCE = re.compile(r"^\s*(```+|~~~+)")
CODE = re.compile(r"(`+).*?\1")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")
WEB = re.compile(r"^[a-z][a-z0-9+.-]*:|^//", re.IGNORECASE)


def prose(text):
    """(line number, line) of what is not in a block of code: fenced, or indented after an empty line."""
    fence, empty, indented = None, True, False
    for number, line in enumerate(text.split("\n"), 1):
        mark = FENCE.match(line)
        if fence is not None:
            if mark and mark.group(1).startswith(fence):
                fence = None
            continue
        if mark:
            fence = mark.group(1)
            continue
        indented = line.startswith("    ") and (empty or indented)
        empty = not line.strip()
        if not indented:
            yield number, line


def anchors(text):
    """The names that headings get: lower case, punctuation gone, spaces to hyphens, -1, -2 … when there are several."""
    seen = {}
    for _, line in prose(text):
        found = HEADING.match(line)
        if not found:
            continue
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", found.group(1)).replace("`", "")
        name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        seen[name] = seen.get(name, -1) + 1
        yield name if seen[name] == 0 else f"{name}-{seen[name]}"


def wrong(root, path, target):
    """What is wrong with a link; None: nothing."""
    name, _, part = unquote(target).partition("#")
    to = (root / path.parent / name).resolve() if name else root / path
    if name.startswith("/") or not to.is_relative_to(root):
        return "leads out of the tree: write it relative to the page"
    if not to.exists():
        return "is not there"
    if part and to.suffix == ".md" and part not in anchors(to.read_text(encoding="utf-8")):
        return f"has no heading #{part}"
    return None


def check(root):
    for path in walk(root):
        if path.suffix != ".md":
            continue
        for number, line in prose((root / path).read_text(encoding="utf-8")):
            for found in LINK.finditer(CODE.sub("", line)):
                target = found.group(1) or found.group(2)
                what = None if WEB.match(target) else wrong(root, path, target)
                if what:
                    yield f"{path}:{number}: {target} {what}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    found = list(check(parser.parse_args().root.resolve()))
    for what in found:
        print(what)
    print(f"{len(found)} links lead nowhere" if found else "every link leads somewhere")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
