"""Contract 15: facts are appended without asking the business logic.  What the log holds of it is in test_15_record_kafka.py."""

import hashlib
import time
import uuid

import pytest

from lib import checker, wire
from lib.api import pack, pb
from lib.client import dones, facts, new_root, numbers
from lib.procs import SCALE, eventually, in_thread
from rules_lib import new_id, still_waits

RECORD = "/angzarr.BusinessCoordinator/Record"
NAMESPACE = uuid.UUID("404f3bda-578a-5c4d-a7f4-2751b843698a")


# ---- the pages are appended without calling the business, as facts

def test_the_pages_are_appended_without_calling_the_business(client, logic):
    root, id = new_root(), new_id()
    before = logic.calls.total
    assert numbers(client.tell("order", root, [0, 1], id=id)) == [0, 1]
    assert numbers(client.tell("order", root, [2], id=id)) == [2]
    stored = client.event_book("order", root)
    assert (numbers(stored), stored.next_sequence) == ([0, 1, 2], 3)
    assert [(d.id, d.k) for d in dones(stored)] == [(id, 0), (id, 1), (id, 0)]
    assert logic.calls.total == before


def test_the_event_is_stored_as_it_was_given(client):
    """Any type, known to nobody here, and fields of the page that nobody knows."""
    root = new_root()
    event = wire.put(4, wire.put(1, "example.com/shop.Unheard") + wire.put(2, b"\x00\xff"))
    book = wire.put(1, facts("order", root).cover.SerializeToString()) + wire.put(3, event + wire.put(1000, "later"))
    client.raw(RECORD, book)
    [page] = wire.pages(client.raw("/angzarr.EventQuery/GetEventBook", client.query("order", root).SerializeToString()))
    assert event in page and wire.put(1000, "later") in page


def test_the_next_command_is_sent_a_history_that_includes_the_facts(client, logic):
    root, told, id = new_root(), new_id(), new_id()
    client.do("order", root, id="before")
    client.tell("order", root, [1, 2], id=told)
    assert numbers(client.do("order", root, 3, id=id)) == [3]
    events = logic.calls.last(id)[0].events
    assert numbers(events) == [0, 1, 2] and events.next_sequence == 3
    assert [d.id for d in dones(events)] == ["before", told, told]


def test_facts_wait_for_their_turn_and_stand_on_what_is_before_them(make_system, gated):
    """Its root's queue is in the order of the log: a command, a record, a command."""
    logic = gated()
    client = make_system({"order": logic.address}, partitions=1).up().client()
    root = new_root()
    logic.hold()
    command = in_thread(lambda: client.do("order", root, 0, n=2, id="first"))
    eventually(lambda: logic.waiting == 1)
    record = in_thread(lambda: client.tell("order", root, [2, 3], id="told"))
    assert numbers(client.tell("order", new_root())) == [0]  # behind it in the log: it has come so far
    later = in_thread(lambda: client.do("order", root, 4, id="last"))
    assert still_waits(record, 0.3)
    logic.let_go()
    assert [numbers(job.result()) for job in (command, record, later)] == [[0, 1], [2, 3], [4]]
    assert [d.id for d in dones(logic.calls.last("last")[0].events)] == ["first"] * 2 + ["told"] * 2


def test_facts_need_no_free_call_of_the_business(make_system, gated):
    logic = gated()
    system = make_system({"order": logic.address}, partitions=1, settings={"limits": {"calls": 2, "slow_after": "30s"}}).up()
    client = system.client()
    logic.hold()
    jobs = [in_thread(lambda: client.do("order", new_root())) for _ in range(5)]
    eventually(lambda: logic.waiting >= 2)
    assert numbers(client.tell("order", new_root(), timeout=5)) == [0]
    logic.let_go()
    assert [numbers(job.result()) for job in jobs] == [[0]] * 5


