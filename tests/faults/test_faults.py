"""Faults that are known to break such systems, each made on purpose, once."""

import re
import signal
import struct
import time

import pytest

from lib import checker
from lib.client import dones, new_root, numbers
from lib.cluster import Fields
from lib.procs import SCALE, eventually, in_thread
from lib.proxy import END_TXN, FETCH, FIND_COORDINATOR, INIT_PRODUCER_ID, JOIN_GROUP, OFFSET_FETCH, PRODUCE, TXN_OFFSET_COMMIT
from faults_lib import are_members, keep_away, positions, said
from rules_lib import barriers, events_of, new_id, root_in, still_waits

ABORTED, FAILED_PRECONDITION = 10, 9

pytestmark = pytest.mark.timeout(300)


def until_hit(rule, seconds=20):
    """For as long as nothing of it was seen: the two writers take turns, but one that is replaced has none meanwhile."""
    until = time.monotonic() + seconds * SCALE
    while rule.hits == 0 and time.monotonic() < until:
        yield
        time.sleep(0.05)


def proved(system, client, expected):
    """The log holds these numbers and no others, in order, and queries say the same."""
    records = system.reader().stored("order")
    checker.no_complaint(checker.gaps(records))
    checker.no_complaint(checker.agree(client, "order", records))
    assert [n for r in records for n in r.numbers()] == expected


def test_a_worker_that_has_no_partition_is_ready(cluster, make_system, gated):
    """More workers than partitions: the spare one waits, and whoever rolls them out must not wait for it."""
    system = make_system({"order": gated.address}, workers=2).up_in_order()
    for worker in system.workers:
        worker.ready(20)


def when_assigned(system, make_rule):
    """Starts the worker; the rule is for its questions who coordinates the group, when it fetches the positions: after its member and
    its two writers have asked."""
    system.gateway.up()
    system.worker.launch()
    eventually(lambda: said(system.worker, "ASSIGNED"), 60, every=0.002, what="the member to find its coordinator")
    group = system.group().encode()
    return make_rule(client="w0", api=FIND_COORDINATOR, when=lambda r: group in r.frame, skip=2)


def test_a_broker_that_does_not_say_who_coordinates_is_asked_again(proxy, make_system, gated):
    system = make_system({"order": gated.address}, workers=1)
    rule = when_assigned(system, lambda **match: proxy.mute(times=1, **match))
    system.worker.ready(120)
    assert rule.hits == 1
    assert numbers(system.client().do("order", new_root(), timeout=60)) == [0]
    assert system.worker.terminate() == 0


@pytest.mark.long
def test_who_coordinates_is_said_so_late_that_nobody_waits_any_more(proxy, make_system, gated):
    """The answer comes when the worker has given its question for the positions up, and before the connection has timed out."""
    system = make_system({"order": gated.address}, workers=1,
                         settings={"log": {"kafka": {"socket.timeout.ms": 25000, "transaction.timeout.ms": 60000}}})
    rule = when_assigned(system, lambda **match: proxy.delay_answer(12000, times=1, **match))
    system.worker.ready(120)
    eventually(lambda: rule.hits == 1 and time.monotonic() - rule.requests[0].time > 14, 30, what="the late answer")
    assert numbers(system.client().do("order", new_root(), timeout=60)) == [0]
    assert system.worker.running(), system.worker.log()[-2000:]
    assert system.worker.terminate() == 0


@pytest.mark.parametrize("how", ["cut_before", pytest.param("cut_after", marks=pytest.mark.long), pytest.param("mute", marks=pytest.mark.long)])
def test_a_connection_that_ends_while_positions_are_fetched(proxy, make_system, gated, how):
    system = make_system({"order": gated.address}, workers=1)
    system.gateway.up()
    rule = getattr(proxy, how)(client="w0", api=OFFSET_FETCH, times=2)
    system.worker.up(120)
    assert rule.hits == 2
    assert numbers(system.client().do("order", new_root(), timeout=60)) == [0]
    assert system.worker.terminate() == 0


