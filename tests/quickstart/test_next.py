"""`./quickstart --keep` says what to do next; that is done here, letter for letter."""

import json
import os
import pathlib
import subprocess

from lib import grpcurl
from lib.procs import Process

ROOT = pathlib.Path(__file__).resolve().parents[2]


def tools(lines):
    [config] = [line.removeprefix("export ANGZARR_CONFIG=") for line in lines if line.startswith("export ANGZARR_CONFIG=")]
    calls = [line for line in lines if line.startswith("build/release/angzarr ")]
    done = [subprocess.run(call, shell=True, cwd=ROOT, env=dict(os.environ, ANGZARR_CONFIG=config), stdin=subprocess.DEVNULL, capture_output=True,
                           text=True) for call in calls]
    assert [d.returncode for d in done] == [0] * 3, done
    sent, roots, status = (d.stdout for d in done)
    assert "examples.CustomerCreated" in sent and "grace@example.com" in sent
    assert sent.split()[1] in roots and roots.count("customer") == 3  # hers, Ada's, and that of the first commands
    assert "customer" in status


def test_the_printed_calls_work_as_they_are_printed(tmp_path):
    quickstart = Process("quickstart", [ROOT / "quickstart", "--keep"], str(tmp_path)).start()
    try:
        quickstart.wait_for_line(lambda line: line.strip().startswith("grpcurl ") and "Execute" in line, 500)
        lines = [line.strip() for line in quickstart.log().splitlines()]
        calls = [line for line in lines if line.startswith("grpcurl ")]
        listed, executed = [subprocess.run(call, shell=True, env=grpcurl.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True)
                            for call in calls]
        assert listed.returncode == 0, listed.stderr
        assert "angzarr.CommandGateway" in listed.stdout.splitlines()
        assert executed.returncode == 0, executed.stderr
        [page] = json.loads(executed.stdout)["events"]["pages"]
        assert page["event"] == {"@type": "type.googleapis.com/examples.CustomerCreated", "name": "Ada", "email": "ada@example.com"}
        tools(lines)
    finally:
        status = quickstart.terminate(60)
        quickstart.close()
    assert status == 143
