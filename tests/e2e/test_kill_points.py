"""One test per kill point: the process kills itself there, under load; afterwards the log is held against what was answered."""

import pathlib
import re

import pytest

from lib import checker
from lib.load import Load

ROOT = pathlib.Path(__file__).resolve().parents[2]
USE = re.compile(r"\bANG_KILL(?:_POINT)?\(\s*\"([a-z0-9_-]+)\"")
FOLDERS = ("base", "eventlog", "statestore", "rpc", "topology", "processor", "gateway", "cmd")

POINTS = sorted({name for folder in FOLDERS for path in (ROOT / folder).rglob("*.c") for name in USE.findall(path.read_text())})
PLACES = ("after-invoke", "after-produce", "after-offsets", "in-commit", "after-commit", "after-apply", "takeover-", "snapshot")


@pytest.fixture
def loads(tmp_path):
    made = []

    def start(system):
        made.append(Load(str(tmp_path), system.address, "order", clients=2, in_flight=32, roots=100).start())
        return made[-1]
    yield start
    for load in made:
        load.close()


def test_there_is_a_kill_point_at_each_place():
    assert [place for place in PLACES if not any(place in point for point in POINTS)] == [], POINTS


@pytest.mark.timeout(300)
@pytest.mark.parametrize("point", POINTS)
def test_killed_at(make_system, make_logic, loads, point):
    logic = make_logic()
    logic.calls.keep = False
    system = make_system({"order": {"address": logic.address, "snapshots": "always"}}).up()
    load = loads(system)
    load.wait_ok(100)
    assert system.worker.terminate() == 0
    # At a takeover the first pass counts: it happens once per partition.  Elsewhere the load is well under way.
    system.worker.launch(kill=point if point.startswith("takeover") else f"{point}:7")
    system.worker.died()
    system.up()
    load.wait_ok(200)
    sent = load.finish()
    assert {s.outcome for s in sent} <= {"ok", "refused"}
    checker.prove(system, system.client(), "order", sent)