def test_the_coordinator_moves_while_positions_are_fetched(cluster, proxy, make_system, gated):
    system = make_system({"order": gated.address}, workers=1)
    system.gateway.up()
    rule = proxy.hold(client="w0", api=OFFSET_FETCH, times=1)
    system.worker.launch()
    asked = rule.wait(timeout=60).node
    cluster.move_leader(*cluster.group_partition(system.group()), cluster.others(asked)[0])
    assert cluster.group_coordinator(system.group()) != asked
    rule.release()
    rule.held[0].answer()
    system.worker.ready(60)
    assert numbers(system.client().do("order", new_root(), timeout=60)) == [0]


def test_a_partition_that_goes_elsewhere_during_a_takeover_holds_up_no_other(proxy, make_system, gated):
    """A worker is about to take all partitions over when a second one joins and gets some of them."""
    system = make_system({"order": gated.address}, workers=2, partitions=4)
    first, second = system.workers
    system.gateway.up()
    rule = proxy.hold(client="w0", api=OFFSET_FETCH, times=1)
    first.launch()
    rule.wait(timeout=60)
    second.launch()
    eventually(lambda: said(first, "REVOKED"), 60, what="the first worker to lose partitions")
    rule.release()
    for worker in system.workers:
        worker.ready(60)
    client = system.client()
    for partition in range(4):
        assert numbers(client.do("order", root_in(partition, 4), timeout=60)) == [0]


# ---- L1: what was answered is seen by the next owner, although its marker is late

def test_L1_an_event_whose_marker_is_late_is_seen_by_the_next_owner(cluster, proxy, make_system, gated):
    """The leader of the events stands still from the end of the transaction until after the hand-over; everything else goes on."""
    system = make_system({"order": gated.address}, workers=2).up_in_order()
    first, second = system.workers
    client = system.client()
    root = new_root()
    assert numbers(client.do("order", root, id="zero")) == [0]
    events = (system.topic("order.events"), 0)
    victim = cluster.node(cluster.others(cluster.controller())[0])
    keep_away(cluster, system, victim.number, but=events)

    rule = proxy.hold(client="w0", api=END_TXN, txn=system.txns(first), times=1)
    job = in_thread(lambda: client.do("order", root, 1, id="one", timeout=60))
    rule.wait(timeout=60)
    victim.pause()
    rule.release()
    assert numbers(job.result(60)) == [1]  # it is decided; the marker cannot be written

    before = len(barriers(cluster, system))
    assert first.terminate(30) == 0, first.log()[-4000:]
    late = in_thread(lambda: client.do("order", root, 2, id="late", timeout=100))
    stale = in_thread(lambda: client.refused("FAILED_PRECONDITION", client.do, "order", root, 1, id="stale", timeout=100))
    eventually(lambda: said(second, "ASSIGNED"), 30, what="the partition to come to the second worker")
    eventually(lambda: len(barriers(cluster, system)) > before, 60, every=0.3, what="the second worker to have got as far as the barrier")
    still_waits(late, 4)  # it must; if it does not, that is told below
    assert [ids for _, _, ids in events_of(cluster, system, root)] == [["zero"]], "the marker came too early for this test"
    victim.resume()

    assert numbers(late.result(120)) == [2]
    assert stale.result(120).message.startswith("Sequence mismatch: command expects 1, aggregate at ")
    assert gated.calls.of("stale") == 0
    assert [d.id for d in dones(client.event_book("order", root))] == ["zero", "one", "late"]
    proved(system, client, [0, 1, 2])


# ---- L2: a worker that only its gateway can still hear

