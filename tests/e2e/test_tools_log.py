"""The tools that look at the log: angzarr topics, inspect, status; judged by Kafka's own clients and by what callers are told."""

import json
import os
import signal
import subprocess
import time
import uuid

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from lib import angzarr, procs
from lib.api import pb
from lib.client import book, new_root
from lib.procs import eventually
from lib.stock import kcat_keys, kcat_produce, kcat_value
from rules_lib import partition_of


class Ran:
    def __init__(self, argv, code, out, err, took):
        self.argv, self.code, self.out, self.err, self.took = argv, code, out, err, took

    def __repr__(self):
        return f"angzarr {' '.join(self.argv)}: {self.code} after {self.took:.1f} s\n{self.out}\n{self.err}"

    @property
    def rows(self):
        return [json.loads(line) for line in self.out.splitlines()]


def tool(config, *argv, code=0, timeout=30, env=None):
    """Runs a tool to its end; the exit code is the one expected."""
    argv = [str(a) for a in argv] + (["--config", str(config)] if config else [])
    began = time.monotonic()
    done = subprocess.run([angzarr.binary(), *argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=timeout * procs.SCALE, env=dict(os.environ, **(env or {})))
    ran = Ran(argv, done.returncode, done.stdout, done.stderr, time.monotonic() - began)
    assert ran.code == code, ran
    return ran


def text(root):
    return str(uuid.UUID(bytes=root))


@pytest.fixture(scope="module")
def place(log, logic):
    """A system with one domain, and a root that has three commands of two events each, and a snapshot."""
    system = angzarr.System(log, {"order": {"address": logic.address, "snapshots": "always"}})
    try:
        system.up()
        client = system.client()
        system.root = new_root()
        for i in range(3):
            client.execute(book("order", system.root, n=2, sequence=2 * i, correlation_id=f"chain-{i}", what="snapshot"))
        system.cfg = system.gateway.config_path
        system.book = client.event_book("order", system.root)
        assert system.book.next_sequence == 6
        yield system
    finally:
        system.close()


@pytest.fixture
def idle(log, logic, folder):
    """The configuration of a system that does not run."""
    made = angzarr.System(log, {"order": logic.address})
    made.cfg = made.gateway.config_path
    yield made
    made.close()


def write(config, path, **changes):
    path.write_text(json.dumps(angzarr.merge(json.loads(json.dumps(config)), changes)))
    return path


# ---- topics

def admin_view(idle):
    """{topic: (partitions, cleanup.policy)} as Kafka's admin client has it."""
    admin = AdminClient({"bootstrap.servers": idle.kafka.bootstrap})
    topics = {n: len(t.partitions) for n, t in admin.list_topics(timeout=10).topics.items() if n.startswith(idle.prefix)}
    res = [ConfigResource(ResourceType.TOPIC, n) for n in topics]
    policies = {r.name: f.result(10)["cleanup.policy"].value for r, f in admin.describe_configs(res).items()} if res else {}
    return {n: (topics[n], policies[n]) for n in topics}


def test_missing_topics_are_named_and_created(idle):
    missing = tool(idle.cfg, "topics", "check", code=1)
    assert "angzarr topics create" in missing.out + missing.err
    tool(idle.cfg, "topics", "list", code=1 if idle.embedded else 0)
    names = [idle.topic(n) for n in ("order.commands", "order.reactions", "order.events", "order.snapshots", "order.dlq", "owners")]
    made = tool(idle.cfg, "topics", "create")
    assert [line.split()[1] for line in made.out.splitlines() if line.startswith("created")] == names
    assert "6 topics are as they should be" in tool(idle.cfg, "topics", "check").out
    rows = {r["topic"]: r for r in tool(idle.cfg, "topics", "list", "-o", "json").rows}
    assert list(rows) == names
    events = rows[idle.topic("order.events")]
    assert events["found"]["partitions"] == idle.partitions and events["found"]["cleanup"] == "compact"
    assert [(o["begin"], o["end"]) for o in events["offsets"]] == [(0, 0)] * idle.partitions
    again = tool(idle.cfg, "topics", "create")
    assert "created" not in again.out
    if not idle.embedded:
        assert admin_view(idle) == {n: (1 if n.endswith("owners") else idle.partitions, rows[n]["wanted"]["cleanup"]) for n in names}


def test_what_differs_is_said_and_never_changed(idle, folder):
    tool(idle.cfg, "topics", "create")
    other = write(idle.config, folder / "other.yaml", topology={"partitions": idle.partitions + 1}, limits={"message": "2MiB"})
    ran = tool(other, "topics", "check", code=1)
    events = idle.topic("order.events")
    assert f"{events}" in ran.out and f"{idle.partitions} partitions, expected {idle.partitions + 1}" in ran.out
    assert f"topology.partitions to {idle.partitions}" in ran.out
    assert f"{idle.partitions} (want {idle.partitions + 1})" in tool(other, "topics", "list").out
    tool(other, "topics", "create", code=1)
    tool(idle.cfg, "topics", "check")  # as it was, also what `create` could have changed
    rows = tool(other, "topics", "check", "-o", "json", code=1).rows
    assert all(r["differs"] for r in rows) and rows[0]["found"]["max_message"] < rows[0]["wanted"]["max_message"]


@pytest.mark.kafka_only
def test_topics_made_wrong_with_the_admin_client(idle):
    admin = AdminClient({"bootstrap.servers": idle.kafka.bootstrap})
    wrong = [NewTopic(idle.topic("order.events"), 5, 1, config={"cleanup.policy": "delete"}),
             NewTopic(idle.topic("order.commands"), idle.partitions, 1,
                      config={"message.timestamp.type": "LogAppendTime", "unclean.leader.election.enable": "false",
                              "max.message.bytes": str(2 << 20), "retention.ms": "3600000"})]
    for f in admin.create_topics(wrong).values():
        f.result(10)
    eventually(lambda: len(admin_view(idle)) == 2, 10, what="both topics")
    ran = tool(idle.cfg, "topics", "create", code=1)
    assert f"created {idle.topic('order.snapshots')}" in ran.out and f"created {idle.topic('order.events')}" not in ran.out
    assert "5 partitions, expected 2" in ran.out and "cleanup.policy is delete, expected compact" in ran.out
    assert "message.timestamp.type is CreateTime, expected LogAppendTime: kafka-configs.sh" in ran.out
    assert f"note: topic {idle.topic('order.commands')}: retention.ms is 3600000" in ran.out
    assert "6 topics: 0 missing, 1 different" in ran.out
    assert admin_view(idle)[idle.topic("order.events")] == (5, "delete")


@pytest.mark.embedded_only
def test_creating_while_a_process_has_the_folder(place):
    ran = tool(place.cfg, "topics", "create", code=1)
    assert "in use by another process" in ran.err and place.prefix not in ran.out
    tool(place.cfg, "topics", "check")
    rows = {r["topic"]: r for r in tool(place.cfg, "topics", "list", "-o", "json").rows}
    assert sum(o["end"] for o in rows[place.topic("order.commands")]["offsets"]) == 3


# ---- inspect record

def test_a_record_is_decoded(place):
    partition = partition_of(place.root, place.partitions)
    row = tool(place.cfg, "inspect", "record", place.topic("order.commands"), partition, 1, "-o", "json").rows[0]
    assert row["key"] == text(place.root) and row["type"] == "angzarr.CommandBook" and not row["tombstone"]
    headers = {h["name"]: h["value"] for h in row["headers"]}
    assert headers["correlation-id"] == "chain-1" and {"command-id", "start", "deadline", "reply-to"} <= headers.keys()
    assert row["value"]["pages"][0]["sequence"] == 2 and row["value"]["cover"]["domain"] == "order"
    ran = tool(place.cfg, "inspect", "record", "order.commands", partition, 1)
    assert f"key        {text(place.root)}" in ran.out and "header     correlation-id: chain-1" in ran.out
    assert '\n  "pages": [\n    {\n' in ran.out
    json.loads(ran.out[ran.out.index("\n{"):])
    snapshot = tool(place.cfg, "inspect", "aggregate", "order", text(place.root), "-o", "json").rows[1]
    row = tool(place.cfg, "inspect", "record", "order.snapshots", partition, snapshot["offset"], "-o", "json").rows[0]
    assert row["type"] == "angzarr.Snapshot" and row["value"]["sequence"] == 5
    owners = tool(place.cfg, "inspect", "record", "owners", 0, 0, "-o", "json", code=1)  # the mark of a reader
    assert owners.rows[0]["tombstone"] and owners.rows[0]["key"].startswith("!") and "tombstone" in owners.err


@pytest.mark.kafka_only
def test_events_are_those_that_kcat_shows(place):
    topic = place.topic("order.events")
    for partition, offset, key, headers, _ in kcat_keys(place.kafka.bootstrap, topic):
        if not key.startswith(text(place.root)):
            continue
        row = tool(place.cfg, "inspect", "record", "order.events", partition, offset, "-o", "json").rows[0]
        stored = pb.EventBook.FromString(kcat_value(place.kafka.bootstrap, topic, partition, offset))
        assert row["key"] == key and {h["name"]: h["value"] for h in row["headers"]} == headers
        assert [p["num"] for p in row["value"]["pages"]] == [p.num for p in stored.pages]
        gap = tool(place.cfg, "inspect", "record", "order.events", partition, offset + 1, code=1)
        assert "there is no record at offset" in gap.err and "marker" in gap.err


def test_what_is_no_record(place):
    for argv, code, said in (
            (("record", "order.events", 0, 999), 1, "beyond the end"),
            (("record", "order.events", 99, 0), 1, "no partition 99"),
            (("record", "order.dlq", 0, 0), 1, "empty"),
            (("record", "order.nothing", 0, 0), 2, "no topic"),
            (("record", "order.events", "x", 0), 2, "PARTITION"),
            (("record", "order.events", 0, "1e3"), 2, "OFFSET"),
            (("record", "order.events", 0), 2, "expected record"),
            (("aggregate", "order", "no-uuid"), 2, "no root"),
            (("aggregate", "cart", text(place.root)), 2, "no domain"),
            (("aggregate", "order", text(place.root), "--from", 3, "--to", 2), 2, "above"),
            (("aggregate", "order", text(new_root())), 1, "nothing of"),
            (("nothing", "order", "x"), 2, "expected record or aggregate")):
        ran = tool(place.cfg, "inspect", *argv, code=code)
        assert said in ran.err and ran.out == "", ran


@pytest.mark.kafka_only
def test_garbage_is_shown_as_hex(idle):
    tool(idle.cfg, "topics", "create")
    kcat_produce(idle.kafka.bootstrap, idle.topic("order.events"), b"\xff\xfe no protobuf", key="k\x01", partition=1)
    ran = tool(idle.cfg, "inspect", "record", "order.events", 1, 0)
    assert "no angzarr.EventBook" in ran.out and b"\xff\xfe no protobuf".hex() in ran.out and "k\\x01" in ran.out
    row = tool(idle.cfg, "inspect", "record", "order.events", 1, 0, "-o", "json").rows[0]
    assert bytes.fromhex(row["hex"]) == b"\xff\xfe no protobuf" and row["error"]


# ---- inspect aggregate

def test_an_aggregate_is_what_queries_tell(place):
    rows = tool(place.cfg, "inspect", "aggregate", "order", text(place.root), "-o", "json").rows
    assert rows[0]["next_sequence"] == 6 and rows[0]["records"] == 3 and rows[0]["problems"] == []
    assert rows[1]["snapshot"]["sequence"] == 5
    pages = [e for r in rows[2:] for e in r["events"]]
    assert [p["num"] for p in pages] == [p.num for p in place.book.pages] == list(range(6))
    assert [r["correlation_id"] for r in rows[2:]] == ["chain-0", "chain-1", "chain-2"] and all(r["command_id"] for r in rows[2:])
    ran = tool(place.cfg, "inspect", "aggregate", "order", text(place.root), "--from", 1, "--to", 2)
    assert ran.out.count('"num":') == 2
    assert "events 1 to 1" in ran.out and "events 2 to 2" in ran.out and "chain-2" not in ran.out
    # Kafka has the older ones until it compacts; the embedded log keeps the newest of a key.
    assert ("only a newer one" if place.embedded else "after event 1 ") in ran.out
    assert "snapshot: offset" in tool(place.cfg, "inspect", "aggregate", "order", text(place.root), "--from", 5).out


@pytest.mark.kafka_only
def test_gaps_and_copies_in_the_numbers_are_reported(idle):
    tool(idle.cfg, "topics", "create")
    root = new_root()
    for nums in ((0, 1), (3,), (3, 4)):
        events = pb.EventBook(cover=pb.Cover(root=pb.UUID(value=root), domain="order"))
        for n in nums:
            events.pages.add(num=n)
        kcat_produce(idle.kafka.bootstrap, idle.topic("order.events"), events.SerializeToString(), key=f"{text(root)}/{nums[0]:010}",
                     partition=partition_of(root, idle.partitions))
    ran = tool(idle.cfg, "inspect", "aggregate", "order", text(root), code=1)
    assert "event 2 is missing: at offset 1 comes 3" in ran.err and "event 3 is there again, at offset 2" in ran.err
    assert ran.out.count('"num":') == 5


# ---- status

def test_status_of_a_system_that_is_well(place):
    seen = eventually(lambda: (s := tool(place.cfg, "status", "-o", "json").rows[0])["lag"] == 0 and s, 15, what="no lag")
    assert seen["ok"] and seen["problems"] == [] and seen["served"] == place.partitions
    assert [(p["domain"], p["partition"], p["state"]) for p in seen["partitions"]] == \
        [("order", n, "serving") for n in range(place.partitions)]
    assert sum(p["commands"]["end"] for p in seen["partitions"]) == 3
    assert {c["kind"] for c in seen["components"]} == ({"gateway", "business", "process"} if place.embedded else {"gateway", "business"})
    assert seen["partitions"][0]["owner"] == ("this process" if place.embedded else "w0")
    out = tool(place.cfg, "status").out
    assert f"all is well: {place.partitions} of {place.partitions} partitions served" in out.splitlines()[0]


def test_status_disturbs_nobody(place):
    if not place.embedded:
        admin = AdminClient({"bootstrap.servers": place.kafka.bootstrap})
        groups = {g.group_id for g in admin.list_consumer_groups().result(10).valid}

    def nothing_written():
        """Not a marker either.  Tried again: once, seconds after its start, the worker itself looks through `owners` and leaves its mark."""
        ends = tool(place.cfg, "topics", "list", "-o", "json").out
        for _ in range(2):
            tool(place.cfg, "status")
        assert tool(place.cfg, "topics", "list", "-o", "json").out == ends
        return True

    eventually(nothing_written, 10)
    if not place.embedded:
        assert {g.group_id for g in admin.list_consumer_groups().result(10).valid} == groups


def test_status_when_nobody_runs(idle):
    tool(idle.cfg, "topics", "create")
    seen = tool(idle.cfg, "status", "-o", "json", code=1).rows[0]
    assert not seen["ok"] and seen["served"] == 0 and all(p["state"] == "none" for p in seen["partitions"])
    out = tool(idle.cfg, "status", code=1).out
    assert "NOT WELL: 0 of 2 partitions served" in out and "the gateway at" in out


def test_a_killed_process_serves_nothing(idle):
    idle.up()
    idle.gateway.kill()
    seen = tool(idle.cfg, "status", "-o", "json", code=1).rows[0]
    assert seen["served"] == 0 and {p["state"] for p in seen["partitions"]} == {"none" if idle.embedded else "no answer"}
    assert {c["kind"]: c["answers"] for c in seen["components"]}["gateway"] is False
    # what it has committed can be read all the same
    rows = tool(idle.cfg, "topics", "list", "-o", "json").rows
    assert sum(o["end"] for r in rows for o in r["offsets"] if r["topic"].endswith("order.events")) > 0


@pytest.mark.kafka_only
def test_a_hanging_transaction_leaves_a_question_mark(idle):
    tool(idle.cfg, "topics", "create")
    group = idle.prefix + "order.aggregate"
    consumer = Consumer({"bootstrap.servers": idle.kafka.bootstrap, "group.id": group})
    producer = Producer({"bootstrap.servers": idle.kafka.bootstrap, "transactional.id": idle.prefix + "hangs", "transaction.timeout.ms": 60000})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.send_offsets_to_transaction([TopicPartition(idle.topic("order.commands"), 0, 0)], consumer.consumer_group_metadata(), 10)
    try:
        ran = tool(idle.cfg, "status", "-o", "json", "--timeout", "1s", code=1)
        seen = ran.rows[0]
        assert all(p["commands"]["lag"] is None and "open transaction" in p["why"] for p in seen["partitions"]), seen
        assert any("open transaction" in p for p in seen["problems"]) and ran.took < 8 * procs.SCALE
        assert " ? " in tool(idle.cfg, "status", "--timeout", "500ms", code=1).out
    finally:
        producer.abort_transaction(10)
        consumer.close()
    assert tool(idle.cfg, "status", "-o", "json", code=1).rows[0]["partitions"][0]["commands"]["lag"] == 0


@pytest.mark.kafka_only
def test_nobody_at_bootstrap_servers(idle, folder):
    [port] = procs.free_ports(1)
    config = write(idle.config, folder / "down.yaml", log={"kafka": {"bootstrap.servers": f"127.0.0.1:{port}"}})
    for argv in (("topics", "list"), ("topics", "check"), ("topics", "create"), ("status",), ("inspect", "record", "order.events", 0, 0)):
        ran = tool(config, *argv, "--timeout", "500ms", code=4)
        assert f"bootstrap.servers 127.0.0.1:{port}" in ran.err and ran.took < 6 * procs.SCALE, ran


@pytest.mark.embedded_only
def test_no_log_in_the_folder(idle):
    assert "holds no log" in tool(idle.cfg, "status", code=4).err
    assert "angzarr topics create" in tool(idle.cfg, "topics", "check", code=1).err
    assert not os.path.exists(os.path.join(idle.folder, "state", "log"))


def test_watching_until_it_is_interrupted(place):
    watch = subprocess.Popen([angzarr.binary(), "status", "--watch", "--every", "100ms", "-o", "json", "--config", place.cfg],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(3):
            assert json.loads(watch.stdout.readline())["served"] == place.partitions
        watch.send_signal(signal.SIGINT)
        assert watch.wait(10) == 0
    finally:
        watch.kill()
    closed = subprocess.Popen([angzarr.binary(), "status", "--watch", "--every", "50ms", "--config", place.cfg],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    closed.stdout.readline()
    closed.stdout.close()  # the reader goes away
    assert closed.wait(20) == 0 and closed.stderr.read() == ""


# ---- mistakes

def test_wrong_configurations(folder):
    for argv in (("topics", "list"), ("inspect", "record", "order.events", 0, 0), ("status",)):
        bad = folder / "bad.yaml"
        bad.write_text("log:\n  type: parchment\n")
        assert f"{bad}:2" in tool(bad, *argv, code=2).err
        assert "none.yaml" in tool(folder / "none.yaml", *argv, code=2).err
        tool(None, *argv, "--nonsense", code=2)
        assert "Exit codes" in tool(None, *argv[:1], "--help").out
    assert "list, check or create" in tool(None, "topics", "burn", code=2).err


def test_interrupted_while_it_waits(idle, folder):
    if idle.embedded:
        return  # it never waits
    [port] = procs.free_ports(1)
    config = write(idle.config, folder / "down.yaml", log={"kafka": {"bootstrap.servers": f"127.0.0.1:{port}"}})
    waits = subprocess.Popen([angzarr.binary(), "topics", "list", "--config", str(config)], stderr=subprocess.DEVNULL)
    time.sleep(0.5 * procs.SCALE)
    waits.send_signal(signal.SIGINT)
    assert waits.wait(5) == 130


def test_nothing_is_left_behind(place, folder):
    for argv in (("topics", "list"), ("status",), ("inspect", "aggregate", "order", text(place.root))):
        tool(place.cfg, *argv, env={"TMPDIR": str(folder)})
    assert os.listdir(folder) == []