def test_facts_are_recorded_while_the_business_is_down(make_system, make_logic):
    logic = make_logic()
    client = make_system({"order": logic.address}, partitions=1).up().client()
    logic.stop()
    root = new_root()
    assert numbers(client.tell("order", root, timeout=5)) == [0]
    logic.start()
    assert numbers(client.do("order", root, 1)) == [1]


def test_an_edition_has_facts_of_its_own(client):
    root = new_root()
    client.do("order", root)
    response = client.tell("order", root, [0, 1], edition="what-if")
    assert numbers(response) == [0, 1] and response.events.cover.edition.name == "what-if"
    assert client.event_book("order", root).next_sequence == 1


# ---- validation 1

def with_cover(**fields):
    events = facts("order", new_root())
    for name, value in fields.items():
        if value is None:
            events.cover.ClearField(name)
        elif name == "root":
            events.cover.root.value = value
        elif name == "edition":
            events.cover.edition.name = value
        else:
            setattr(events.cover, name, value)
    return events


INVALID = [
    ("no cover", pb.EventBook(), "EventBook must have a cover"),
    ("no root", with_cover(root=None), "Cover must have a root UUID"),
    ("root of 15 bytes", with_cover(root=bytes(15)), "Invalid UUID: "),
    ("no domain", with_cover(domain=None), "domain"),
    ("domain in capitals", with_cover(domain="Order"), "domain"),
    ("edition of 65 characters", with_cover(edition="e" * 65), "edition"),
    ("correlation id with a space", with_cover(correlation_id="a b"), "correlation_id"),
]


@pytest.mark.parametrize("events, text", [row[1:] for row in INVALID], ids=[row[0] for row in INVALID])
def test_invalid_argument_names_the_field(client, events, text):
    assert text in client.refused("INVALID_ARGUMENT", client.record, events).message


def test_an_unknown_domain_is_not_found(client):
    assert "nosuch" in client.refused("NOT_FOUND", client.tell, "nosuch", new_root()).message


@pytest.mark.parametrize("data", [b"\xff" * 40, b"\x1a\x7f\x01", wire.put(3, wire.put(4, wire.put(1, b"\xc3\x28")))],
                         ids=["no protobuf", "truncated", "invalid UTF-8 in a type_url"])
def test_bytes_that_are_no_proper_message_are_refused(client, data):
    cover = wire.put(1, facts("order", new_root()).cover.SerializeToString())
    assert client.refused("INVALID_ARGUMENT", client.raw, RECORD, cover + data).message


def test_a_message_over_the_limit_is_resource_exhausted_and_stores_nothing(client):
    root = new_root()
    client.refused("RESOURCE_EXHAUSTED", client.tell, "order", root, data=bytes(2 << 20))
    assert client.event_book("order", root).next_sequence == 0


def test_the_largest_message_is_recorded(client):
    root = new_root()
    limit = 1 << 20
    events = facts("order", root, [0], data=bytes(limit - 1000))
    events = facts("order", root, [0], data=bytes(limit - 1000 + limit - len(events.SerializeToString())))
    assert len(events.SerializeToString()) == limit
    assert numbers(client.record(events)) == [0]
    assert numbers(client.events("order", root)[0]) == [0]
    client.refused("RESOURCE_EXHAUSTED", client.record, facts("order", root, data=bytes(limit - 20)))


def test_many_large_facts_are_several_records_of_one_transaction(client):
    root = new_root()
    response = client.tell("order", root, [None] * 9, data=bytes(110_000), key=new_id())
    assert numbers(response) == list(range(9))
    books = client.events("order", root)
    assert [n for b in books for n in numbers(b)] == list(range(9))
    assert [len(d.data) for b in books for d in dones(b)] == [110_000] * 9


# ---- numbering 4: a gap or a taken number is FAILED_PRECONDITION, nothing stored

TAKEN_OVER = [
    ("numbers that continue", [3, 4], [3, 4]),
    ("no numbers", [None, None], [3, 4]),
    ("force", ["force", "force"], [3, 4]),
    ("mixed", [3, None, "force", 6], [3, 4, 5, 6]),
]


