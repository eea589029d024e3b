"""The rules of the lane that only a real broker can show: L1, L2 (held commit), L3, L4, L5, L7 (outage), L10 (forwards), L13, L20."""

import os
import pathlib
import re
import shutil
import time

import pytest
from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from lib import checker
from lib.client import Status, book, dones, new_root, numbers
from lib.procs import SCALE, NotInTime, eventually, in_thread
from rules_lib import (HandGateway, barriers, dead_letter, events_of, everything_before_is_done, foreign_event, new_id,
                       next_of, put, root_in, still_waits, text)

pytestmark = pytest.mark.kafka_only

ABORTED, FAILED_PRECONDITION = 10, 9


@pytest.fixture
def by_hand(broker):
    made = []

    def make(system, **options):
        made.append(HandGateway(broker, system, system.worker.config["worker"]["address"], **options))
        return made[-1]
    yield make
    for gateway in made:
        gateway.close()


# ---- L3: the partition is computed from the cover

def edition_book(root, id):
    return book("order", root, id=id, edition="what-if")


@pytest.mark.parametrize("kind", ["wrong partition", "key of another root", "root@edition key"])
def test_L3_a_command_runs_once_in_the_partition_of_its_root(broker, system, client, logic, kind):
    for at in range(system.partitions):
        root, id = root_in(0, system.partitions), new_id()
        command = book("order", root, id=id) if kind != "root@edition key" else edition_book(root, id)
        key = {"wrong partition": text(root), "key of another root": text(new_root()), "root@edition key": f"{text(root)}@what-if"}[kind]
        put(broker, system.topic("order.commands"), key, command.SerializeToString(), at, [("command-id", id)])
        everything_before_is_done(broker, system, client)
        stored = events_of(broker, system, root)
        assert [(partition, ids) for partition, _, ids in stored] == [(0, [id])], f"put into {at}"
        assert stored[0][1] == (f"{text(root)}@what-if" if kind == "root@edition key" else text(root)) + "/0000000000"
        assert logic.calls.of(id) == 1
        forwarded = [m for m in checker.read_topic(broker.bootstrap, system.topic("order.reactions"))
                     if checker.headers(m).get("command-id") == id]
        assert len(forwarded) == (at != 0)
        for m in forwarded:
            assert m.partition() == 0 and m.value() == command.SerializeToString()
            assert checker.headers(m)["forwarded"].startswith(system.topic("order.commands") + f"/{at}/")
        if kind != "root@edition key":
            assert numbers(client.do("order", root, 1)) == [1]  # the right owner has its history


def test_L3_what_was_forwarded_and_is_still_in_the_wrong_partition_is_a_dead_letter(broker, system, client, logic):
    root, id = root_in(0, system.partitions), new_id()
    put(broker, system.topic("order.reactions"), text(root), book("order", root, id=id).SerializeToString(), 1,
        [("command-id", id), ("forwarded", "elsewhere/7/7")])
    message, headers = dead_letter(broker, system, lambda m, h: h.get("command-id") == id)
    assert message.key().decode() == text(root) and "forwarded before" in headers["reason"]
    everything_before_is_done(broker, system, client)
    assert logic.calls.of(id) == 0 and events_of(broker, system, root) == []


def test_L3_headers_of_a_misrouted_command_cannot_stop_its_partition(broker, system, client, logic):
    """Any headers, also many of one name: what comes from outside."""
    root, id = root_in(0, system.partitions), new_id()
    headers = [("command-id", id), ("reply-to", "nobody"), *[("traceparent", "x" * 600)] * 20]
    put(broker, system.topic("order.commands"), text(root), book("order", root, id=id).SerializeToString(), 1, headers)
    everything_before_is_done(broker, system, client)
    assert logic.calls.of(id) == 1 and [ids for _, _, ids in events_of(broker, system, root)] == [[id]]


# ---- L10: what cannot be forwarded or kept whole

