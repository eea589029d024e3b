"""What pytest does in every suite that starts processes: their output with a failure, the complaints of sanitizers as failures, and
time limits that follow ANGZARR_TEST_SCALE.  A conftest names it in pytest_plugins."""

import pytest

from lib import procs


def pytest_configure(config):
    if config.option.timeout is None:
        config.option.timeout = float(config.getini("timeout") or 0) * procs.SCALE


def pytest_collection_modifyitems(items):
    for item in items:
        own = item.get_closest_marker("timeout")
        if own:
            item.add_marker(pytest.mark.timeout(own.args[0] * procs.SCALE), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        for name, text in procs.tails():
            report.sections.append((f"log of {name}", text))
    return report


def pytest_runtest_setup(item):
    procs.closed.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    """A process that a sanitizer or an assert complained about fails the test after which it was seen."""
    yield
    for process in list(procs.alive):
        process.complain()
    found, procs.complaints[:] = list(procs.complaints), []
    assert not found, "\n".join(found)