@pytest.mark.parametrize("nums, expected", [row[1:] for row in TAKEN_OVER], ids=[row[0] for row in TAKEN_OVER])
def test_numbers_continue_and_what_has_none_is_numbered(client, nums, expected):
    root = new_root()
    client.do("order", root, n=3)
    assert numbers(client.tell("order", root, nums)) == expected
    assert numbers(client.event_book("order", root)) == [0, 1, 2, *expected]


REFUSED = [
    ("a gap", [4], (0, 4, 3)),
    ("a taken number", [2], (0, 2, 3)),
    ("the first number", [0], (0, 0, 3)),
    ("the history echoed", [0, 1, 2, 3], (0, 0, 3)),
    ("a gap inside", [3, 5], (1, 5, 4)),
    ("twice the same", [3, 3], (1, 3, 4)),
    ("backwards", [4, 3], (0, 4, 3)),
    ("a gap after a page without", [None, 5], (1, 5, 4)),
    ("the greatest number", [2**32 - 1], (0, 2**32 - 1, 3)),
]


@pytest.mark.parametrize("nums, said", [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_gap_or_a_taken_number_is_failed_precondition_and_stores_nothing(client, nums, said):
    root = new_root()
    client.do("order", root, n=3)
    refused = client.refused("FAILED_PRECONDITION", client.tell, "order", root, nums)
    assert refused.message == "Sequence mismatch: page {} has number {} where {} comes next, aggregate at 3".format(*said)
    assert client.event_book("order", root).next_sequence == 3


def test_the_trailers_carry_the_current_book(client):
    """As those of a command whose sequence does not fit: the caller can decide again without another read."""
    root = new_root()
    client.do("order", root, n=2, id="there")
    refused = client.refused("FAILED_PRECONDITION", client.tell, "order", root, [1])
    current = refused.book()
    assert (numbers(current), current.next_sequence, current.cover.root.value) == ([0, 1], 2, root)
    assert (refused.status().code, refused.status().message) == (9, refused.message)
    assert numbers(client.tell("order", root, [current.next_sequence])) == [2]


def test_created_at_is_filled_when_absent_and_kept_when_given(client):
    root = new_root()
    events = facts("order", root, [None, None])
    events.pages[0].created_at.FromSeconds(86400)
    before = time.time()
    first, second = client.record(events).events.pages
    assert first.created_at.ToSeconds() == 86400
    assert before - 1 <= second.created_at.seconds + second.created_at.nanos / 1e9 <= time.time() + 1


def test_no_page_is_a_success_that_stores_nothing(client):
    root, key = new_root(), new_id()
    client.do("order", root)
    response = client.tell("order", root, [], key=key)
    assert not response.events.pages and response.events.next_sequence == 1
    assert client.event_book("order", root).next_sequence == 1
    assert numbers(client.tell("order", root, [1], key=key)) == [1]  # nothing is remembered of it


def test_a_snapshot_is_not_taken_over(client, logic):
    """Contract 5 speaks of the business's answer: who tells facts does not know the state that follows from them."""
    root, id = new_root(), new_id()
    events = facts("every", root, [0, 1])
    events.snapshot.sequence = 1
    events.snapshot.state.CopyFrom(pack(pb.test.State(count=77)))
    events.snapshot_state.CopyFrom(pack(pb.test.State(count=78)))
    events.next_sequence = 55
    response = client.record(events)
    assert response.events.next_sequence == 2 and not response.events.HasField("snapshot") and not response.events.HasField("snapshot_state")
    client.do("every", root, 2, id=id)
    given = logic.calls.last(id)[0].events
    assert numbers(given) == [0, 1] and not given.HasField("snapshot")


def test_facts_come_after_the_snapshot_that_is_there(client, logic):
    root, id = new_root(), new_id()
    client.do("every", root, n=2, what="snapshot")
    client.tell("every", root, [2, 3])
    client.do("every", root, 4, id=id)
    given = logic.calls.last(id)[0].events
    assert given.snapshot.sequence == 1 and numbers(given) == [2, 3]


# ---- idempotency 8

def test_the_same_key_on_the_same_root_returns_the_first_result(client):
    root, key = new_root(), new_id()
    first = client.tell("order", root, [None, None], key=key, id="a")
    client.do("order", root, 2)
    again = client.tell("order", root, [None, None], key=key, id="a")
    assert again.events.pages == first.events.pages and again.events.cover == first.events.cover
    assert client.event_book("order", root).next_sequence == 3


def test_dedupe_comes_before_the_numbers(client):
    root, key = new_root(), new_id()
    client.tell("order", root, [0], key=key)
    assert numbers(client.tell("order", root, [0], key=key)) == [0]  # taken, and its own
    assert numbers(client.tell("order", root, [7, 8], key=key, id="another")) == [0]


def test_a_key_is_one_for_facts_and_commands(client, logic):
    root, key, id = new_root(), new_id(), new_id()
    client.tell("order", root, [0, 1], key=key)
    assert numbers(client.do("order", root, 2, key=key, id=id)) == [0, 1]
    assert logic.calls.of(id) == 0
    key = new_id()
    client.do("order", root, 2, key=key)
    assert numbers(client.tell("order", root, [3], key=key)) == [2]


def test_the_same_key_on_another_root_is_another_record(client):
    key = new_id()
    assert numbers(client.tell("order", new_root(), [0], key=key)) == [0]
    assert numbers(client.tell("order", new_root(), [0, 1], key=key)) == [0, 1]


def test_what_was_rejected_is_done_again(client):
    root, key = new_root(), new_id()
    client.refused("FAILED_PRECONDITION", client.tell, "order", root, [1], key=key)
    client.do("order", root)
    assert numbers(client.tell("order", root, [1], key=key)) == [1]


def test_without_a_key_the_same_facts_are_told_twice(client):
    root = new_root()
    assert numbers(client.tell("order", root)) == [0]
    assert numbers(client.tell("order", root)) == [1]


def test_copies_sent_at_once_are_stored_once_and_get_the_same_answer(client):
    root, key = new_root(), new_id()
    jobs = [in_thread(lambda: client.tell("order", root, [None, None], key=key)) for _ in range(16)]
    answers = [job.result() for job in jobs]
    assert all(a.events.pages == answers[0].events.pages for a in answers)
    assert client.event_book("order", root).next_sequence == 2


def test_a_key_that_is_no_key_is_invalid(client):
    assert "idempotency-key" in client.refused("INVALID_ARGUMENT", client.tell, "order", new_root(), key="with space").message


def test_the_window_ends(make_system, make_logic):
    system = make_system({"order": make_logic().address}, partitions=1, settings={"limits": {"dedupe_window": "1s"}}).up()
    client = system.client()
    root = new_root()
    client.tell("order", root, key="k")
    until = time.monotonic() + 1.2
    sequence = 1
    while time.monotonic() < until:  # the log's clock goes on with its records
        sequence = numbers(client.tell("order", root, [sequence]))[-1] + 1
    assert numbers(client.tell("order", root, key="k")) == [sequence]


# ---- answer 6, correlation id 7

def test_the_response_has_cover_the_new_pages_and_the_next_sequence(client):
    root = new_root()
    client.do("order", root, n=2)
    response = client.tell("order", root, [2, 3], correlation_id="c-1")
    events = response.events
    assert (events.cover.root.value, events.cover.domain, events.cover.correlation_id) == (root, "order", "c-1")
    assert (numbers(events), events.next_sequence) == ([2, 3], 4)
    assert not response.projections


def test_an_absent_correlation_id_is_made_from_the_bytes_received(client):
    root = new_root()
    data = facts("order", root, [0]).SerializeToString()
    response = pb.CommandResponse.FromString(client.raw(RECORD, data))
    expected = str(uuid.UUID(bytes=hashlib.sha1(NAMESPACE.bytes + data).digest()[:16], version=5))
    assert response.events.cover.correlation_id == expected
    assert client.events("order", root)[0].cover.correlation_id == expected


def test_facts_are_found_by_their_correlation_id(client):
    root, correlation = new_root(), "c-" + new_id()
    client.tell("order", root, [0, 1], correlation_id=correlation)
    [found] = client.call("/angzarr.EventQuery/GetEvents", pb.Query(cover=pb.Cover(correlation_id=correlation)), pb.EventBook, stream=True)
    assert found.cover.root.value == root and numbers(found) == [0, 1]


# ---- deadline 9

def test_facts_whose_deadline_has_passed_are_not_recorded(make_system, gated):
    logic = gated()
    client = make_system({"order": logic.address}, partitions=1).up().client()
    root = new_root()
    logic.hold()
    first = in_thread(lambda: client.do("order", root))
    eventually(lambda: logic.waiting == 1)
    client.refused("DEADLINE_EXCEEDED", client.tell, "order", root, timeout=0.5)  # waits behind the first
    logic.let_go()
    assert numbers(first.result()) == [0]
    assert numbers(client.tell("order", root, [1])) == [1]


# ---- exactly once, in order

def test_facts_and_commands_of_one_root_at_once_leave_no_gap(system, client):
    """Eight callers tell and ask as fast as they can; who is told a mismatch decides again from its trailers."""
    root = new_root()
    sent = []

    def one(worker):
        upcoming = 0
        for i in range(12):
            id, n = f"{worker}-{i}", 1 + i % 3
            while True:
                try:
                    if worker % 2:
                        answer = client.do("order", root, upcoming, n=n, id=id)
                    elif i % 2:
                        answer = client.tell("order", root, range(upcoming, upcoming + n), id=id)
                    else:
                        answer = client.tell("order", root, [None] * n, id=id)
                    break
                except Exception as e:
                    assert e.name() == "FAILED_PRECONDITION", e
                    upcoming = e.book().next_sequence
            upcoming = answer.events.next_sequence
            sent.append(checker.Sent(id, root, n, "ok", tuple(numbers(answer))))
    for job in [in_thread(lambda w=worker: one(w)) for worker in range(8)]:
        job.result(60 * SCALE)
    checker.no_complaint(checker.compare(system.reader().stored("order", [root]) if system.embedded else
                                         [r for r in system.reader().stored("order") if r.root == root], sent))


def test_what_was_recorded_is_remembered_over_a_kill(make_system, make_logic):
    system = make_system({"order": make_logic().address}, partitions=1).up()
    root = new_root()
    first = system.client().tell("order", root, [None, None], key="k", id="a")
    system.worker.kill()
    system.up()
    again = system.client().tell("order", root, [None, None], key="k", id="a")
    assert again.events.pages == first.events.pages
    assert system.client().event_book("order", root).next_sequence == 2


@pytest.mark.parametrize("point", ["after-produce", "after-offsets", "in-commit", "after-commit", "after-apply"])
def test_killed_at_a_point_facts_are_recorded_once(make_system, make_logic, point):
    system = make_system({"order": make_logic().address}, partitions=1)
    system.worker.launch(kill=f"{point}:2")  # the first pass is the takeover's barrier
    system.worker.ready()
    roots = [new_root() for _ in range(5)]
    client = system.client()
    for job in [in_thread(lambda r=root: client.refused_open(client.tell, "order", r, [None, None], key="k", id=r.hex())) for root in roots]:
        job.result(60)
    system.worker.died()
    system.up()
    client = system.client()
    sent = []
    for root in roots:
        answer = client.tell("order", root, [None, None], key="k", id=root.hex(), timeout=60)
        sent.append(checker.Sent(root.hex(), root, 2, "ok", tuple(numbers(answer))))
        assert numbers(client.do("order", root, 2, id=root.hex() + "-after")) == [2]
        sent.append(checker.Sent(root.hex() + "-after", root, 1, "ok", (2,)))
    checker.prove(system, client, "order", sent)
