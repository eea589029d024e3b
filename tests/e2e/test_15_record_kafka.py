"""Contract 15 on a broker: how facts travel (design: headers), and what is done with records that hold none."""

import hashlib
import json
import urllib.request
import uuid

import pytest
from confluent_kafka import Producer

from lib import checker, wire
from lib.api import TYPE_URL, pack, pb
from lib.client import book, facts, new_root, numbers
from lib.procs import eventually, in_thread
from rules_lib import (dead_letter, events_of, everything_before_is_done, new_id, partition_of, put, root_in, text)

pytestmark = pytest.mark.kafka_only

RECORD = ("kind", "record")
EVENT_BOOK = TYPE_URL + "angzarr.EventBook"


def travelling(events, correlation_id="by-hand", cover=None):
    """The CommandBook as which facts travel."""
    command = pb.CommandBook(cover=cover or events.cover)
    command.cover.correlation_id = correlation_id
    command.pages.add(command=pack(events))
    return command


def commands(broker, system, id):
    return [m for m in checker.read_topic(broker.bootstrap, system.topic("order.commands")) if checker.headers(m).get("command-id") == id]


def lane(system):
    with urllib.request.urlopen(f"http://{system.http}/healthz", timeout=10) as answer:
        return next(row for row in json.loads(answer.read())["lanes"] if row["domain"] == "order")


def test_facts_travel_as_a_command_book_whose_one_page_holds_them(broker, system, client):
    root, key = new_root(), new_id()
    events = facts("order", root, [0, None], id=key)
    response = client.record(events, key=key)
    [message] = commands(broker, system, key)
    headers = checker.headers(message)
    assert headers["kind"] == "record" and headers["types"] == "angzarr_test.Done"
    assert message.key().decode() == text(root) and message.partition() == partition_of(root, system.partitions)
    command = pb.CommandBook.FromString(message.value())
    [page] = command.pages
    assert page.command.type_url == EVENT_BOOK and page.command.value == events.SerializeToString()
    assert command.cover == response.events.cover and command.cover.correlation_id == headers["correlation-id"]


def test_the_events_say_where_they_came_from(broker, system, client):
    root, key = new_root(), new_id()
    client.tell("order", root, [0, 1], key=key, correlation_id="c-7")
    [record] = [r for r in system.reader().stored("order") if r.root == root]
    [message] = commands(broker, system, key)
    assert record.headers["command-id"] == key and record.headers["correlation-id"] == "c-7"
    assert record.headers["input"] == f"{message.topic()}/{message.partition()}/{message.offset()}"
    assert record.numbers() == [0, 1] and record.headers["types"] == "angzarr_test.Done,angzarr_test.Done"


@pytest.mark.parametrize("at", [0, 1], ids=["the right partition", "the wrong partition"])
def test_a_record_of_another_client_is_recorded_in_the_partition_of_its_root(broker, system, client, logic, at):
    root, id = root_in(0, system.partitions), new_id()
    before = logic.calls.of(id)
    put(broker, system.topic("order.commands"), text(root), travelling(facts("order", root, [0, 1], id=id)).SerializeToString(), at,
        [("command-id", id), RECORD])
    everything_before_is_done(broker, system, client)
    assert [(partition, ids) for partition, _, ids in events_of(broker, system, root)] == [(0, [id, id])]
    assert logic.calls.of(id) == before
    forwarded = [m for m in checker.read_topic(broker.bootstrap, system.topic("order.reactions"))
                 if checker.headers(m).get("command-id") == id]
    assert [checker.headers(m)["kind"] for m in forwarded] == ["record"] * at
    assert numbers(client.tell("order", root, [7], key=id)) == [0, 1]  # the id is the key
    assert numbers(client.do("order", root, 2)) == [2]


def test_a_record_without_a_correlation_id_gets_that_of_its_bytes(broker, system, client):
    root, id = new_root(), new_id()
    value = travelling(facts("order", root, id=id), correlation_id="").SerializeToString()
    put(broker, system.topic("order.commands"), text(root), value, partition_of(root, system.partitions), [RECORD])
    everything_before_is_done(broker, system, client)
    namespace = uuid.UUID("404f3bda-578a-5c4d-a7f4-2751b843698a")
    expected = str(uuid.UUID(bytes=hashlib.sha1(namespace.bytes + value).digest()[:16], version=5))
    assert client.events("order", root)[0].cover.correlation_id == expected


def test_numbers_that_do_not_fit_store_nothing_and_stop_nobody(broker, system, client):
    root, id = new_root(), new_id()
    put(broker, system.topic("order.commands"), text(root), travelling(facts("order", root, [3], id=id)).SerializeToString(),
        partition_of(root, system.partitions), [RECORD])
    everything_before_is_done(broker, system, client)
    assert events_of(broker, system, root) == []


def garbage(root):
    events = facts("order", root, [0])
    stranger, edition, domain = facts("order", new_root()), facts("order", root, edition="what-if"), facts("box", root)
    good = travelling(events)
    bad_inside = travelling(events)
    bad_inside.pages[0].command.value = wire.put(3, wire.put(4, wire.put(1, b"\xc3\x28")))
    none = travelling(events)
    none.ClearField("pages")
    two = travelling(events)
    two.pages.add(command=pack(events))
    return [
        ("a command", book("order", root), [RECORD], "one page, which holds an angzarr.EventBook"),
        ("no page", none, [RECORD], "one page, which holds an angzarr.EventBook"),
        ("two pages", two, [RECORD], "one page, which holds an angzarr.EventBook"),
        ("bytes that are no book", bad_inside, [RECORD], "EventBook.pages[0].event.type_url: invalid UTF-8"),
        ("another root inside", travelling(stranger, cover=good.cover), [RECORD], "names another root"),
        ("another domain inside", travelling(domain, cover=good.cover), [RECORD], "names another domain"),
        ("another edition inside", travelling(edition, cover=good.cover), [RECORD], "names another edition"),
        ("an event book itself", events, [RECORD], "one page, which holds an angzarr.EventBook"),
        ("no protobuf", b"\xff" * 40, [RECORD], "CommandBook"),
        ("an unknown kind", good, [("kind", "erase")], "header kind"),
        ("an empty kind", book("order", root), [("kind", "")], "header kind"),
    ]


