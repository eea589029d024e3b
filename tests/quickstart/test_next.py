"""`./quickstart --keep` says what to do next; that is done here, letter for letter."""

import json
import pathlib
import subprocess

from lib import grpcurl
from lib.procs import Process

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_the_printed_calls_work_as_they_are_printed(tmp_path):
    quickstart = Process("quickstart", [ROOT / "quickstart", "--keep"], str(tmp_path)).start()
    try:
        quickstart.wait_for_line(lambda line: line.strip().startswith("grpcurl ") and "Execute" in line, 500)
        calls = [line.strip() for line in quickstart.log().splitlines() if line.strip().startswith("grpcurl ")]
        listed, executed = [subprocess.run(call, shell=True, env=grpcurl.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True)
                            for call in calls]
        assert listed.returncode == 0, listed.stderr
        assert "angzarr.CommandGateway" in listed.stdout.splitlines()
        assert executed.returncode == 0, executed.stderr
        [page] = json.loads(executed.stdout)["events"]["pages"]
        assert page["event"] == {"@type": "type.googleapis.com/examples.CustomerCreated", "name": "Ada", "email": "ada@example.com"}
    finally:
        status = quickstart.terminate(60)
        quickstart.close()
    assert status == 143