@pytest.mark.parametrize("kind", ["misrouted command", "garbage"])
def test_L10_a_record_as_large_as_its_topic_takes_does_not_stop_its_partition(broker, make_system, gated, kind):
    """Forwarded or kept with more headers than it had, it would be larger than what the next topic takes."""
    logic = gated()
    system = make_system({"order": logic.address}, partitions=2, settings={"limits": {"message": "64KiB"}}).up()
    client = system.client()
    limit = (64 + 64) * 1024  # of the topics
    root, id = root_in(0, 2), new_id()
    size = limit - 150 - (0 if kind == "garbage" else len(book("order", root, id=id).SerializeToString()))
    value = b"\xff" * size if kind == "garbage" else book("order", root, id=id, data=bytes(size)).SerializeToString()
    put(broker, system.topic("order.commands"), text(root), value, 1)
    everything_before_is_done(broker, system, client)
    message, headers = dead_letter(broker, system, lambda m, _: m.key() == text(root).encode())
    assert headers["reason"] and headers["source"] == system.topic("order.commands") + "/1/0"
    assert message.value() == value or (message.value() == b"" and headers["value-uuid5"])
    assert logic.calls.of(id) == 0


# ---- L2: the commit is held up: nobody hears anything

def test_L2_a_refusal_is_told_only_after_its_commit(broker, make_system, gated):
    logic = gated()
    system = make_system({"order": logic.address}, two=True, partitions=1).up()
    client = system.client()
    root, id = new_root(), new_id()
    logic.hold()
    job = in_thread(lambda: client.refused("ABORTED", client.do, "order", root, what="refuse", n=ABORTED, id=id, timeout=60))
    eventually(lambda: logic.waiting == 1, 10)
    broker.pause()
    try:
        logic.let_go()
        eventually(lambda: logic.calls.of(id) == 1 and logic.calls.open == 0, 10)
        assert still_waits(job, 1.5), "a refusal was told before anything was committed"
        system.worker.kill()
    finally:
        broker.resume()
    system.worker.up()
    job.result(90)
    assert logic.calls.of(id) == 2
    system.worker.kill()  # told now: never again
    system.worker.up()
    assert numbers(client.do("order", root, timeout=60)) == [0]
    assert logic.calls.of(id) == 2


def positions(broker, system, domain="order"):
    group = system.topic(f"{domain}.aggregate")
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})

    def ask():
        [result] = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
        try:
            return {(tp.topic, tp.partition): tp for tp in result.result(20).topic_partitions}
        except UnicodeDecodeError as e:  # the client reads metadata past its end, up to the next zero
            raise AssertionError(str(e)) from e
    return eventually(ask, 20)


def test_L2_the_set_of_done_records_is_in_the_committed_offset(broker, make_system, gated):
    logic = gated()
    system = make_system({"order": logic.address}, partitions=1).up()
    client = system.client()
    commands = (system.topic("order.commands"), 0)
    client.do("order", new_root())
    eventually(lambda: commands in positions(broker, system) and positions(broker, system)[commands].offset == 1, 10)
    id = new_id()
    slow = in_thread(lambda: client.do("order", new_root(), what="never", id=id, timeout=20))
    eventually(lambda: logic.calls.of(id) == 1, 10)
    for _ in range(5):
        client.refused("ABORTED", client.do, "order", new_root(), what="refuse", n=ABORTED)
    at = positions(broker, system)[commands]
    assert at.offset == 1 and re.match(r"1:1:", at.metadata), at
    system.worker.kill()
    with pytest.raises(Status):
        slow.result()


# ---- L13: copies after a final refusal

@pytest.mark.parametrize("between", ["nothing", "a restart", "a kill", "a kill and the loss of the store"])
def test_L13_a_copy_of_a_refused_call_gets_its_refusal_and_does_not_run(make_system, by_hand, gated, between):
    logic = gated()
    system = make_system({"order": logic.address}, two=True, partitions=1).up()
    gateway = by_hand(system)
    root, key, id = new_root(), new_id(), new_id()
    command = book("order", root, what="flaky", n=1, value=FAILED_PRECONDITION, id=id)
    start = gateway.send(command, key, 1)
    first = gateway.answer(key, 1)
    assert (first.code, first.message) == (FAILED_PRECONDITION, "not yet: call 1 of 1")
    if between == "a restart":
        assert system.worker.terminate() == 0
    elif between != "nothing":
        system.worker.kill()
        if "store" in between:
            shutil.rmtree(pathlib.Path(system.config["state"]["path"], "w0/store"))
    if between != "nothing":
        system.worker.up()
        gateway.attach()
    gateway.send(command, key, 2, start_ms=start)  # of the same call: it would succeed now
    copy = gateway.answer(key, 2)
    assert (copy.code, copy.message) == (first.code, first.message)
    assert logic.calls.of(id) == 1
    gateway.send(command, key, 3)  # another call of the caller, who knows of the refusal
    assert gateway.answer(key, 3).code == 0
    assert logic.calls.of(id) == 2


