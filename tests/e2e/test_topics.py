"""Kafka's topics as stock tools see them, and what happens to records that others put there."""

import re
import shutil
import time
import uuid

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from lib import checker, wire
from lib.api import pb
from lib.client import book, dones, new_root, numbers
from lib.procs import eventually
from lib.stock import kcat_keys, kcat_produce, kcat_value, protoc_decode

pytestmark = pytest.mark.kafka_only


def text(root):
    return str(uuid.UUID(bytes=root))


@pytest.fixture
def produce(broker, system):
    """Puts a record into a topic of the system with kcat."""
    def put(topic, value, **options):
        kcat_produce(broker.bootstrap, system.topic(topic), value, **options)
    return put


def goes_on(client, domain="order", roots=16):
    """Every partition still works."""
    for _ in range(roots):
        assert numbers(client.do(domain, new_root(), timeout=10)) == [0]


def stored(client, root, count, domain="order"):
    eventually(lambda: client.event_book(domain, root).next_sequence >= count, 20, what=f"{count} events")
    time.sleep(0.3)  # a second run of the same command would come now
    return client.event_book(domain, root)


def test_kcat_shows_readable_keys_and_headers(broker, system, client):
    root = new_root()
    client.execute(book("order", root, n=2, correlation_id="readable"))
    client.do("order", root, 2, key="my-key")
    rows = [r for r in kcat_keys(broker.bootstrap, system.topic("order.events")) if r[2].startswith(text(root))]
    assert [r[2] for r in rows] == [f"{text(root)}/0000000000", f"{text(root)}/0000000002"]
    first, second = rows[0][3], rows[1][3]
    assert first["correlation-id"] == "readable"
    assert first["types"] == "angzarr_test.Done,angzarr_test.Done" or first["types"] == "angzarr_test.Done"
    assert re.fullmatch(re.escape(system.topic("order.commands")) + r"/\d+/\d+", first["input"])
    assert second["command-id"] == "my-key"
    commands = [r for r in kcat_keys(broker.bootstrap, system.topic("order.commands")) if r[2] == text(root)]
    assert len(commands) == 2 and {"command-id", "reply-to", "start", "deadline", "attempt"} <= commands[0][3].keys()


def test_protoc_decodes_a_record(broker, system, client):
    root = new_root()
    client.do("order", root, n=2)
    for partition, offset, key, _, _ in kcat_keys(broker.bootstrap, system.topic("order.events")):
        if key.startswith(text(root)):
            out = protoc_decode("angzarr.EventBook", kcat_value(broker.bootstrap, system.topic("order.events"), partition, offset))
            assert 'domain: "order"' in out and out.count("pages {") == 2 and "angzarr_test.Done" in out
            return
    raise AssertionError("the record is not there")


def test_a_command_by_kcat_with_the_right_partitioner_runs_once(produce, client, logic):
    root, id = new_root(), str(uuid.uuid4())
    produce("order.commands", book("order", root, n=2, id=id).SerializeToString(), key=text(root))
    assert [d.id for d in dones(stored(client, root, 2))] == [id, id]
    assert logic.calls.of(id) == 1


def test_commands_by_kcat_in_the_wrong_partition_run_once(broker, system, produce, client, logic):
    for partition in range(system.partitions):  # one of them is wrong, whatever the root
        for _ in range(3):
            root, id = new_root(), str(uuid.uuid4())
            produce("order.commands", book("order", root, n=2, id=id).SerializeToString(), key=text(root), partition=partition)
            assert [d.id for d in dones(stored(client, root, 2))] == [id, id]
            assert logic.calls.of(id) == 1
            assert numbers(client.do("order", root, 2)) == [2]  # one history, for the right owner
    records = system.reader().stored("order")
    checker.no_complaint(checker.gaps(records))


def test_commands_by_kcats_default_partitioner_run_once(produce, client, logic):
    for _ in range(6):
        root, id = new_root(), str(uuid.uuid4())
        produce("order.commands", book("order", root, id=id).SerializeToString(), key=text(root), murmur2=False)
        assert len(stored(client, root, 1).pages) == 1 and logic.calls.of(id) == 1


def test_a_record_key_that_is_not_the_root_does_not_matter(produce, client, logic):
    root, id = new_root(), str(uuid.uuid4())
    produce("order.commands", book("order", root, id=id).SerializeToString(), key=text(new_root()))
    assert len(stored(client, root, 1).pages) == 1 and logic.calls.of(id) == 1


def test_the_same_command_id_by_kcat_runs_once(produce, client, logic):
    root, id = new_root(), str(uuid.uuid4())
    for _ in range(3):
        produce("order.commands", book("order", root, id=id).SerializeToString(), key=text(root), headers={"command-id": id})
    assert len(stored(client, root, 1).pages) == 1 and logic.calls.of(id) == 1


