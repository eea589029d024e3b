"""A partition that cannot be written, because of its leader or its replicas, holds up nobody else (lane.md L10)."""

import statistics
import time

import pytest

from lib import checker
from lib.client import OPEN, Status, numbers
from lib.procs import SCALE, eventually, in_thread
from faults_lib import are_members, keep_away, said
from rules_lib import new_id, root_in, still_waits

PARTITIONS, BAD = 3, 1
FIRST_HIT = 10  # seconds, at most: the time-out of a record, and what it takes to see which partitions are concerned

pytestmark = pytest.mark.timeout(300)


class Commands:
    """One root in each partition; its commands one after the other, and what became of them."""

    def __init__(self, client, what="emit"):
        self.client, self.what, self.sent = client, what, []
        self.roots = [root_in(p, PARTITIONS) for p in range(PARTITIONS)]
        self.upcoming = [0] * PARTITIONS

    def do(self, partition):
        """Returns how long it took."""
        id, number, begun = new_id(), self.upcoming[partition], time.monotonic()
        while True:
            try:
                answer = self.client.do("order", self.roots[partition], number, what=self.what, id=id, key=id)
                break
            except Status as e:
                assert e.name() in OPEN, e
        assert numbers(answer) == [number]
        self.upcoming[partition] += 1
        self.sent.append(checker.Sent(id, self.roots[partition], 1, "ok", (number,)))
        return time.monotonic() - begun

    def others(self, seconds):
        """Commands to the other partitions for so long; how long each took."""
        times, until = [], time.monotonic() + seconds * SCALE
        while time.monotonic() < until:
            times += [self.do(p) for p in range(PARTITIONS) if p != BAD]
        return times


@pytest.fixture
def make(cluster, make_system, gated):
    """A system of which a node that does not matter otherwise holds one partition: alone, or as one of two that must be in sync."""
    bad = []

    def made(name, how, workers=1, **options):
        row = {"address": gated.address, "snapshots": "always" if name == "snapshots" else "off"}
        system = make_system({"order": row}, workers=workers, partitions=PARTITIONS, **options).up()
        are_members(cluster, system, workers)
        victim = cluster.node(cluster.others(cluster.controller())[0])
        bad.append((system.topic(f"order.{name}"), BAD))
        keep_away(cluster, system, victim.number, but=bad[0])
        other = cluster.others(victim.number)[0]
        cluster.set_replicas(*bad[0], [other, victim.number] if how == "too few in sync" else [victim.number])
        return system, victim
    yield made
    cluster.heal()
    for topic, partition in bad:  # nothing stays that the next kill of a node would end for good
        cluster.set_replicas(topic, partition, [n.number for n in cluster.nodes])


def end(victim, how):
    """Not by force: Kafka gives a partition whose last replica was killed no leader again by itself."""
    victim.pause() if how == "stands still" else victim.terminate()


def begin(victim):
    victim.resume() if victim.paused else victim.start()


def median_ms(times):
    return 1000 * statistics.median(times)


@pytest.mark.parametrize("name, how", [
    ("events", "stands still"),
    pytest.param("events", "shut down", marks=pytest.mark.long),
    pytest.param("events", "too few in sync", marks=pytest.mark.long),
    pytest.param("snapshots", "shut down", marks=pytest.mark.long),
])
def test_L10_a_partition_that_cannot_be_written_is_set_aside(make, name, how):
    system, victim = make(name, how)
    commands = Commands(system.client(), what="snapshot" if name == "snapshots" else "emit")
    for partition in range(PARTITIONS):
        for _ in range(5):
            commands.do(partition)
    before = commands.others(3)

    end(victim, how)
    held = in_thread(commands.do, BAD)
    still_waits(held, 0.2)  # it is in the transaction that meets the fault first
    first = commands.others(0.1)
    assert max(first) < FIRST_HIT * SCALE
    [aside] = eventually(lambda: said(system.worker, "PARTITION-ASIDE"), 20, what="the partition to be set aside")
    assert (aside["topic"], aside["partition"]) == (system.topic(f"order.{name}"), str(BAD)), aside
    after = commands.others(8)
    assert held.is_alive()
    print(f"{name}, {how}: median {median_ms(before):.1f} ms before, {median_ms(after):.1f} ms after; the first hit held up {max(first):.2f} s, "
          f"later at most {1000 * max(after):.0f} ms")
    assert median_ms(after) < 2 * median_ms(before) + 25 * SCALE
    assert max(after) < 2 * SCALE, "it holds the others up again"

    begin(victim)
    held.result(90)
    assert said(system.worker, "PARTITION-BACK")
    for partition in range(PARTITIONS):
        commands.do(partition)
    checker.prove(system, commands.client, "order", commands.sent)


@pytest.mark.long
@pytest.mark.parametrize("how", ["too few in sync", "shut down"])
def test_L10_a_partition_that_cannot_be_written_is_taken_over_when_it_can(make, how):
    """All workers are killed while it is set aside: the others are taken over at once, and it too when it can be written."""
    system, victim = make("events", how, workers=2, settings={"topology": {"replication": 2}})  # as many as there still are
    commands = Commands(system.client())
    for partition in range(PARTITIONS):
        commands.do(partition)
    end(victim, how)
    held = in_thread(commands.do, BAD)
    eventually(lambda: any(said(w, "PARTITION-ASIDE") for w in system.workers), 30, what="the partition to be set aside")
    for worker in system.workers:
        worker.kill()
        worker.launch()
    eventually(lambda: any(said(w, "PARTITION-ASIDE") for w in system.workers), 60, what="the partition to be set aside by the next owner")
    after = commands.others(3)
    assert max(after) < 2 * SCALE
    assert held.is_alive()
    begin(victim)
    held.result(90)
    for partition in range(PARTITIONS):
        commands.do(partition)
    checker.prove(system, commands.client, "order", commands.sent)
