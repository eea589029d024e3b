"""Fixtures of the fault tests: three brokers and a proxy for all of them, systems for each."""

import os
import pathlib
import random
import sys

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "e2e")]

from lib import angzarr  # noqa: E402
from lib.cluster import Cluster  # noqa: E402
from lib.proxy import Proxy  # noqa: E402
from faults_lib import PATHS, System, internal_everywhere  # noqa: E402
from rules_lib import GatedLogic  # noqa: E402

pytest_plugins = ["lib.report"]


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, help="of everything that is random here (default: another one each time, printed)")


def pytest_configure(config):
    if config.option.seed is None:
        config.option.seed = random.SystemRandom().randrange(1_000_000)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        report.sections.append(("seed", f"--seed={item.config.option.seed}"))
    return report


def pytest_report_header(config):
    return f"seed: {config.option.seed}"


@pytest.fixture
def seed(request):
    return request.config.option.seed


@pytest.fixture(scope="session")
def shared_cluster():
    cluster = Cluster(paths=PATHS)
    try:
        yield cluster.start()
    finally:
        cluster.close()


@pytest.fixture(scope="session")
def shared_proxy(shared_cluster):
    proxy = Proxy(shared_cluster.links).start()
    yield proxy
    proxy.close()


@pytest.fixture
def proxy(shared_proxy):
    shared_proxy.clear()
    yield shared_proxy
    shared_proxy.clear()


@pytest.fixture
def cluster(shared_cluster):
    """Three nodes in sync; a test may do with them what it likes."""
    shared_cluster.heal()
    internal_everywhere(shared_cluster)
    yield shared_cluster
    for node in shared_cluster.nodes:
        if node.paused:
            node.resume()


@pytest.fixture
def make_system(cluster, proxy):
    if not os.access(angzarr.binary(), os.X_OK):
        pytest.fail(f"no program at {angzarr.binary()}: build it, or name it in ANGZARR_BINARY")
    made = []

    def make(domains, **options):
        made.append(System(cluster, proxy, domains, **options))
        return made[-1]
    yield make
    proxy.clear()
    for node in cluster.nodes:
        if node.paused:
            node.resume()
    for system in made:
        system.close()


@pytest.fixture
def gated():
    """Business logic whose answers the test holds back."""
    logic = GatedLogic().start()
    yield logic
    logic.let_go()
    logic.stop()