@pytest.mark.parametrize("how", ["cut", pytest.param("freeze", marks=pytest.mark.long)])
def test_L2_what_a_worker_without_a_log_decides_is_not_told(cluster, proxy, make_system, gated, how):
    """The worker loses Kafka and keeps its gateway; what the logic says to it is a refusal, what it says to the next owner is not."""
    system = make_system({"order": gated.address}, workers=2).up_in_order()
    first, second = system.workers
    client = system.client()
    root, id = new_root(), new_id()
    assert numbers(client.do("order", root)) == [0]
    gated.hold()
    job = in_thread(lambda: client.do("order", root, 1, what="flaky", n=1, value=FAILED_PRECONDITION, id=id, timeout=120))
    eventually(lambda: gated.waiting == 1, 20, what="the call")
    getattr(proxy, how)("w0")
    gated.let_go()
    eventually(lambda: gated.calls.of(id) == 1 and gated.calls.open == 0, 20, what="the refusal")
    assert still_waits(job, 1.5), "a refusal was told that nobody could commit"
    assert numbers(job.result(120)) == [1]
    assert gated.calls.of(id) == 2 and said(second, "ASSIGNED")
    proxy.heal("w0")
    are_members(cluster, system)
    for sequence in range(2, 6):
        assert numbers(client.do("order", root, sequence, timeout=60)) == [sequence]
    assert [ids for _, _, ids in events_of(cluster, system, root)][1] == [id]
    assert gated.calls.of(id) == 2
    proved(system, client, list(range(6)))


# ---- L4: a sealed batch, and its owner is replaced

APIS = {"produce": PRODUCE, "positions": TXN_OFFSET_COMMIT, "end": END_TXN}
SHORT = [("end", "after"), ("positions", "before")]


@pytest.mark.parametrize("api, resume", [pytest.param(APIS[name], resume, id=f"{resume}-{name}", marks=() if (name, resume) in SHORT else pytest.mark.long)
                                         for name in APIS for resume in ("before", "after")])
def test_L4_a_batch_of_an_owner_that_was_replaced_is_never_committed(cluster, proxy, make_system, gated, api, resume):
    """A request of the transaction is held on the way and its worker stands still until another has taken over; then both go on:
    the worker before the request arrives, or after it."""
    patient = {"log": {"kafka": {"transaction.timeout.ms": 60000, "message.timeout.ms": 60000}}}
    system = make_system({"order": gated.address}, workers=2, settings=patient).up_in_order()
    first, second = system.workers
    client = system.client()
    root, id = new_root(), new_id()
    assert numbers(client.do("order", root)) == [0]
    rule = proxy.hold(client="w0", api=api, txn=system.txns(first), times=1)
    job = in_thread(lambda: client.do("order", root, 1, id=id, timeout=120))
    rule.wait()
    first.signal(signal.SIGSTOP)
    assert numbers(job.result(120)) == [1]
    assert gated.calls.of(id) == 2 and said(second, "ASSIGNED")
    assert numbers(client.do("order", root, 2, timeout=60)) == [2]

    def go_on():
        first.signal(signal.SIGCONT)
        eventually(lambda: said(first, "LOST"), 60, what="the first worker to see that it lost the partition")
    if resume == "before":
        go_on()
    rule.release()
    try:
        rule.held[0].answer(30)
    except ConnectionError:
        assert resume == "before"
    if resume == "after":
        go_on()
    are_members(cluster, system)
    for sequence in range(3, 10):  # as a member it could commit again, for a partition that is not its own
        assert numbers(client.do("order", root, sequence, timeout=60)) == [sequence]
    assert first.running() and second.running()
    proved(system, client, list(range(10)))


# ---- L14: positions that arrive late

def errors_of_offset_commit(frame):
    """Of a TxnOffsetCommit answer, version 3: the error of each partition."""
    fields = Fields(frame, 8)
    fields.tags()
    fields.number("i")
    found = []

    def partition():
        fields.number("i")
        found.append(fields.number("h"))
        fields.tags()

    def topic():
        fields.text()
        fields.array(partition)
        fields.tags()
    fields.array(topic)
    return found