def test_malformed_headers_are_ignored(produce, client):
    root = new_root()
    bad = {"command-id": "x" * 200, "start": "soon", "deadline": "never", "attempt": "-1", "correlation-id": "a b", "depth": "deep", "part": "0/0"}
    produce("order.commands", book("order", root).SerializeToString(), key=text(root), headers=bad)
    assert len(stored(client, root, 1).pages) == 1
    goes_on(client)


def test_a_deadline_that_has_passed_is_not_run(produce, client, logic):
    root, id = new_root(), str(uuid.uuid4())
    produce("order.commands", book("order", root, id=id).SerializeToString(), key=text(root), headers={"deadline": "1000"})
    produce("order.commands", book("order", root).SerializeToString(), key=text(root))
    assert len(stored(client, root, 1).pages) == 1 and logic.calls.of(id) == 0


def dead(broker, system, match, domain="order"):
    """Waits for a dead letter; returns (partition, offset, key, headers, size)."""
    return eventually(lambda: next((r for r in kcat_keys(broker.bootstrap, system.topic(f"{domain}.dlq")) if match(r)), None), 20, every=0.2,
                      what="the dead letter")


def bad_commands():
    good = book("order", new_root()).SerializeToString()
    no_root = book("order", new_root())
    no_root.cover.ClearField("root")
    return [
        ("garbage", b"\xff\xfe\xfd not a message"),
        ("truncated", good[:-4]),
        ("empty", b""),
        ("no root", no_root.SerializeToString()),
        ("a root of 3 bytes", pb.CommandBook(cover=pb.Cover(domain="order", root=pb.UUID(value=b"abc"))).SerializeToString()),
        ("another domain", book("nosuch", new_root()).SerializeToString()),
        ("a cover twice", good + wire.put(1, wire.put(2, "order"))),
        ("invalid UTF-8 in a type", wire.put(1, wire.put(1, wire.put(1, new_root())) + wire.put(2, "order")) +
         wire.put(2, wire.put(3, wire.put(1, b"\xc3\x28")))),
    ]


@pytest.mark.parametrize("value", [row[1] for row in bad_commands()], ids=[row[0] for row in bad_commands()])
def test_a_record_that_is_no_command_becomes_a_dead_letter_and_the_partition_goes_on(broker, system, produce, client, value):
    key = f"bad-{uuid.uuid4()}"
    for partition in range(system.partitions):
        produce("order.commands", value, key=key, partition=partition)
    goes_on(client)
    partition, offset, _, headers, size = dead(broker, system, lambda r: r[2] == key)
    assert size == len(value)
    if value:
        assert kcat_value(broker.bootstrap, system.topic("order.dlq"), partition, offset) == value
    assert headers["reason"] and headers["component"]
    assert any(system.topic("order.commands") in v for v in headers.values()), headers


def test_null_values_are_skipped_and_the_partition_goes_on(system, produce, client):
    for partition in range(system.partitions):
        produce("order.commands", None, key=text(new_root()), partition=partition)
        produce("order.commands", None, key="", partition=partition)
    goes_on(client)


def test_what_is_wrong_with_one_record_costs_no_neighbour(broker, system, client):
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    roots = [new_root() for _ in range(50)]
    topic = system.topic("order.commands")
    for i, root in enumerate(roots):
        producer.produce(topic, key=text(root), value=book("order", root).SerializeToString(), partition=i % system.partitions)
        producer.produce(topic, key=b"\xff\x00", value=bytes(range(i)), partition=i % system.partitions)
        producer.produce(topic, key=None, value=None, partition=i % system.partitions)
    assert producer.flush(30) == 0
    for root in roots:
        eventually(lambda: client.event_book("order", root).next_sequence == 1, 30, what="the neighbour")


def test_garbage_in_reactions_goes_the_same_way(broker, system, produce, client):
    key = f"bad-{uuid.uuid4()}"
    produce("order.reactions", b"\xff\xff", key=key, partition=0)
    goes_on(client)
    dead(broker, system, lambda r: r[2] == key)


def test_a_command_in_reactions_runs(produce, client):
    root = new_root()
    produce("order.reactions", book("order", root).SerializeToString(), key=text(root))
    assert len(stored(client, root, 1).pages) == 1


def test_a_revocation_can_send_its_command_to_the_dead_letters(broker, system, client):
    root = new_root()
    command = book("cart", root, what="revoke", n=2, text="too late")
    client.refused("FAILED_PRECONDITION", client.execute, command)
    partition, offset, _, headers, _ = dead(broker, system, lambda r: r[2] == text(root), "cart")
    assert "too late" in headers["reason"]
    value = kcat_value(broker.bootstrap, system.topic("cart.dlq"), partition, offset)
    assert pb.CommandBook.FromString(value).pages == command.pages


