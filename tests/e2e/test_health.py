"""What /healthz and /readyz tell of the lanes, and what is said of partitions that do not get on."""

import json
import pathlib
import shlex
import shutil

import pytest
from confluent_kafka import Producer

from lib.client import book, new_root, numbers
from lib.procs import eventually, in_thread
from rules_lib import everything_before_is_done, foreign_event, new_id, next_of, put, root_in, text
from test_operations import http


def lane(system, path="/readyz", role=None):
    address = system.http if role is None else role.config["worker"]["http"]
    [lane] = json.loads(http(address, path)[1]).get("lanes", [{}])
    return lane


def part(system, partition=0, **which):
    return lane(system, **which).get("partitions", [{}])[partition]


def settled(system, committed):
    """Partition 0 is done with its commands, this many."""
    def look():
        p = part(system)
        assert p["unfinished"] == 0 and p["commands"] == {"committed": committed, "oldest_open": None, "end": committed, "lag": 0}, p
        return True
    eventually(look, 20)


def test_both_pages_are_json_and_keep_their_status(system):
    for path, status in (("/healthz", "ok"), ("/readyz", "ready")):
        code, body = http(system.http, path)
        told = json.loads(body)
        assert (code, told["status"], told["role"], told["worker"]) == (200, status, "standalone", "w0")
        assert {lane["domain"] for lane in told["lanes"]} == {"order", "cart", "box", "plain", "every"}
        for lane in told["lanes"]:
            assert [p["partition"] for p in lane["partitions"]] == [0, 1]
            assert all(p["phase"] == "serving" and p["generation"] > 0 for p in lane["partitions"])


def test_a_stuck_command_is_seen_with_its_offset(make_system, gated):
    logic = gated()
    system = make_system({"order": logic.address}, partitions=1).up()
    client = system.client()
    for _ in range(3):
        client.do("order", new_root())
    settled(system, 3)
    logic.hold()
    stuck = [in_thread(lambda: client.do("order", new_root(), timeout=60)) for _ in range(2)]

    def seen():
        p = part(system, path="/healthz")
        assert p["unfinished"] == 2, p
        assert {k: p["commands"][k] for k in ("committed", "oldest_open", "end", "lag")} == {
            "committed": 3, "oldest_open": 3, "end": 5, "lag": 2}, p
        return True
    eventually(seen, 20)
    told = lane(system)
    assert told["calls"] + told["slow_calls"] == 2 and told["age_ms"] < 5000, told
    logic.let_go()
    assert [numbers(job.result()) for job in stuck] == [[0], [0]]
    settled(system, 5)
    assert lane(system)["calls"] == 0


def test_a_partition_that_falls_behind_is_named(make_system, gated):
    logic = gated()
    system = make_system({"order": logic.address}, partitions=1).up()
    client = system.client()
    client.do("order", new_root())
    roots = [new_root()] * 1200  # one call; the others wait for it
    method = client.channel.unary_unary("/angzarr.CommandGateway/Execute")
    logic.hold()
    jobs = [method.future(book("order", root, id=f"c{i}").SerializeToString(), timeout=100) for i, root in enumerate(roots)]

    def lines():
        return [line for line in system.worker.log_lines() if line["id"] == "LAG"]
    [line] = eventually(lines, 40)[:1]
    assert (line["topic"], line["partition"], line["oldest"]) == (system.topic("order.commands"), "0", "1"), line
    assert int(line["lag"]) >= 1000 and int(line["unfinished"]) >= 1000 and int(line["since_ms"]) >= 10000, line
    assert len(lines()) <= 2  # not one a second
    logic.let_go()
    assert [job.code().name for job in jobs].count("OK") == 1  # the first; all others are stale now
    eventually(lambda: part(system)["commands"]["lag"] == 0, 20)


def test_a_restore_tells_how_far_it_is(make_system, make_logic):
    system = make_system({"order": make_logic().address}, partitions=1).up()
    client = system.client()
    jobs = [in_thread(lambda: client.do("order", new_root(), data=bytes(400_000), timeout=60)) for _ in range(150)]
    for job in jobs:
        job.result()
    assert system.worker.terminate() == 0
    shutil.rmtree(pathlib.Path(system.config["state"]["path"], "w0/store"))
    system.worker.launch()
    seen = []

    def look():
        try:
            seen.append(part(system))
        except OSError:  # not listening yet
            return False
        return seen[-1].get("phase") == "serving"
    eventually(look, 60, every=0.001)
    percents = [p["percent"] for p in seen if p.get("phase") == "restoring"]
    assert len(set(percents)) > 2 and percents == sorted(percents) and 0 <= percents[0] and percents[-1] < 100, seen
    system.worker.ready()


@pytest.mark.kafka_only
def test_what_is_forwarded_and_dead_lettered_is_counted(broker, make_system, make_logic):
    system = make_system({"order": make_logic().address}, two=True, partitions=2).up()
    client = system.client()
    commands = system.topic("order.commands")
    root = root_in(0, 2)
    put(broker, commands, text(root), book("order", root).SerializeToString(), 1)
    put(broker, commands, "no book", b"\xff", 1)
    put(broker, commands, "nothing", None, 1)
    everything_before_is_done(broker, system, client)

    def counted():
        told = lane(system, role=system.worker)
        return (told["forwarded"], told["dead_lettered"], told["skipped"]) == (1, 1, 1)
    eventually(counted, 10)
    assert "lanes" not in json.loads(http(system.http, "/readyz")[1])  # of the gateway