@pytest.mark.parametrize("socket_ms", [None, 2000], ids=["given up", "sent again"])
def test_L14_positions_that_arrive_in_a_later_transaction_do_not_count(cluster, proxy, make_system, gated, socket_ms):
    """The first copy of a transaction's positions stays on the way, and the producer gives the transaction up, or sends them again.
    The copy arrives in the middle of a later transaction of the same transactional id."""
    settings = {"log": {"kafka": {"socket.timeout.ms": socket_ms}}} if socket_ms else {}
    system = make_system({"order": gated.address}, workers=1, settings=settings).up_in_order()
    [worker] = system.workers
    client = system.client()
    commands = (system.topic("order.commands"), 0)
    refused = []

    def all_are_done():  # a copy that the gateway sent again counts too
        return positions(cluster, system)[commands].offset == len(checker.read_topic(cluster.bootstrap, commands[0]))

    def refuse():
        refused.append(new_id())
        return client.refused("ABORTED", client.do, "order", new_root(), what="refuse", n=ABORTED, id=refused[-1], timeout=60)
    for _ in range(4):
        refuse()
    rule = proxy.hold(client="w0", api=TXN_OFFSET_COMMIT, txn=system.txns(worker), times=1)
    refuse()
    old = rule.wait()
    for _ in range(6):
        refuse()
    eventually(all_are_done, 20, every=0.2, what="the positions")

    end = proxy.hold(client="w0", api=END_TXN, txn=f"^{re.escape(old.txn)}$", times=1)
    jobs = []
    for _ in until_hit(end):
        jobs.append(in_thread(refuse))
        still_waits(jobs[-1], 1)
    end.wait()
    rule.release()
    errors = errors_of_offset_commit(rule.held[0].answer())
    end.release()
    for job in jobs:
        job.result(60)
    calls = [gated.calls.of(id) for id in refused]
    at = positions(cluster, system)[commands]
    assert all_are_done(), f"the position is {at}; the late copy was answered {errors}"
    worker.kill()
    worker.up(90)
    assert numbers(client.do("order", new_root(), timeout=60)) == [0]
    assert [gated.calls.of(id) for id in refused] == calls, f"refusals ran again; the late copy was answered {errors}"
    eventually(lambda: positions(cluster, system)[commands].offset > at.offset, 20, every=0.2, what="the position to go on")  # by its marker


def error_of_end(frame):
    """Of an EndTxn answer, version 1."""
    return struct.unpack_from(">h", frame, 12)[0]


def test_L14_an_end_that_arrives_in_a_later_transaction_does_not_end_it(cluster, proxy, make_system, gated):
    """One arrives while its successor under the same transactional id is open; one after the process that sent it was killed and
    came back."""
    system = make_system({"order": gated.address}, workers=1).up_in_order()
    [worker] = system.workers
    client = system.client()
    root = new_root()
    assert numbers(client.do("order", root)) == [0]
    rule = proxy.hold(client="w0", api=END_TXN, txn=system.txns(worker), times=1)
    assert numbers(client.do("order", root, 1, timeout=60)) == [1]
    old = rule.requests[0]
    end = proxy.hold(client="w0", api=END_TXN, txn=f"^{re.escape(old.txn)}$", times=1)
    sequence, job = 2, None
    for _ in until_hit(end):
        job = in_thread(lambda n=sequence: client.do("order", root, n, timeout=100))
        if not still_waits(job, 1):
            assert numbers(job.result()) == [sequence]
            sequence += 1
    end.wait()
    rule.release()
    assert error_of_end(rule.held[0].answer()) != 0
    assert still_waits(job, 0.5), "a transaction was ended by its predecessor's request"
    worker.kill()
    worker.up(90)
    assert numbers(job.result(100)) == [sequence]
    end.release()
    assert error_of_end(end.held[0].answer()) != 0
    assert numbers(client.do("order", root, sequence + 1, timeout=60)) == [sequence + 1]
    proved(system, client, list(range(sequence + 2)))