def test_a_revocation_without_the_flag_sends_none(broker, system, client):
    root = new_root()
    client.refused("FAILED_PRECONDITION", client.do, "cart", root, what="revoke", text="no")
    client.refused("FAILED_PRECONDITION", client.do, "cart", new_root(), what="revoke", n=2, text="after it")
    dead(broker, system, lambda r: "after it" in r[3].get("reason", ""), "cart")
    assert not [r for r in kcat_keys(broker.bootstrap, system.topic("cart.dlq")) if r[2] == text(root)]


def test_a_revocation_can_tell_the_system_domain(make_system, make_logic):
    logic, system_logic = make_logic(contracts=("Aggregate",)), make_logic()
    system = make_system({"cart": logic.address, "system": system_logic.address}, partitions=1).up()
    client = system.client()
    command = book("cart", new_root(), what="revoke", n=1, text="gone")
    client.refused("FAILED_PRECONDITION", client.execute, command)
    record = eventually(lambda: next(iter(system.reader().stored("system")), None), 20, every=0.2, what="SagaCompensationFailed")
    event = pb.EventPage.FromString(record.pages[0]).event
    assert event.type_url.endswith("/angzarr.SagaCompensationFailed")
    failed = pb.SagaCompensationFailed.FromString(event.value)
    assert "gone" in (failed.rejection_reason, failed.compensation_failure_reason) and failed.rejected_command.pages == command.pages


def test_the_consumer_group_is_visible_to_kafkas_own_tool(broker, system, client):
    client.do("order", new_root())
    out = broker.consumer_groups("--describe", "--group", system.topic("order.aggregate"))
    assert system.topic("order.commands") in out


def test_the_outside_reader_and_the_query_agree(system, client):
    for i in range(30):
        client.do("box", new_root(), n=1 + i % 3, what="snapshot")
    records = system.reader().stored("box")
    checker.no_complaint(checker.gaps(records))
    checker.no_complaint(checker.agree(client, "box", records))
    assert len(records) == len({(r.root, r.edition, r.key) for r in records})


def alter(broker, topic, **settings):
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    entries = [ConfigEntry(k, str(v), incremental_operation=AlterConfigOpType.SET) for k, v in settings.items()]
    for future in admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)]).values():
        future.result(20)


@pytest.mark.timeout(300)
def test_compaction_loses_no_event_and_an_emptied_store_gives_the_same_answers(broker, make_system, make_logic):
    logic = make_logic()
    system = make_system({"order": logic.address}).up()
    client = system.client()
    topic = system.topic("order.events")
    roots = [new_root() for _ in range(20)]
    for root in roots:
        for i in range(5):
            client.do("order", root, i, key=f"{text(root)}-{i}", what="snapshot" if i == 2 else "emit")
    before = system.reader().stored("order")
    answers = {root: client.raw("/angzarr.EventQuery/GetEventBook", client.query("order", root).SerializeToString()) for root in roots}

    # The proof that compaction ran: of two records with one key only the later one is left.  The active segment is never
    # compacted, so more records must come until the one with our data has been closed.
    alter(broker, topic, **{"segment.ms": 200, "min.cleanable.dirty.ratio": 0.001, "min.compaction.lag.ms": 0, "max.compaction.lag.ms": 1000})
    producer = Producer({"bootstrap.servers": broker.bootstrap})

    def plant(key):
        for partition in range(system.partitions):
            producer.produce(topic, key=key, value=b"", partition=partition)
        assert producer.flush(20) == 0
    plant("!planted")
    plant("!planted")

    def compacted():
        plant("!filler")
        left = [m for m in checker.read_topic(broker.bootstrap, topic) if m.key() == b"!planted"]
        assert len(left) >= system.partitions
        return len(left) == system.partitions
    eventually(compacted, 120, every=0.5, what="compaction")

    after = system.reader().stored("order")
    assert [(r.key, r.value) for r in after] == [(r.key, r.value) for r in before]

    assert system.worker.terminate() == 0
    shutil.rmtree(system.config["state"]["path"])
    system.up()
    client = system.client()
    for root in roots:
        assert client.raw("/angzarr.EventQuery/GetEventBook", client.query("order", root).SerializeToString()) == answers[root]
        first = client.do("order", root, 0, key=f"{text(root)}-0")  # the dedupe window is restored too
        assert numbers(first) == [0]
        assert numbers(client.do("order", root, 5, id=f"more-{text(root)}")) == [5]
        request, _ = logic.calls.last(f"more-{text(root)}")
        assert len(request.events.pages) + (request.events.snapshot.sequence + 1 if request.events.HasField("snapshot") else 0) == 5
