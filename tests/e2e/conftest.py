"""Fixtures of the end-to-end tests.  --log embedded|kafka|both chooses the logs; every test that uses `system` or `log` runs on each."""

import os
import pathlib
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lib import angzarr, logic as logic_module, procs  # noqa: E402
from lib.kafka import Kafka  # noqa: E402
from lib.logic import Logic  # noqa: E402
from rules_lib import GatedLogic  # noqa: E402

pytest_plugins = ["lib.report"]


def pytest_addoption(parser):
    parser.addoption("--log", choices=["embedded", "kafka", "both"], default="both", help="the logs to test on")


def pytest_configure(config):
    config.addinivalue_line("markers", "kafka_only: needs what only a real broker has")
    config.addinivalue_line("markers", "embedded_only: about the embedded log")
    config.addinivalue_line("markers", "alone: measures how long something takes, or takes the whole machine")
    if not os.access(angzarr.binary(), os.X_OK):
        pytest.exit(f"no program at {angzarr.binary()}: build it, or name it in ANGZARR_BINARY", 2)


def logs(config):
    chosen = config.getoption("--log")
    return ["embedded", "kafka"] if chosen == "both" else [chosen]


def pytest_generate_tests(metafunc):
    if "log_kind" in metafunc.fixturenames:
        kinds = logs(metafunc.config)
        for mark, kind in (("kafka_only", "kafka"), ("embedded_only", "embedded")):
            if metafunc.definition.get_closest_marker(mark):
                kinds = [k for k in kinds if k == kind]
        metafunc.parametrize("log_kind", kinds, scope="session")


def pytest_collection_modifyitems(config, items):
    # A test that is about one log and finds it not chosen is not a skipped test: it is in the other run.
    chosen = logs(config)
    keep, drop = [], []
    for item in items:
        if "log_kind" in item.fixturenames:
            wanted = item.callspec.params.get("log_kind") if hasattr(item, "callspec") else None
            (keep if wanted in chosen else drop).append(item)
        else:  # about neither log: once, in the run that has the embedded one
            (keep if "embedded" in chosen else drop).append(item)
    if drop:
        config.hook.pytest_deselected(items=drop)
        items[:] = keep


@pytest.fixture(scope="session")
def broker_of():
    """The one broker of this run, started by the first test that asks."""
    state = {}

    def get():
        if "broker" not in state:
            state["broker"] = Kafka().start()
        return state["broker"]
    yield get
    if "broker" in state:
        state["broker"].close()


@pytest.fixture(scope="session")
def log(log_kind, broker_of):
    """What lib.angzarr.System takes as its log."""
    return "embedded" if log_kind == "embedded" else broker_of()


@pytest.fixture
def broker(log_kind, broker_of):
    """The broker, in tests marked kafka_only."""
    return broker_of()


@pytest.fixture(scope="module")
def logic():
    logic = Logic().start()
    yield logic
    logic.stop()


@pytest.fixture(scope="module")
def aggregate_logic():
    logic = Logic(contracts=("Aggregate",)).start()
    yield logic
    logic.stop()


@pytest.fixture(scope="module")
def own_broker(log_kind):
    """A broker that the tests of this module may stop."""
    broker = Kafka().start()
    yield broker
    broker.close()




@pytest.fixture(scope="module")
def system(log, logic, aggregate_logic):
    """A running `standalone` that the tests of a module share; each test uses roots of its own."""
    rows = {
        "order": logic.address,
        "cart": aggregate_logic.address,
        "box": {"address": logic.address, "snapshots": {"every": 2}},
        "plain": {"address": logic.address, "snapshots": "off"},
        "every": {"address": logic.address, "snapshots": "always"},
    }
    system = angzarr.System(log, rows)
    try:
        system.up()
        yield system
    finally:
        system.close()


@pytest.fixture
def client(system):
    return system.client()


@pytest.fixture
def make_system(log):
    """Builds systems that a test may kill; closes them after it."""
    made = []

    def make(domains, **options):
        made.append(angzarr.System(log, domains, **options))
        return made[-1]
    yield make
    for system in made:
        system.close()


@pytest.fixture
def make_logic():
    made = []

    def make(**options):
        made.append(Logic(**options).start())
        return made[-1]
    yield make
    for logic in made:
        logic.stop()


@pytest.fixture
def folder(tmp_path):
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def gated():
    """Makes business logic whose answers the test holds back."""
    made = []

    def make(**options):
        made.append(GatedLogic(**options).start())
        return made[-1]
    yield make
    for logic in made:
        logic.let_go()
        logic.stop()


@pytest.fixture
def fast_logic(tmp_path):
    """Business logic in a process of its own, for load."""
    [port] = procs.free_ports(1)
    logic = procs.Process("logic", [sys.executable, logic_module.__file__, "--address", f"127.0.0.1:{port}"], str(tmp_path)).start()
    logic.wait_for_line(lambda line: line == "ready")
    logic.address = f"127.0.0.1:{port}"
    yield logic
    logic.close()