def test_L14_a_producer_that_is_replaced_holds_nobody_up(proxy, make_system, gated):
    """One of the two loses a connection in a transaction; while it cannot be initialised again, the other does all commits.  Then they
    take turns as before."""
    system = make_system({"order": gated.address}, workers=1).up_in_order()
    [worker] = system.workers
    client = system.client()
    root = new_root()
    assert numbers(client.do("order", root)) == [0]
    cut = proxy.cut_before(client="w0", api=TXN_OFFSET_COMMIT, txn=system.txns(worker), times=1)
    init = proxy.hold(client="w0", api=INIT_PRODUCER_ID, txn=system.txns(worker))
    assert numbers(client.do("order", root, 1, timeout=60)) == [1]
    retired = re.escape(cut.requests[0].txn)
    ends = proxy.watch(client="w0", api=END_TXN, txn=f"^{retired}$")
    for sequence in range(2, 8):
        begun = time.monotonic()
        assert numbers(client.do("order", root, sequence, timeout=60)) == [sequence]
        assert time.monotonic() - begun < 2 * SCALE, "it waited for the one that is replaced"
    assert init.wait().txn == cut.requests[0].txn and not init.held[0].over.is_set()
    assert ends.hits == 0, "a producer that is not initialised ended a transaction"
    init.release()
    sequence = 8
    for _ in until_hit(ends):
        assert numbers(client.do("order", root, sequence, timeout=60)) == [sequence]
        sequence += 1
    assert ends.hits > 0, "the new producer is never used"
    proved(system, client, list(range(sequence)))


# ---- L16: our own name, taken by ourselves

def test_L16_a_late_copy_of_our_own_joining_is_not_somebody_else(cluster, proxy, make_system, gated):
    """The first JoinGroup of a worker stays on the way; the worker asks again and serves.  Then the first one arrives, and the group
    takes it for another process of that name."""
    system = make_system({"order": gated.address}, workers=1)
    [worker] = system.workers
    system.gateway.up()
    rule = proxy.hold(client="w0", api=JOIN_GROUP, times=1)
    worker.launch()
    rule.wait(timeout=60)
    proxy.cut("w0")
    proxy.heal("w0")
    worker.ready(90)
    client = system.client()
    root = new_root()
    assert numbers(client.do("order", root, timeout=60)) == [0]
    rule.release()
    rule.held[0].answer()
    eventually(lambda: said(worker, "MEMBER-FENCED"), 30, what="the group to refuse the worker")
    for sequence in (1, 2):
        assert numbers(client.do("order", root, sequence, timeout=60)) == [sequence]
    assert worker.running()
    are_members(cluster, system, 1)
    proved(system, client, [0, 1, 2])


# ---- L20: an answer is an answer, whichever copy it is to

def test_L20_the_answer_to_an_earlier_copy_counts(cluster, proxy, make_system, gated):
    """While the first copy runs, the gateway sends another one, and the worker cannot read it: what it says of the first is all that
    there will be."""
    system = make_system({"order": gated.address}, workers=1).up_in_order()
    client = system.client()
    assert numbers(client.do("order", new_root())) == [0]
    commands = system.topic("order.commands")
    before = len(checker.read_topic(cluster.bootstrap, commands))
    root, id = new_root(), new_id()
    gated.hold()
    job = in_thread(lambda: client.do("order", root, id=id, timeout=60))
    eventually(lambda: gated.waiting == 1, 20, what="the call")
    fetches = proxy.hold(client="w0", api=FETCH)
    eventually(lambda: len(checker.read_topic(cluster.bootstrap, commands)) == before + 2, 30, every=0.2, what="the second copy")
    gated.let_go()
    try:
        assert numbers(job.result(5)) == [0]
    finally:
        fetches.release()
    assert gated.calls.of(id) == 1
    assert numbers(client.do("order", root, 1, timeout=60)) == [1]
    proved(system, client, [0, 0, 1])