# ---- L7: an outage longer than the window

@pytest.mark.alone
def test_L7_a_copy_from_before_the_outage_is_a_duplicate_after_it(broker, make_system, gated):
    window = 4 * SCALE
    logic = gated()
    system = make_system({"order": logic.address}, partitions=1, settings={"limits": {"dedupe_window": f"{int(window * 1000)}ms"}}).up()
    client = system.client()
    topic = system.topic("order.commands")
    root, key, id = new_root(), new_id(), new_id()
    client.do("order", root, key=key, id=id)
    begun = time.monotonic()
    system.worker.kill()
    put(broker, topic, text(root), book("order", root, sequence=1, id=id).SerializeToString(), 0, [("command-id", key)])
    assert time.monotonic() - begun < window, "the machine is too slow for this window"
    shutil.rmtree(pathlib.Path(system.config["state"]["path"], "w0/store"))  # what it knows must come from the log
    eventually(lambda: time.monotonic() - begun > window + 0.3, 20, what="the window to pass")
    system.worker.up()
    client = system.client()
    everything_before_is_done(broker, system, client)
    assert logic.calls.of(id) == 1 and client.event_book("order", root).next_sequence == 1
    put(broker, topic, text(root), book("order", root, sequence=1, id=id).SerializeToString(), 0, [("command-id", key)])
    everything_before_is_done(broker, system, client)
    assert logic.calls.of(id) == 2 and client.event_book("order", root).next_sequence == 2


# ---- L20: answers that were lost on the way

def test_L20_calls_that_wait_are_answered_after_the_worker_was_killed(make_system, gated):
    logic = gated()
    system = make_system({"order": logic.address}, two=True, partitions=2).up()
    client = system.client()
    commands = [(new_root(), new_id()) for _ in range(40)]
    logic.hold()
    jobs = [in_thread(lambda r=root, i=id: client.do("order", r, n=2, id=i, timeout=60)) for root, id in commands]
    eventually(lambda: logic.waiting == len(jobs), 20)
    system.worker.kill()
    logic.let_go()
    system.worker.up()
    assert [numbers(job.result(90)) for job in jobs] == [[0, 1]] * len(jobs)
    sent = [checker.Sent(id, root, 2, "ok", (0, 1)) for root, id in commands]
    checker.prove(system, client, "order", sent)


def test_L20_a_committed_answer_that_nobody_heard_is_asked_for_again(make_system, gated):
    """Killed between commit and answer: nothing in the log makes the new worker answer, only the gateway can."""
    logic = gated()
    system = make_system({"order": logic.address}, two=True, partitions=1)
    system.worker.launch(kill="after-commit:2")  # the first pass is the takeover's barrier
    system.gateway.launch()
    system.worker.ready()
    system.gateway.ready()
    client = system.client()
    root, id = new_root(), new_id()
    job = in_thread(lambda: client.do("order", root, n=2, id=id, timeout=25))
    system.worker.died()
    system.worker.up()
    back = time.monotonic()
    assert numbers(job.result(60)) == [0, 1]
    assert time.monotonic() - back < 2 * SCALE, "not when the way back stood, but when a copy is sent without a reason (5 s)"
    assert logic.calls.of(id) == 1  # answered from the store
    assert client.event_book("order", root).next_sequence == 2


# ---- L5: positions that are not there

def test_L5_a_group_that_never_ran_starts_at_the_beginning(make_system, gated):
    logic = gated()
    system = make_system({"order": logic.address}, two=True, partitions=2)
    system.gateway.up()  # it makes the topics
    client = system.client()
    jobs = [in_thread(lambda: client.do("order", new_root(), timeout=60)) for _ in range(10)]
    reader = system.topic("order.commands")
    eventually(lambda: len(checker.read_topic(system.kafka.bootstrap, reader)) >= 10, 20, every=0.2, what="the commands in the log")
    assert logic.calls.total == 0
    system.worker.up()
    assert [numbers(job.result(90)) for job in jobs] == [[0]] * 10


