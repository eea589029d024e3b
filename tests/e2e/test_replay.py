"""A committed position that somebody has set back with the stock tool while no worker ran."""

import time

import pytest

from lib.client import new_root, numbers
from lib.procs import SCALE, eventually
from rules_lib import everything_before_is_done, new_id, next_of

pytestmark = pytest.mark.kafka_only

FAILED_PRECONDITION = 9


def refuse_once(client, root, id):
    """Refused now; asked again, it would succeed.  Its deadline passes soon."""
    client.refused("FAILED_PRECONDITION", client.do, "order", root, what="flaky", n=1, value=FAILED_PRECONDITION, id=id, timeout=3)
    return time.monotonic() + 3 * SCALE


def set_back(broker, system):
    broker.consumer_groups("--group", system.topic("order.aggregate"), "--topic", system.topic("order.commands"), "--reset-offsets",
                           "--to-earliest", "--execute")


def said(system):
    return {line["id"] for line in system.worker.log_lines()}


def prepare(broker, make_system, logic, setting):
    """A system that is down, its offset set back, every deadline passed; the roots and ids of three commands."""
    system = make_system({"order": logic.address}, partitions=1, settings={"replay": {"commands": setting}}).up()
    client = system.client()
    names = {name: (new_root(), new_id()) for name in ("stored", "refused", "stale")}
    root, id = names["stored"]
    assert numbers(client.do("order", root, id=id, timeout=3)) == [0]
    refuse_once(client, *names["stale"])
    assert numbers(client.do("order", names["stale"][0])) == [0]
    over = refuse_once(client, *names["refused"])
    assert system.worker.terminate() == 0
    set_back(broker, system)
    eventually(lambda: time.monotonic() > over, 10)
    return system, names


def test_refuse_goes_on_where_it_was(broker, make_system, gated):
    logic = gated()
    system, names = prepare(broker, make_system, logic, "refuse")
    system.up()
    client = system.client()
    everything_before_is_done(broker, system, client)
    assert "REPLAY-REFUSED" in said(system) and "REPLAY" not in said(system)
    assert {name: logic.calls.of(id) for name, (_, id) in names.items()} == {"stored": 1, "refused": 1, "stale": 1}
    assert next_of(client, names["refused"][0]) == 0


@pytest.mark.parametrize("crash", [False, True], ids=["", "killed in the middle"])
def test_allow_runs_commands_again_but_does_nothing_twice(broker, make_system, gated, crash):
    logic = gated()
    system, names = prepare(broker, make_system, logic, "allow")
    if crash:  # behind the first batch of replayed commands: pass 1 is the barrier
        logic.hold()
        system.worker.launch(kill="after-apply:2")
        system.worker.died()
        logic.let_go()
    system.up()
    client = system.client()
    assert crash or "REPLAY" in said(system)
    eventually(lambda: next_of(client, names["refused"][0]) == 1, 30, what="what was refused to be run again")
    everything_before_is_done(broker, system, client)
    assert logic.calls.of(names["stored"][1]) == 1 and next_of(client, names["stored"][0]) == 1
    assert logic.calls.of(names["stale"][1]) == 1 and next_of(client, names["stale"][0]) == 1
    assert "REPLAY-REFUSED" not in said(system)
