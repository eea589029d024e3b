"""Several workers of one group: who owns what, how partitions move, what clients see of it (lane.md L16, L21, L22).  Kafka only.

    ANGZARR_MOVES   how often workers leave in L21 and are killed in L16 (default: each leaves once, one is killed once; -s prints
                    how long callers waited)
"""

import itertools
import os
import signal
import statistics
import threading
import time

import pytest
from confluent_kafka import Producer

from lib import checker
from lib.api import pb
from lib.client import Client, Status, new_root, numbers
from lib.procs import SCALE, eventually, in_thread
from rules_lib import root_in

ext = pb.ext
SESSION = 6.0  # seconds, worker.session_timeout by default
PARTITIONS = 6
MOVES = int(os.environ.get("ANGZARR_MOVES", "0"))

pytestmark = [pytest.mark.kafka_only, pytest.mark.alone]


class Probe(threading.Thread):
    """A caller that sends one command after the other to one root of a partition, and notes how long each took."""

    def __init__(self, client, root):
        super().__init__(daemon=True)
        self.client, self.root = client, root
        self.took, self.errors, self.sent = [], [], []
        self.over = False

    def run(self):
        sequence = 0
        while not self.over:
            began = time.monotonic()
            id = f"{self.root.hex()}-{sequence}"
            try:
                self.client.do("order", self.root, sequence, id=id, timeout=30)
                self.sent.append(checker.Sent(id, self.root, 1, "ok", (sequence,)))
            except Status as e:
                self.errors.append(str(e))
                return
            self.took.append((began, time.monotonic() - began))
            sequence += 1
            time.sleep(0.005)

    def worst(self, since):
        """The longest wait that ended after `since`, and of what is under way."""
        return max([took for began, took in list(self.took) if began + took >= since], default=0)


@pytest.fixture
def probes():
    made = []

    def start(system):
        for partition in range(system.partitions):
            made.append(Probe(system.client(), root_in(partition, system.partitions)))
        for probe in made:
            probe.start()
        answered(made, 5)
        return made
    yield start
    for probe in made:
        probe.over = True
    for probe in made:
        probe.join(40)


def answered(probes, more, timeout=60):
    """Until each has got so many more answers."""
    targets = [len(p.took) + more for p in probes]
    eventually(lambda: all(len(p.took) >= t or p.errors for p, t in zip(probes, targets)), timeout, what="answers in every partition")