@pytest.mark.kafka_only
def test_partitions_of_another_worker_are_away(make_system, make_logic):
    system = make_system({"order": make_logic().address}, two=True, partitions=2, workers=2).up()

    def shared():
        phases = [[p["phase"] for p in lane(system, role=w)["partitions"]] for w in system.workers]
        return sorted(phases) == [["away", "serving"], ["serving", "away"]]
    eventually(shared, 30)


# ---- transactions of others that do not end

def hanging(system):
    """The one line that names a hanging transaction, once there is one."""
    def lines():
        return [line for line in system.worker.log_lines() if line["id"] == "TXN-HANGS"]
    [line] = eventually(lines, 30, what="the transaction to be named")
    return line


def end(broker, line):
    """With the very command that the log has."""
    program, *args = shlex.split(line["end_it_with"])
    assert program == "kafka-transactions.sh"
    broker.tool("org.apache.kafka.tools.TransactionsCommand", *args)


@pytest.mark.kafka_only
def test_an_open_transaction_in_an_input_is_named_and_ended(broker, make_system, make_logic):
    system = make_system({"order": make_logic().address}, partitions=1).up()
    client = system.client()
    reactions = system.topic("order.reactions")
    for _ in range(2):
        root = new_root()
        put(broker, reactions, text(root), book("order", root).SerializeToString(), 0)
    eventually(lambda: next_of(client, root) == 1, 20)
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": f"hangs-{new_id()}", "transaction.timeout.ms": 600000})
    producer.init_transactions(20)
    producer.begin_transaction()
    for i in range(3):
        producer.produce(reactions, key=f"lost-{i}", value=b"x", partition=0, headers=[("command-id", f"it's {i}"), ("from", b'"\xff"')])
    assert producer.flush(20) == 0
    behind = new_root()
    put(broker, reactions, text(behind), book("order", behind).SerializeToString(), 0)

    line = hanging(system)
    assert (line["topic"], line["partition"], line["offset"], line["end"]) == (reactions, "0", "2", "6"), line
    assert line["key"] == "lost-0" and line["headers"] == "command-id=it's 0 from=\"?\"" and line["since"].startswith("20"), line
    [held] = eventually(lambda: lane(system)["held"], 5)
    assert (held["topic"], held["partition"], held["offset"], held["end"]) == (reactions, 0, 2, 6), held
    assert {k: held[k] for k in ("key", "headers", "since", "end_it_with")} == {k: line[k] for k in ("key", "headers", "since", "end_it_with")}
    assert part(system)["reactions"]["lag"] == 4
    assert numbers(client.do("order", new_root())) == [0]  # commands are not concerned
    assert next_of(client, behind) == 0

    end(broker, line)
    eventually(lambda: next_of(client, behind) == 1, 20, what="what lay behind it")
    eventually(lambda: lane(system)["held"] == [] and part(system)["reactions"]["lag"] == 0, 20)
    said = [line["id"] for line in system.worker.log_lines()]
    assert said.count("TXN-HANGS") == said.count("TXN-OVER") == 1


@pytest.mark.kafka_only
def test_a_transaction_that_ends_with_nothing_behind_it_leaves_no_lag(broker, make_system, make_logic):
    """A marker has an offset, but nobody reads it."""
    system = make_system({"order": make_logic().address}, partitions=1).up()
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": f"short-{new_id()}"})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(system.topic("order.reactions"), key="x", value=b"x", partition=0)
    assert producer.flush(20) == 0
    producer.abort_transaction(20)

    def marker():
        told = part(system)["reactions"]
        return told["end"] == 2 and told["lag"] == 0
    eventually(marker, 20)
    assert lane(system)["held"] == []


@pytest.mark.kafka_only
def test_an_open_transaction_that_holds_a_takeover_up_is_named_and_ended(broker, make_system, make_logic):
    system = make_system({"order": make_logic().address}, partitions=1).up()
    root = new_root()
    assert numbers(system.client().do("order", root)) == [0]
    assert system.worker.terminate() == 0
    with foreign_event(broker, system, root, 1, "foreign") as producer:
        system.worker.launch()
        line = hanging(system)
        # the barrier of the first takeover, its marker, the event, its marker
        assert (line["topic"], line["offset"], line["key"]) == (system.topic("order.events"), "4", f"{text(root)}/0000000001"), line
        assert line["headers"] == "command-id=foreign input=elsewhere/0/0", line
        told = lane(system)
        assert told["partitions"][0]["phase"] == "restoring" and 0 < told["partitions"][0]["percent"] < 100, told
        assert [h["offset"] for h in told["held"]] == [4]
        code, body = http(system.http, "/readyz")
        assert code == 503 and json.loads(body)["status"] == "not ready"
        end(broker, line)
        system.worker.ready()
        del producer
    assert lane(system)["held"] == [] and "TXN-OVER" in [line["id"] for line in system.worker.log_lines()]
    assert numbers(system.client().do("order", root, 1)) == [1]
