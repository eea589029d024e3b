"""docs/write-your-own.md, done word for word in an empty folder: its files are written, its commands run in one shell, and what it
shows of their output is held against what they say.  Only its ports are replaced by free ones."""

import os
import re
import signal
import subprocess

import pytest

from lib.angzarr import ROOT, binary
from lib.procs import SCALE, free_ports

PAGE = ROOT / "docs/write-your-own.md"
BLOCK = re.compile(r"(?:^\*\*(?P<file>[\w.]+)\*\*\n\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
PORTS = ("50051", "1316", "8080")
MARK, STATUS = "\x1e", "\x1f"


def blocks(text):
    return [(m["file"], m["kind"], m["text"]) for m in BLOCK.finditer(text)]


def commands(text):
    """(command, output shown) of a console block."""
    found = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def script(page):
    """The whole page as one shell script, which says a mark before each command and its status after it; and the commands."""
    lines, all_commands = [], []
    for file, kind, text in page:
        if kind == "console":
            for command, output in commands(text):
                lines += [f"printf '{MARK}'", command, f"printf '{STATUS}%d' $?"]
                all_commands.append((command, output))
        else:
            assert file, f"a block of {kind or 'nothing'} that is neither a console nor a file:\n{text}"
            lines.append(f"cat >{file} <<'END-OF-{file}'\n{text}END-OF-{file}")
    return "\n".join(lines) + "\n", all_commands


@pytest.fixture
def clone(tmp_path_factory):
    """What $ANGZARR names on the page: the repository, with the program under test as its release build."""
    folder = tmp_path_factory.mktemp("angzarr")
    for name in ("proto", "examples"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "build/release").mkdir(parents=True)
    (folder / "build/release/angzarr").symlink_to(binary())
    return folder


@pytest.mark.timeout(300)
def test_the_page_does_what_it_says(tmp_path, clone):
    text = PAGE.read_text()
    for port, free in zip(PORTS, free_ports(len(PORTS))):
        assert port in text
        text = re.sub(rf"\b{port}\b", str(free), text)
    whole, wanted = script(blocks(text))
    shell = subprocess.Popen(["bash", "-c", whole], cwd=tmp_path, env=dict(os.environ, ANGZARR=str(clone)), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        said = shell.communicate(timeout=240 * SCALE)[0].split(MARK)[1:]
    finally:
        try:
            os.killpg(shell.pid, signal.SIGKILL)  # what a failure left running
        except ProcessLookupError:
            pass
    logs = "\n".join(f"---- {log.name}\n{log.read_text()[-2000:]}" for log in sorted(tmp_path.glob("*.log")))
    for (command, shown), output in zip(wanted, said):
        output, _, status = output.partition(STATUS)
        # A command that fails on purpose shows what it says.
        assert output.splitlines() == shown and (status == "0" or shown), f"$ {command}\n{output}status {status}\n{logs}"
    assert len(said) == len(wanted), logs


def test_every_block_is_a_file_or_a_console():
    page = blocks(PAGE.read_text())
    assert [file for file, kind, _ in page if kind != "console"] == ["seat.proto", "logic.py", "server.py", "angzarr.yaml", "seat.py"]
    assert len(page) * 2 == len(re.findall(r"^```", PAGE.read_text(), re.M))