KINDS = [row[0] for row in garbage(new_root())]


@pytest.mark.parametrize("what", KINDS)
def test_a_record_that_holds_no_facts_is_a_dead_letter_and_stops_nobody(broker, system, client, logic, what):
    root, id = new_root(), new_id()
    _, value, headers, reason = next(row for row in garbage(root) if row[0] == what)
    value = value if isinstance(value, bytes) else value.SerializeToString()
    before = logic.calls.total
    put(broker, system.topic("order.commands"), text(root), value, partition_of(root, system.partitions), [("command-id", id), *headers])
    message, said = dead_letter(broker, system, lambda m, h: h.get("command-id") == id)
    assert reason in said["reason"] and said["kind"] == headers[0][1], said
    assert message.value() == value and message.key().decode() == text(root)
    assert logic.calls.total == before
    assert numbers(client.do("order", root)) == [0]


def test_a_record_that_was_not_run_in_its_time_is_a_dead_letter_of_its_kind(broker, make_system, make_logic):
    system = make_system({"order": make_logic().address}, partitions=1).up()
    client = system.client()
    root, id = new_root(), new_id()
    value = travelling(facts("order", root, [0], id=id)).SerializeToString()
    put(broker, system.topic("order.commands"), text(root), value, 0, [("command-id", id), RECORD, ("deadline", "1000")])
    message, said = dead_letter(broker, system, lambda m, h: h.get("command-id") == id)
    assert said["kind"] == "record" and "time to live" in said["reason"] and message.value() == value
    # Sent again as it was found, it is what it was.
    put(broker, system.topic("order.commands"), message.key(), message.value(), 0, [("command-id", id), ("kind", said["kind"])])
    everything_before_is_done(broker, system, client)
    assert [ids for _, _, ids in events_of(broker, system, root)] == [[id]]


def test_a_record_larger_than_what_an_event_may_be_is_a_dead_letter(broker, make_system, make_logic):
    system = make_system({"order": make_logic().address}, partitions=1, settings={"limits": {"message": "64KiB"}}).up()
    client = system.client()
    root, id = new_root(), new_id()
    value = travelling(facts("order", root, data=bytes(128 * 1024 - 2000))).SerializeToString()
    put(broker, system.topic("order.commands"), text(root), value, 0, [("command-id", id), RECORD])
    _, said = dead_letter(broker, system, lambda m, h: h.get("command-id") == id)
    assert "bytes" in said["reason"] and "order.events" in said["reason"]
    assert numbers(client.do("order", root)) == [0]
    assert [line for line in system.worker.log_lines() if line["id"] == "POISON"] == []


@pytest.mark.parametrize("when", ["before the commit", "between commit and answer"])
def test_facts_that_wait_are_sent_again_to_the_next_owner_and_recorded_once(make_system, gated, when):
    logic = gated()
    system = make_system({"order": logic.address}, two=True, partitions=1)
    system.worker.launch(kill="after-commit:2" if "between" in when else "after-produce:2")  # the first pass is the takeover's barrier
    system.gateway.launch()
    system.worker.ready()
    system.gateway.ready()
    client = system.client()
    root, id = new_root(), new_id()
    job = in_thread(lambda: client.tell("order", root, [None, None], id=id, timeout=25))
    system.worker.died()
    system.worker.up()
    assert numbers(job.result(60)) == [0, 1]
    checker.prove(system, client, "order", [checker.Sent(id, root, 2, "ok", (0, 1))])


def test_facts_are_redone_after_an_abort(broker, make_system, gated):
    """Somebody else has taken the name of a producer: its next transaction is aborted, and what stood on it is run again, in its order."""
    logic = gated()
    system = make_system({"order": logic.address}, partitions=1).up()
    client = system.client()
    assert lane(system)["aborted_commits"] == 0
    thief = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": f"{system.prefix}order-w0-0-0"})
    thief.init_transactions(20)
    roots = [new_root() for _ in range(20)]
    logic.hold()
    asked = [in_thread(lambda r=root: client.do("order", r, id=f"{r.hex()}-asked", key="a", timeout=60)) for root in roots]
    eventually(lambda: logic.waiting == len(roots))
    told = [in_thread(lambda r=root: client.tell("order", r, [None, None], id=f"{r.hex()}-told", key="t", timeout=60)) for root in roots]
    eventually(lambda: len(commands(broker, system, "t")) == len(roots), every=0.1)
    logic.let_go()
    sent = [checker.Sent(f"{root.hex()}-asked", root, 1, "ok", tuple(numbers(job.result(90)))) for root, job in zip(roots, asked)]
    sent += [checker.Sent(f"{root.hex()}-told", root, 2, "ok", tuple(numbers(job.result(90)))) for root, job in zip(roots, told)]
    assert {s.numbers for s in sent} == {(0,), (1, 2)}
    checker.prove(system, client, "order", sent)
    eventually(lambda: lane(system)["aborted_commits"] >= 1, what="the abort to be counted")