def test_L5_start_latest_leaves_what_was_there_to_others(broker, make_system, gated):
    """Both inputs; and it is where a group begins, not where it begins again."""
    logic = gated()
    system = make_system({"order": {"address": logic.address, "start": "latest"}}, two=True, partitions=1)
    system.gateway.up()  # it makes the topics
    for name in ("commands", "reactions"):
        for i in range(3):
            root = new_root()
            put(broker, system.topic(f"order.{name}"), text(root), book("order", root, id=f"old-{name}-{i}").SerializeToString(), 0)
    system.worker.up()
    client = system.client()
    everything_before_is_done(broker, system, client)
    assert [id for id, _, _ in logic.calls.requests if id.startswith("old")] == []
    assert {name: tp.offset for (name, _), tp in positions(broker, system).items()} == {
        system.topic("order.commands"): 4, system.topic("order.reactions"): 4}
    assert system.worker.terminate() == 0
    root = new_root()
    for name in ("commands", "reactions"):
        put(broker, system.topic(f"order.{name}"), text(root), book("order", root, id=f"meanwhile-{name}").SerializeToString(), 0)
    system.worker.up()
    eventually(lambda: next_of(client, root) == 1, 30, what="what came while it was down")
    everything_before_is_done(broker, system, client)
    assert logic.calls.of("meanwhile-commands") + logic.calls.of("meanwhile-reactions") == 1  # the other one is stale


def test_L5_positions_that_are_gone_are_an_error_and_no_start(broker, make_system, gated):
    logic = gated()
    system = make_system({"order": logic.address}, partitions=1).up()
    client = system.client()
    group, commands = system.topic("order.aggregate"), system.topic("order.commands")
    refused = [new_id() for _ in range(5)]
    for id in refused:
        client.refused("ABORTED", client.do, "order", new_root(), what="refuse", n=ABORTED, id=id)
    root = new_root()
    client.do("order", root)
    kept = positions(broker, system)
    assert system.worker.terminate() == 0
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})

    def gone():
        try:
            for future in admin.delete_consumer_groups([group]).values():
                future.result(20)
            return True
        except KafkaException as e:
            assert e.args[0].name() == "NON_EMPTY_GROUP", e
            return False
    eventually(gone, 20, every=0.2, what="the group's offsets to be deleted")
    put(broker, commands, text(root), book("order", root, sequence=1, id="waits").SerializeToString(), 0)
    system.worker.launch()

    def complaints():
        assert system.worker.running(), system.worker.log()[-2000:]
        return [line for line in system.worker.log_lines() if group in line.get("error", "") and "no position" in line["error"]]
    eventually(lambda: len(complaints()) >= 2, 30, what="it to be said twice, with all attempts between them")
    assert commands in complaints()[0]["error"] or system.topic("order.reactions") in complaints()[0]["error"]
    assert not any(line.startswith("ready") for line in system.worker.log().splitlines()), "it serves, from nowhere"
    assert [logic.calls.of(id) for id in refused] == [1] * len(refused) and logic.calls.of("waits") == 0
    assert system.worker.terminate() == 0

    back = [TopicPartition(t, p, tp.offset, tp.metadata or "") for (t, p), tp in kept.items()]

    def restored():
        try:
            for future in admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, back)]).values():
                future.result(20)
            return True
        except KafkaException:
            return False
    eventually(restored, 20, every=0.2, what="the positions to be written again")
    system.worker.up()
    client = system.client()
    eventually(lambda: next_of(client, root) == 2, 20, what="the command that waited")
    assert [logic.calls.of(id) for id in refused] == [1] * len(refused)


# ---- L1: the end of a partition is the barrier, not what can be read at the moment

