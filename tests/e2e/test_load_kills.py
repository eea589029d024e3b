"""Load, with SIGKILLs and with partitions that move: what was answered is in the log once, nothing twice, no gap.

    ANGZARR_LOAD_COMMANDS   answered at least (default 3000; the long form is 50000)
    ANGZARR_LOAD_KILLS      kills, each recovered from (default 4; the long form is 20)
"""

import os
import random
import signal
import time

import pytest

from lib import checker, procs
from lib.load import Load

pytestmark = pytest.mark.alone

COMMANDS = int(os.environ.get("ANGZARR_LOAD_COMMANDS", "3000"))
KILLS = int(os.environ.get("ANGZARR_LOAD_KILLS", "4"))
SOON = 1.0  # seconds after it began serving again


@pytest.fixture
def run_load(tmp_path):
    loads = []

    def run(system):
        loads.append(Load(str(tmp_path), system.address, "order").start())
        return loads[-1]
    yield run
    for load in loads:
        load.close()


def began_serving(load, before):
    """Waits for the first answer after a restart; returns when that was."""
    procs.eventually(lambda: load.ok() > before, 60, every=0.005, what="the first answer after a restart")
    return time.monotonic()


def kill_in_flight(load, victim):
    procs.eventually(lambda: load.in_flight() > 0, 20, every=0.002, what="a command in flight")
    victim.kill()


def run_with_kills(system, load, victims):
    """Kills come in pairs: the second one within a second after the same process began serving again."""
    chance = random.Random(KILLS)
    share = max(1, COMMANDS // max(1, KILLS) - 200)
    soon = 0
    load.wait_ok(min(share, 500), 120)
    for i in range(KILLS):
        victim = victims[i // 2 % len(victims)]
        kill_in_flight(load, victim)
        before = load.ok()
        victim.up()
        served = began_serving(load, before)
        if i % 2 == 0 and i + 1 < KILLS:
            time.sleep(chance.uniform(0, 0.6))
            soon += time.monotonic() - served < SOON
        else:
            load.wait_ok(share, 300)
    assert soon == KILLS // 2, f"only {soon} of {KILLS} kills came within {SOON} s of serving"
    procs.eventually(lambda: load.ok() >= COMMANDS, 1200, every=0.2, what=f"{COMMANDS} commands answered")


def judge(system, load, at_least=COMMANDS):
    again = load.again()
    sent = load.finish()
    records = checker.prove(system, system.client(), "order", sent)
    outcomes = {o: sum(s.outcome == o for s in sent) for o in ("ok", "refused", "open")}
    print(f"{outcomes}, {again} sent again, {len(records)} records")
    assert outcomes["ok"] >= at_least


@pytest.mark.timeout(3600)
def test_one_process_killed_under_load(make_system, fast_logic, run_load):
    system = make_system({"order": fast_logic.address}, partitions=4).up()
    load = run_load(system)
    run_with_kills(system, load, [system.worker])
    judge(system, load)


@pytest.mark.kafka_only
@pytest.mark.timeout(3600)
def test_worker_and_gateway_killed_under_load(make_system, fast_logic, run_load):
    system = make_system({"order": fast_logic.address}, partitions=4, two=True).up()
    load = run_load(system)
    run_with_kills(system, load, [system.worker, system.gateway, system.worker])
    judge(system, load)


def logged(worker, id):
    return sum(line.get("id") == id for line in worker.log_lines())


def stand_still_until_lost(worker, other):
    """Stops the worker for longer than its session; the other takes what it had."""
    taken = logged(other, "ASSIGNED")
    worker.signal(signal.SIGSTOP)
    try:
        procs.eventually(lambda: logged(other, "ASSIGNED") > taken, 60, what="the partitions to be taken over")
    finally:
        worker.signal(signal.SIGCONT)
    procs.eventually(lambda: logged(worker, "LOST") > 0, 60, what="the worker to see that it lost its partitions")


@pytest.mark.kafka_only
@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.timeout(3600)
def test_partitions_move_between_workers_under_load(make_system, fast_logic, run_load, lanes):
    system = make_system({"order": fast_logic.address}, partitions=6, two=True, workers=2, settings={"worker": {"lanes": lanes}}).up()
    load = run_load(system)
    load.wait_ok(200, 120)
    for role in (*system.workers, system.gateway):  # each leaves in the middle of it, and comes back
        assert role.terminate() == 0, role.log()[-4000:]
        role.launch()
        load.wait_ok(200, 120)
        role.ready()
    stand_still_until_lost(*system.workers)
    load.wait_ok(200, 120)
    judge(system, load, at_least=1000)
    for role in system.roles:
        assert role.terminate() == 0, role.log()[-4000:]
