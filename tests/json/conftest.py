"""proto/json.h against google.protobuf.json_format.  --seed=N repeats a run."""

import random

import pytest

from json_lib import Pipe, Random

TYPES = ["rich.Rich", "rich.Scalars", "rich.Optionals", "rich.Lists", "rich.Maps", "rich.Tree", "rich.WellKnown", "old.Old", "old.Item"]


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, default=None, help="of the random messages")
    parser.addoption("--messages", type=int, default=10000, help="how many of them")


def pytest_report_header(config):
    if config.getoption("seed") is None:
        config.option.seed = random.SystemRandom().randrange(1 << 32)
    return f"json: --seed={config.getoption('seed')}"


@pytest.fixture(scope="session")
def pipe(tmp_path_factory):
    return Pipe(tmp_path_factory.mktemp("json") / "rich.pb")


@pytest.fixture(scope="session")
def messages(pipe, request):
    """Made once: every test may read them, in the order of TYPES."""
    r = Random(pipe, random.Random(request.config.getoption("seed")))
    return [r.message(TYPES[i % len(TYPES)]) for i in range(request.config.getoption("messages"))]


@pytest.fixture
def rng(request):
    return random.Random(request.config.getoption("seed"))