def moves(system, callers, count, bound, end):
    """Ends one worker after the other and starts it again, `count` times within the bound; the longest wait for an answer each time, when
    its partitions go and when some come back.  Returns whom it ended.  One in three may be over the bound: a busy machine spoiled it."""
    gone, back, ended = [], [], []
    for worker in itertools.cycle(system.workers):
        if sum(wait < bound for wait in gone) == count or sum(wait >= bound for wait in gone) > max(2, count // 3):
            break
        since = time.monotonic()
        ended.append(worker)
        end(worker)
        answered(callers, 3)
        gone.append(max(p.worst(since) for p in callers))
        since = time.monotonic()
        worker.up()
        shared_out(system, system.workers)
        answered(callers, 3)
        back.append(max(p.worst(since) for p in callers))
    for what, waits in (("gone", gone), ("come back", back)):
        print(f"partitions have {what}: the longest wait for an answer was {statistics.median(waits):.2f} s in the median of {len(waits)}, "
              f"{max(waits):.2f} s in the worst")
    assert sum(wait < bound for wait in gone) == count, gone
    return ended


def no_errors(probes):
    assert [p.errors for p in probes if p.errors] == []


def judge(system, probes):
    for probe in probes:
        probe.over = True
    for probe in probes:
        probe.join(60)
    no_errors(probes)
    checker.prove(system, system.client(), "order", [s for p in probes for s in p.sent])


def owners(system, group="order.aggregate"):
    """{partition: [OwnerRecord, …]} in the order of the topic."""
    found = {}
    for m in checker.read_topic(system.kafka.bootstrap, system.topic("owners")):
        key = m.key().decode()
        if key.startswith(system.topic(group) + "/") and m.value() is not None:
            found.setdefault(int(key.rsplit("/", 1)[1]), []).append(ext.OwnerRecord.FromString(m.value()))
    return found


def shared_out(system, workers):
    """Each of them serves something."""
    def check():
        last = {p: records[-1] for p, records in owners(system).items()}
        serving = {r.worker_id for r in last.values() if r.state == ext.OwnerRecord.SERVING}
        return len(last) == system.partitions and serving == {w.config["worker"]["id"] for w in workers}
    eventually(check, 60, every=0.2, what="the partitions to be shared out")


def logged(role, id):
    return [line for line in role.log_lines() if line["id"] == id]


def fenced_ids(system):
    """The transactional ids that any worker has fenced in any of its runs."""
    return {line["transactional_id"] for w in system.workers for line in w.log_lines(whole=True) if line["id"] == "FENCED-OWNER"}


# ---- L21: leaving

def leave(worker):
    assert worker.terminate() == 0, worker.log()[-4000:]


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.timeout(300 + 30 * MOVES)
def test_L21_sigterm_moves_partitions_at_once_and_no_caller_sees_it(make_system, logic, probes, workers):
    system = make_system({"order": logic.address}, two=True, partitions=PARTITIONS, workers=workers).up()
    shared_out(system, system.workers)
    callers = probes(system)
    moves(system, callers, MOVES or workers, 2 * SCALE, leave)
    assert fenced_ids(system) == set()  # everybody released what was taken from them
    released = {r.worker_id for records in owners(system).values() for r in records if r.state == ext.OwnerRecord.RELEASED}
    assert released == {w.config["worker"]["id"] for w in system.workers}
    judge(system, callers)


@pytest.mark.timeout(120)
def test_L21_what_was_announced_and_not_yet_served_is_released_too(make_system, logic):
    system = make_system({"order": logic.address}, two=True, partitions=PARTITIONS, workers=2)
    first, second = system.workers
    first.up()
    system.gateway.up()
    second.env["ANGZARR_STALL"] = "takeover-serving:5000"  # between its entry and its first answer
    second.launch()
    shared_out(system, system.workers)
    assert second.terminate() == 0
    eventually(lambda: {r[-1].worker_id for r in owners(system).values()} == {first.config["worker"]["id"]}, 30, every=0.2)
    assert numbers(system.client().do("order", new_root())) == [0]
    assert fenced_ids(system) == set()  # or the first one's other partitions would have paused


# ---- L16: fencing

@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.timeout(300 + 40 * MOVES)
def test_L16_a_killed_owner_is_fenced_and_replaced_within_its_session(make_system, logic, probes, workers):
    system = make_system({"order": logic.address}, two=True, partitions=PARTITIONS, workers=workers).up()
    shared_out(system, system.workers)
    callers = probes(system)
    killed = moves(system, callers, MOVES or 1, (SESSION + 3) * SCALE, lambda worker: worker.kill())
    assert fenced_ids(system) == {f"{system.prefix}order-{w.config['worker']['id']}-0-{k}" for w in killed for k in (0, 1)}
    judge(system, callers)


@pytest.mark.parametrize("fenced", [True, False], ids=["older", "newer"])
@pytest.mark.timeout(120)
def test_L16_only_an_older_owner_is_fenced(make_system, logic, fenced):
    system = make_system({"order": logic.address}, two=True, partitions=1).up()
    system.client().do("order", new_root())
    assert system.worker.terminate() == 0
    entry = owners(system)[0][-1]
    assert entry.state == ext.OwnerRecord.RELEASED
    id = system.topic("somebody-else")
    other = Producer({"bootstrap.servers": system.kafka.bootstrap, "transactional.id": id})
    other.init_transactions(30)
    other.begin_transaction()
    other.produce(system.topic("order.dlq"), b"x", partition=0)
    other.flush(10)
    say(system, 0, ext.OwnerRecord(worker_id="other", endpoint="127.0.0.1:1", transactional_ids=[id], state=ext.OwnerRecord.SERVING,
                                   generation=entry.generation if fenced else 1 << 30, start_ms=entry.start_ms + 1))
    system.worker.up()
    if fenced:
        with pytest.raises(Exception, match="(?i)fenced|epoch"):
            other.commit_transaction(10)
    else:
        other.commit_transaction(10)
    assert [line["transactional_id"] for line in logged(system.worker, "FENCED-OWNER")] == ([id] if fenced else [])


def say(system, partition, record):
    producer = Producer({"bootstrap.servers": system.kafka.bootstrap})
    producer.produce(system.topic("owners"), record.SerializeToString(), f"{system.topic('order.aggregate')}/{partition}".encode(), partition=0)
    assert producer.flush(10) == 0


@pytest.mark.timeout(120)
def test_L16_two_processes_of_one_name_do_not_both_go_on(make_system, logic):
    system = make_system({"order": logic.address}, two=True, partitions=2, workers=2)
    first, second = system.workers
    second.config["worker"]["id"] = first.config["worker"]["id"]
    second.config["state"]["path"] += "-elsewhere"  # else the lock of the folder keeps it out, with status 2
    second.write()
    system.gateway.launch()
    first.up()
    second.launch()
    eventually(lambda: not (first.running() and second.running()), 60, what="one of the two to end")
    ended = second if first.running() else first
    assert ended.popen.returncode == 3, ended.log()[-4000:]
    assert "w0" in ended.log()
    assert (first if ended is second else second).running()


# ---- L22: entries of owners

@pytest.mark.timeout(120)
def test_L22_an_entry_that_an_older_owner_writes_late_is_written_over(make_system, logic):
    system = make_system({"order": logic.address}, two=True, partitions=1).up()
    [entry] = owners(system)[0]
    assert entry.state == ext.OwnerRecord.SERVING
    say(system, 0, ext.OwnerRecord(worker_id="old", endpoint="127.0.0.1:1", generation=entry.generation - 1, state=ext.OwnerRecord.SERVING,
                                   start_ms=1))
    client = system.client()
    client.do("order", new_root())  # the gateway did not follow it
    eventually(lambda: owners(system)[0][-1].worker_id == "w0", 30, every=0.3, what="the owner to write its entry again")
    assert len(owners(system)[0]) == 3
    assert logged(system.worker, "OWNER-REASSERTED")
    system.gateway.kill()
    system.gateway.up()
    client.do("order", new_root(), timeout=30)


# ---- all of it at once

@pytest.mark.timeout(300)
def test_a_rolling_restart_of_everything_is_seen_by_no_caller(make_system, logic, probes):
    system = make_system({"order": logic.address}, two=True, partitions=PARTITIONS, workers=3).up()
    shared_out(system, system.workers)
    callers = probes(system)
    for worker in system.workers:
        assert worker.terminate() == 0, worker.log()[-4000:]
        worker.up()
        answered(callers, 3)
    judge(system, callers)


# ---- L15: reads of an owner that may be none any more

@pytest.mark.timeout(240)
def test_L15_an_owner_that_stood_still_does_not_answer_what_it_last_knew(make_system, logic):
    """Reads wait in its sockets while it is stopped and another one takes over; it wakes up and thinks nothing has happened."""
    system = make_system({"order": logic.address}, two=True, partitions=1, workers=2)
    first, second = system.workers
    system.gateway.launch()
    first.up()
    system.gateway.ready()
    client = system.client()
    root = new_root()
    client.do("order", root)
    direct = Client(first.config["worker"]["address"])
    assert direct.event_book("order", root).next_sequence == 1
    first.signal(signal.SIGSTOP)
    second.up(90)
    client.do("order", root, 1, timeout=60)
    reads = [in_thread(lambda: direct.event_book("order", root, timeout=20).next_sequence) for _ in range(20)]
    time.sleep(1)
    first.signal(signal.SIGCONT)
    answers = []
    for read in reads:
        try:
            answers.append(read.result(60))
        except Status as e:
            answers.append(e.name())
    assert set(answers) <= {2, "UNAVAILABLE", "DEADLINE_EXCEEDED"}, answers
    direct.close()
