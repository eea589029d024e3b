#!/usr/bin/env python3
"""Checks of the tree: who includes whom, third-party headers, headers that stand alone, magic values, white space.

    structure.py --root DIR [--generated DIR] [--cc gcc] [-- compiler flags]

Prints one line per violation (file:line: what) and exits 1 when there is one.
"""
import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
from pathlib import Path

# A folder may include itself and those before it.
ORDER = ["base", "proto", "eventlog", "statestore", "rpc", "http", "topology", "processor", "gateway", "tools", "cmd"]
# These may include anything public; tests also what is private to the folder they test.
OUTSIDE = ["tests", "bench", "examples"]
SKIPPED = {"build", ".git", ".venv", ".cache", ".pytest_cache", "data", "node_modules", "__pycache__", "target"}

# Third-party header (prefix of its path) -> folders that may use it; a folder stands for what is below it too.
THIRD_PARTY = {
    "librdkafka/": ["eventlog/kafka"],
    "rocksdb/": ["statestore", "eventlog/embedded"],
    "grpc/": ["rpc"],
    "microhttpd.h": ["http"],
    "yaml.h": ["base"],
    "yajl/": ["base", "proto"],
    "openssl/": ["base"],
    "protobuf-c/": ORDER[1:],
    "cmocka.h": [],
}
STANDARD = set("""assert ctype errno fcntl float inttypes limits locale malloc math netdb poll pthread pwd sched setjmp
signal spawn stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string strings syslog termios time
ucontext unistd execinfo dirent getopt libgen fnmatch glob ftw search semaphore threads""".split())
STANDARD_FOLDERS = ("sys/", "linux/", "arpa/", "netinet/", "net/", "sanitizer/")

TEXT = {".c", ".h", ".py", ".md", ".cmake", ".txt", ".proto", ".yaml", ".yml", ".json", ".sh", ".toml", ".cfg", ".html",
        ".css", ".js", ".xml", ".rs", ".feature"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
MAGIC = re.compile(r"^\s*#\s*define\s+(\w*_MAGIC)\s+\(?(0[xX][0-9a-fA-F]+)")


def walk(root):
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in SKIPPED)
        for name in sorted(files):
            yield (Path(folder) / name).relative_to(root)


def sources(root):
    return [p for p in walk(root) if p.suffix in (".c", ".h") and p.parts[0] in ORDER + OUTSIDE]


def includes(root, path):
    for number, line in enumerate((root / path).read_text(encoding="utf-8").splitlines(), 1):
        found = INCLUDE.match(line)
        if found:
            yield number, found.group(1) == '"', found.group(2)


def below(path, folder):
    return path.as_posix().startswith(folder + "/")


def may_see_private(path, folder):
    """Tests of a folder may look inside it; the mock and contract suites look into eventlog."""
    if below(path, folder) or below(path, "tests/unit/" + folder):
        return True
    return folder == "eventlog" and (below(path, "tests/mock") or below(path, "tests/contract"))


def own_folder(root, generated, target):
    """The folder of ours that an include names; None: not ours."""
    if target.endswith(".pb-c.h") or (generated is not None and (generated / target).exists()):
        return "proto"
    top = target.split("/")[0]
    if top in ORDER + OUTSIDE and (root / target).exists():
        return top
    return None


def check_own_include(path, target, folder):
    if folder in OUTSIDE:
        return None if path.parts[0] in OUTSIDE else f"{target} is of {folder}, which only tests may include"
    private = target.endswith("_priv.h") or target.startswith(("eventlog/kafka/", "eventlog/embedded/"))
    if private and not may_see_private(path, folder):
        return f"{target} is private to {folder}"
    if path.parts[0] in ORDER and ORDER.index(folder) > ORDER.index(path.parts[0]):
        return f"{path.parts[0]} may not include {target}: {folder} comes after it"
    return None


def check_foreign_include(path, target):
    if path.parts[0] in OUTSIDE:
        return None
    if (target.endswith(".h") and target[:-2] in STANDARD) or target.startswith(STANDARD_FOLDERS):
        return None
    for prefix, folders in THIRD_PARTY.items():
        if target.startswith(prefix):
            if any(below(path, f) for f in folders):
                return None
            return f"<{target}> may be included only in {', '.join(folders) or 'tests'}"
    return f"<{target}> is not known: a third-party header needs a row in tests/checks/structure.py"


def includes_in_order(root, generated):
    for path in sources(root):
        for number, quoted, target in includes(root, path):
            folder = own_folder(root, generated, target)
            if folder is not None:
                what = check_own_include(path, target, folder)
            elif quoted and not (path.parts[0] in OUTSIDE and (root / path.parent / target).exists()):
                what = f'"{target}" is not found: write the path from the root of the tree'
            else:
                what = None
            if what:
                yield f"{path}:{number}: {what}"


def third_party(root, generated):
    for path in sources(root):
        for number, quoted, target in includes(root, path):
            if not quoted and own_folder(root, generated, target) is None:
                what = check_foreign_include(path, target)
                if what:
                    yield f"{path}:{number}: {what}"


def headers_alone(root, generated, cc, flags):
    """A .tbl.h is a table for a macro of its includer and stands alone in no way."""
    headers = [p for p in sources(root) if p.suffix == ".h" and not p.name.endswith(".tbl.h")]
    folders = [f"-I{root}"] + ([f"-isystem{generated}"] if generated is not None else [])

    def compile_alone(path):
        command = [cc, "-fsyntax-only", *flags, *folders, "-x", "c", "-"]
        run = subprocess.run(command, input=f'#include "{path.as_posix()}"\n', text=True, capture_output=True, check=False)
        first = next((line for line in run.stderr.splitlines() if "error" in line), run.stderr.strip()[:300])
        return None if run.returncode == 0 else f"{path}: does not compile alone: {first}"

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from (what for what in pool.map(compile_alone, headers) if what)


def magic_unique(root):
    seen = {}
    for path in sources(root):
        for number, line in enumerate((root / path).read_text(encoding="utf-8").splitlines(), 1):
            found = MAGIC.match(line)
            if not found:
                continue
            value = int(found.group(2), 16)
            if value in seen:
                yield f"{path}:{number}: {found.group(1)} has the value of {seen[value]}"
            else:
                seen[value] = f"{found.group(1)} ({path}:{number})"


def white_space(root):
    for path in walk(root):
        if path.suffix not in TEXT:
            continue
        text = (root / path).read_text(encoding="utf-8")
        for number, line in enumerate(text.split("\n"), 1):
            if "\t" in line:
                yield f"{path}:{number}: a tab"
            if line != line.rstrip():
                yield f"{path}:{number}: white space at the end of the line"
        if text and not text.endswith("\n"):
            yield f"{path}: no newline at the end"


def check(root, generated=None, cc="gcc", flags=()):
    found = list(includes_in_order(root, generated))
    found += third_party(root, generated)
    found += headers_alone(root, generated, cc, flags)
    found += magic_unique(root)
    found += white_space(root)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--generated", type=Path, help="folder of the generated headers")
    parser.add_argument("--cc", default="gcc")
    parser.add_argument("flags", nargs="*", help="compiler flags, after --")
    args = parser.parse_args()
    found = check(args.root.resolve(), args.generated, args.cc, [f for f in args.flags if f not in ("", "-D")])
    for what in found:
        print(what)
    print(f"{len(found)} violations" if found else "the structure is as it should be")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