def test_L1_an_open_transaction_holds_the_takeover_up_and_its_event_is_seen(broker, make_system, gated):
    logic = gated()
    system = make_system({"order": logic.address}, partitions=1).up()
    root = new_root()
    assert numbers(system.client().do("order", root)) == [0]
    assert system.worker.terminate() == 0
    before = len(barriers(broker, system))
    with foreign_event(broker, system, root, 1, "foreign") as producer:
        system.worker.launch()
        eventually(lambda: len(barriers(broker, system)) > before, 30, every=0.1, what="the barrier")
        with pytest.raises(NotInTime):  # read to what is readable now, it would be ready at once
            system.worker.ready(timeout=2.5)
        client = system.client()
        client.refused_open(client.do, "order", root, 1, id="early", timeout=1)
        producer.commit_transaction(20)
    system.worker.ready()
    client = system.client()
    assert numbers(client.event_book("order", root)) == [0, 1]
    refused = client.refused("FAILED_PRECONDITION", client.do, "order", root, 1, id="early")
    assert refused.message == "Sequence mismatch: command expects 1, aggregate at 2" and logic.calls.of("early") == 0
    assert numbers(client.do("order", root, 2, id="late")) == [2]
    request, _ = logic.calls.last("late")
    assert [d.id for d in dones(request.events)] == ["", "foreign"]
    records = system.reader().stored("order")
    checker.no_complaint(checker.gaps(records))


def test_L1_a_transaction_that_is_aborted_leaves_nothing(broker, make_system, gated):
    logic = gated()
    system = make_system({"order": logic.address}, partitions=1).up()
    root = new_root()
    system.client().do("order", root)
    system.worker.kill()
    with foreign_event(broker, system, root, 1, "foreign") as producer:
        system.worker.launch()
        producer.abort_transaction(20)
    system.worker.ready()
    client = system.client()
    assert numbers(client.do("order", root, 1)) == [1]
    assert [d.id for d in dones(client.event_book("order", root))] == ["", ""]
    assert logic.calls.total == 2


# ---- L4: a batch that was sealed before the partition went elsewhere

@pytest.mark.timeout(240)
def test_L4_a_batch_of_an_owner_that_was_replaced_is_never_committed(broker, make_system, gated):
    """The first owner is stopped in the middle of a transaction; another one takes over and does the same command; then the first
    one goes on where it was.  Its transaction timed out for nobody: only its membership is void."""
    logic = gated()
    system = make_system({"order": logic.address}, two=True, partitions=1, workers=2,
                         settings={"log": {"kafka": {"transaction.timeout.ms": 60000}}, "gateway": {"deadline": "2m"}})
    first, second = system.workers
    system.gateway.launch()
    first.up()
    system.gateway.ready()
    client = system.client()
    root, id = new_root(), new_id()
    assert numbers(client.do("order", root)) == [0]
    logic.hold()
    job = in_thread(lambda: client.do("order", root, 1, id=id, timeout=100))
    eventually(lambda: logic.waiting == 1, 10)
    broker.pause()
    try:
        logic.let_go()
        eventually(lambda: logic.calls.of(id) == 1 and logic.calls.open == 0, 10)
        assert still_waits(job, 0.5)  # sealed; the broker has not read the transaction's first request
        first.signal(19)
    finally:
        broker.resume()
    second.up(90)
    assert numbers(job.result(120)) == [1] and logic.calls.of(id) == 2  # by the second
    assert numbers(client.do("order", root, 2, timeout=60)) == [2]
    first.signal(18)

    def noticed():
        return [line for line in first.log_lines() if line["id"] in ("COMMIT-ABORTED", "COMMIT-UNKNOWN", "LOST", "REVOKED")]
    eventually(noticed, 30, what="the first one to notice")
    eventually(lambda: members(broker, system) == 2, 40, every=0.1, what="the first one to be a member again")
    sequence, until = 3, time.monotonic() + 1.5 * SCALE
    while time.monotonic() < until or sequence < 6:  # now it could commit, as a member, for a partition that is not its own
        assert numbers(client.do("order", root, sequence, timeout=60)) == [sequence]
        sequence += 1
    records = system.reader().stored("order")
    checker.no_complaint(checker.gaps(records))
    assert [number for r in records for number in r.numbers()] == list(range(sequence))
    checker.no_complaint(checker.agree(client, "order", records))


