"""Fixtures of the examples' tests.  A module that names a DOMAIN runs once for every service of that domain, on every log."""

import os
import pathlib
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1]), str(pathlib.Path(__file__).resolve().parent)]

from lib import angzarr  # noqa: E402
from lib.kafka import Kafka  # noqa: E402
from services import SERVICES, Tap  # noqa: E402

pytest_plugins = ["lib.report", "steps"]

SNAPSHOTS = {"every": 5}


def pytest_addoption(parser):
    parser.addoption("--log", choices=["embedded", "kafka", "both"], default="both", help="the logs to test on")


def pytest_configure(config):
    if not os.access(angzarr.binary(), os.X_OK):
        pytest.exit(f"no program at {angzarr.binary()}: build it, or name it in ANGZARR_BINARY", 2)


def pytest_generate_tests(metafunc):
    if "log_kind" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--log")
        metafunc.parametrize("log_kind", ["embedded", "kafka"] if chosen == "both" else [chosen], scope="session")
    if "service" in metafunc.fixturenames:
        domain = getattr(metafunc.module, "DOMAIN", None)
        rows = [s for s in SERVICES if domain in (None, s.domain)]
        metafunc.parametrize("service", rows, ids=[s.name for s in rows], scope="session")


@pytest.fixture(scope="session")
def taps(tmp_path_factory):
    """Every service, running, behind a tap."""
    processes, made = [], {}
    try:
        for service in SERVICES:
            processes.append(service.start(tmp_path_factory.mktemp(service.name)))
            made[service.name] = Tap(processes[-1].address)
        yield made
    finally:
        for tap in made.values():
            tap.close()
        for process in processes:
            process.close()


@pytest.fixture(scope="session")
def broker_of():
    """The one broker of this run, started by the first test that asks."""
    made = []

    def get():
        if not made:
            made.append(Kafka().start())
        return made[0]
    yield get
    for broker in made:
        broker.close()


@pytest.fixture(scope="session")
def system(log_kind, broker_of, taps):
    """A running `standalone` with a domain for every service."""
    rows = {name: {"address": tap.address, "snapshots": SNAPSHOTS} for name, tap in taps.items()}
    system = angzarr.System("embedded" if log_kind == "embedded" else broker_of(), rows)
    try:
        yield system.up()
    finally:
        system.close()
