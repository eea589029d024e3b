"""What a stuck root has waiting is left to the log (lane.md L12): it takes no memory from the others, keeps its order, and survives a kill."""

import time
import uuid

import grpc
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from lib import checker
from lib.client import OPTIONS, Status, book, dones, new_root
from lib.procs import SCALE, eventually
from rules_lib import next_of, text

ROOTS, WAVES = 60, 25
SIZE = 6000  # bytes of a command's payload: 9 MB of them, where 2 MiB of open records may be held


def settings(**more):
    return {"state": {"memory": "8MiB"}, "gateway": {"deadline": "4m"}, **more}


def peak(system):
    """MiB that the worker's process has used at most."""
    with open(f"/proc/{system.worker.pid}/status") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmHWM"))


class Stuck:
    """Roots with commands that are sent without waiting for answers; each knows its sequence, so any other order is refused."""

    def __init__(self, system, roots):
        self.channel = grpc.insecure_channel(system.address, options=OPTIONS)
        self.execute = self.channel.unary_unary("/angzarr.CommandGateway/Execute")
        self.roots = [new_root() for _ in range(roots)]
        self.calls = []

    def send(self, root, sequence, timeout=200, again=0, **do):
        id = f"{root.hex()}-{sequence}-{again}"
        data = book("order", root, sequence=sequence, id=id, **do).SerializeToString()
        call = self.execute.future(data, timeout=timeout * SCALE, metadata=(("idempotency-key", id),))
        self.calls.append((id, root, sequence, call))
        return call

    def wave(self, sequence, **do):
        """One to each; calls of one channel may overtake each other, so there is time between waves."""
        for root in self.roots:
            self.send(root, sequence, **do)
        time.sleep(0.05 * SCALE)

    def settle(self):
        sent = []
        for id, root, sequence, call in self.calls:
            try:
                call.result()
                sent.append(checker.Sent(id, root, 1, "ok", (sequence,)))
            except grpc.RpcError as e:
                raise Status(e) from None
        return sent


def others(client, seconds=20):
    """Commands to other roots go on: each within a second or so."""
    sent = []
    for i in range(100):
        root, id = new_root(), uuid.uuid4().hex
        client.do("order", root, id=id, key=id, timeout=seconds)
        sent.append(checker.Sent(id, root, 1, "ok", (0,)))
    return sent


@pytest.mark.timeout(300)
def test_L12_what_waits_behind_stuck_roots_takes_no_memory(make_system, fast_logic, log_kind, folder):
    gate = folder / "go"
    system = make_system({"order": fast_logic.address}, two=log_kind == "kafka", partitions=1,
                         settings=settings()).up()
    client = system.client()
    sent = others(client)
    before = peak(system)
    stuck = Stuck(system, ROOTS)
    stuck.wave(0, what="wait", text=str(gate))
    for i in range(1, WAVES):
        stuck.wave(i, data=b"x" * SIZE)
    sent += others(client)
    gate.touch()
    sent += stuck.settle()
    grown = peak(system) - before
    print(f"{ROOTS * WAVES} commands, {ROOTS * WAVES * SIZE / 1e6:.0f} MB: the process grew by {grown:.1f} MiB")
    checker.prove(system, client, "order", sent)


@pytest.mark.kafka_only
@pytest.mark.timeout(300)
def test_L12_more_than_a_queue_holds_of_one_root(make_system, gated, broker):
    """Produced by hand, in order, more than memory holds to one root: they run in that order, also when a worker is killed between."""
    logic = gated()
    logic.hold()
    system = make_system({"order": logic.address}, partitions=1, settings=settings(limits={"call_timeout": "5m"})).up()
    client = system.client()
    root = new_root()
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for i in range(1000):
        producer.produce(system.topic("order.commands"), key=text(root), partition=0, headers=[("command-id", f"c{i}")],
                         value=book("order", root, sequence=i, id=f"c{i}").SerializeToString())
        producer.poll(0)
    assert producer.flush(30) == 0
    eventually(lambda: logic.waiting == 1)
    time.sleep(1)
    logic.let_go()
    eventually(lambda: (next_of(client, root) or 0) > 200, 60)
    system.worker.kill()
    system.up()
    eventually(lambda: next_of(client, root) == 1000, 120)
    assert [done.id for done in dones(client.event_book("order", root))] == [f"c{i}" for i in range(1000)]


@pytest.mark.timeout(300)
def test_L12_large_commands_of_stuck_roots_take_turns_in_memory(make_system, fast_logic, log_kind):
    """30 roots whose calls hang, half a megabyte each: four of them fit."""
    system = make_system({"order": fast_logic.address}, two=log_kind == "kafka", partitions=1,
                         settings=settings(limits={"slow_after": "100ms"})).up()
    client = system.client()
    sent = others(client)
    before = peak(system)
    stuck = Stuck(system, 30)
    stuck.wave(0, what="hang", n=600, data=b"x" * 500_000)
    time.sleep(0.5)
    sent += others(client)
    sent += stuck.settle()
    print(f"the worker grew by {peak(system) - before:.1f} MiB")
    checker.prove(system, client, "order", sent)


@pytest.mark.kafka_only
@pytest.mark.timeout(200)
def test_L12_commands_that_were_deleted_before_their_turn(make_system, gated, broker):
    """Retention has caught up with a stuck root: what is gone counts as done, and what comes after it runs."""
    logic = gated()
    logic.hold()
    system = make_system({"order": logic.address}, partitions=1, settings={"limits": {"call_timeout": "5m"}, "gateway": {"deadline": "4m"}}).up()
    client = system.client()
    stuck = Stuck(system, 1)
    [root] = stuck.roots
    first = stuck.send(root, 0)
    eventually(lambda: logic.waiting == 1)
    waiting = [stuck.send(root, 1, again=i) for i in range(299)]  # whichever runs first is done, the others are refused
    commands = system.topic("order.commands")
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "ends"})
    eventually(lambda: consumer.get_watermark_offsets(TopicPartition(commands, 0), timeout=10)[1] == 300)
    consumer.close()
    time.sleep(1)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    [deleted] = admin.delete_records([TopicPartition(commands, 0, 250)]).values()
    assert deleted.result(20).low_watermark == 250
    logic.let_go()
    first.result()
    [gone] = eventually(lambda: [line for line in system.worker.log_lines() if line["id"] == "COMMANDS-GONE"])
    assert (gone["topic"], gone["partition"], gone["from"], gone["number"]) == (commands, "0", "101", "149")
    eventually(lambda: sum(call.done() for call in waiting) >= 150, 30)
    assert client.event_book("order", root).next_sequence == 2
    client.do("order", root, sequence=2, id="after", key="after")
    for call in waiting:
        call.cancel()