def members(broker, system, domain="order"):
    """Members of the group; None while it is being rebalanced."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    [result] = admin.describe_consumer_groups([system.topic(f"{domain}.aggregate")]).values()
    group = result.result(20)
    return len(group.members) if group.state == ConsumerGroupState.STABLE else None


# ---- L10: a record that the broker refuses, though it was well when it was staged

def alter(broker, topic, **config):
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    entries = [ConfigEntry(name.replace("_", "."), str(value), incremental_operation=AlterConfigOpType.SET) for name, value in config.items()]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(20)


@pytest.mark.timeout(240)
def test_L10_a_record_that_the_broker_refuses_ends_alone(broker, make_system, gated):
    """The topic takes less than it did at start: one command's events no longer fit, its neighbours' do."""
    logic = gated()
    system = make_system({"order": logic.address}, partitions=1).up()
    client = system.client()
    alter(broker, system.topic("order.events"), max_message_bytes=3000)
    time.sleep(1)
    roots = [(new_root(), new_id()) for _ in range(30)]
    big, big_id = new_root(), new_id()
    logic.hold()
    jobs = [in_thread(lambda r=root, i=id: client.do("order", r, id=i, timeout=60)) for root, id in roots[:15]]
    bad = in_thread(lambda: client.do("order", big, id=big_id, data=os.urandom(20000), timeout=60))
    jobs += [in_thread(lambda r=root, i=id: client.do("order", r, id=i, timeout=60)) for root, id in roots[15:]]
    eventually(lambda: logic.waiting == 31, 20)
    logic.let_go()
    for job in jobs:
        assert numbers(job.result(100)) == [0]
    with pytest.raises(Status) as refused:
        bad.result(100)
    assert refused.value.name() == "INTERNAL" and "order.events/0" in str(refused.value)
    _, headers = dead_letter(broker, system, lambda message, headers: headers["command-id"] != "")
    assert "order.events/0" in headers["reason"] and headers["source"].startswith(system.topic("order.commands") + "/0/")
    assert numbers(client.do("order", new_root(), timeout=30)) == [0]
    records = system.reader().stored("order")
    checker.no_complaint(checker.gaps(records))
    assert {r.root for r in records} >= {root for root, _ in roots} and big not in {r.root for r in records}
    assert client.event_book("order", big).next_sequence == 0


# ---- L11: a done set that does not fit into the metadata of the position

def put_all(broker, topic, records, abort=0):
    """(key, value, headers) into partition 0; then a transaction of so many records that is aborted, which leaves a gap of offsets."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "queue.buffering.max.messages": 1_000_000})
    for key, value, headers in records:
        producer.produce(topic, key=key, value=value, headers=headers, partition=0)
        producer.poll(0)
    assert producer.flush(60) == 0
    if abort:
        producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": f"gap-{new_id()}",
                             "queue.buffering.max.messages": 1_000_000})
        producer.init_transactions(30)
        producer.begin_transaction()
        for _ in range(abort):
            producer.produce(topic, key=b"x", value=b"x", partition=0)
            producer.poll(0)
        producer.flush(60)
        producer.abort_transaction(30)


@pytest.mark.parametrize("lost", [False, True], ids=["kill", "kill and the loss of the store"])
@pytest.mark.timeout(300)
def test_L11_a_set_of_done_records_that_is_too_long_is_a_record(broker, make_system, gated, lost):
    """1,600 stuck roots, a refusal after each, and gaps too wide for a bitmap: no refused command is run again."""
    logic = gated()
    system = make_system({"order": logic.address}, partitions=1, settings={"limits": {"slow_after": "200ms"}, "gateway": {"deadline": "2m"}}).up()
    topic = system.topic("order.commands")
    ids = []
    for burst in range(2):
        records = []
        for i in range(800):
            stuck, refused = new_root(), new_root()
            ids.append(f"refused-{burst}-{i}")
            records.append((text(stuck), book("order", stuck, what="never").SerializeToString(), []))
            records.append((text(refused), book("order", refused, what="refuse", n=ABORTED, id=ids[-1]).SerializeToString(), []))
        put_all(broker, topic, records, abort=20000)
    eventually(lambda: all(logic.calls.of(id) == 1 for id in ids), 60, every=0.5, what="all refusals")
    last = new_root()
    client = system.client()
    assert numbers(client.do("order", last, timeout=30)) == [0]
    at = positions(broker, system)[topic, 0]
    assert at.offset == 0 and at.metadata.startswith("1:0:@"), at
    system.worker.kill()
    if lost:
        shutil.rmtree(pathlib.Path(system.config["state"]["path"], "w0/store"))
    system.up()
    client = system.client()
    assert numbers(client.do("order", last, 1, timeout=100)) == [1]
    assert [id for id in ids if logic.calls.of(id) != 1] == []
    assert not [line for line in system.worker.log_lines() if line["id"] == "DONE-SET-IGNORED"]
