"""Contract 10: GetEventBook and GetEvents."""

import uuid

import pytest

from lib import wire
from lib.api import pb
from lib.checker import agree, no_complaint
from lib.client import book, new_root, numbers
from lib.procs import in_thread

GET_BOOK = "/angzarr.EventQuery/GetEventBook"
GET_EVENTS = "/angzarr.EventQuery/GetEvents"


@pytest.fixture(scope="module")
def ten(system):
    """An aggregate of ten events that five commands made."""
    client = system.client()
    root = new_root()
    for i in range(5):
        client.do("order", root, 2 * i, n=2, value=i)
    return root


def test_an_unknown_aggregate_is_an_empty_book(client):
    root = new_root()
    answer = client.event_book("order", root)
    assert (len(answer.pages), answer.next_sequence, answer.cover.root.value, answer.cover.domain) == (0, 0, root, "order")


def test_the_full_history_without_a_snapshot(client, ten):
    answer = client.event_book("order", ten)
    assert (numbers(answer), answer.next_sequence) == (list(range(10)), 10)
    assert not answer.HasField("snapshot") and not answer.HasField("snapshot_state")


def test_no_snapshot_is_in_an_answer_and_no_page_is_missing_for_it(client):
    root = new_root()
    for i in range(3):
        client.do("every", root, i, what="snapshot")
    for answer in (client.event_book("every", root), *client.events("every", root)):
        assert not answer.HasField("snapshot") and not answer.HasField("snapshot_state")
    assert numbers(client.event_book("every", root)) == [n for b in client.events("every", root) for n in numbers(b)] == [0, 1, 2]


def test_pages_are_the_bytes_stored(system, client, ten):
    no_complaint(agree(client, "order", [r for r in system.reader().stored("order", [ten]) if r.root == ten]))


def ranged(lower, upper=None):
    return {"range": pb.SequenceRange(lower=lower) if upper is None else pb.SequenceRange(lower=lower, upper=upper)}


SELECTIONS = [
    ("a range", ranged(3, 5), [3, 4, 5]),
    ("one", ranged(4, 4), [4]),
    ("to the end", ranged(7), [7, 8, 9]),
    ("beyond the end", ranged(8, 99), [8, 9]),
    ("upper 0", ranged(0, 0), [0]),
    ("the wrong way round", ranged(5, 3), []),
    ("a set", {"sequences": pb.SequenceSet(values=[0, 9, 4])}, [0, 4, 9]),
    ("a set with strangers", {"sequences": pb.SequenceSet(values=[3, 77, 3])}, [3]),
    ("an empty set", {"sequences": pb.SequenceSet()}, []),
    ("as of a sequence", {"temporal": pb.TemporalQuery(as_of_sequence=2)}, [0, 1, 2]),
    ("as of sequence 0", {"temporal": pb.TemporalQuery(as_of_sequence=0)}, [0]),
]


@pytest.mark.parametrize("selection, expected", [row[1:] for row in SELECTIONS], ids=[row[0] for row in SELECTIONS])
def test_a_selection_and_the_current_next_sequence(client, ten, selection, expected):
    answer = client.event_book("order", ten, **selection)
    assert (numbers(answer), answer.next_sequence) == (expected, 10)
    streamed = client.events("order", ten, **selection)
    assert [n for b in streamed for n in numbers(b)] == expected
    assert all(b.next_sequence == 10 for b in streamed)


def test_as_of_a_time_is_inclusive(client, ten):
    pages = client.event_book("order", ten).pages
    at = pages[5].created_at
    answer = client.event_book("order", ten, temporal=pb.TemporalQuery(as_of_time=at))
    assert numbers(answer) == [p.num for p in pages if p.created_at.ToNanoseconds() <= at.ToNanoseconds()]
    assert 5 in numbers(answer)


def test_get_events_streams_a_message_per_stored_record(client, ten):
    assert [numbers(b) for b in client.events("order", ten)] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]


def test_get_events_of_an_unknown_aggregate_ends_with_ok(client):
    assert sum(len(b.pages) for b in client.events("order", new_root())) == 0


@pytest.mark.parametrize("path, stream", [(GET_BOOK, False), (GET_EVENTS, True)])
def test_a_query_that_names_nothing_is_invalid(client, path, stream):
    client.refused("INVALID_ARGUMENT", client.raw, path, b"", stream=stream)
    nothing = pb.Query(cover=pb.Cover(domain="order"))
    client.refused("INVALID_ARGUMENT", client.raw, path, nothing.SerializeToString(), stream=stream)
    bad = pb.Query(cover=pb.Cover(domain="order", root=pb.UUID(value=bytes(3))))
    client.refused("INVALID_ARGUMENT", client.raw, path, bad.SerializeToString(), stream=stream)
    client.refused("INVALID_ARGUMENT", client.raw, path, b"\xff\xff", stream=stream)


@pytest.mark.parametrize("path, stream", [(GET_BOOK, False), (GET_EVENTS, True)])
def test_a_query_of_an_unknown_domain_is_not_found(client, path, stream):
    query = client.query("nosuch", new_root()).SerializeToString()
    assert "nosuch" in client.refused("NOT_FOUND", client.raw, path, query, stream=stream).message


def test_a_correlation_id_alone_finds_its_books_over_all_domains(client):
    correlation = "c-" + uuid.uuid4().hex
    roots = [new_root() for _ in range(6)]
    for root in roots[:3]:
        client.execute(book("order", root, correlation_id=correlation))
    for root in roots[3:]:
        client.execute(book("box", root, n=2, correlation_id=correlation))
    client.execute(book("order", roots[0], sequence=1, correlation_id="another"))
    query = pb.Query(cover=pb.Cover(correlation_id=correlation))
    books = client.call(GET_EVENTS, query, pb.EventBook, stream=True)
    assert sorted((b.cover.domain, b.cover.root.value, *numbers(b)) for b in books) == \
        sorted([("order", r, 0) for r in roots[:3]] + [("box", r, 0, 1) for r in roots[3:]])
    first = client.call(GET_BOOK, query, pb.EventBook)
    assert first.cover.correlation_id == correlation and first.cover.root.value in roots


def test_a_correlation_id_and_a_domain_find_what_is_in_it(client):
    correlation, roots = "c-" + uuid.uuid4().hex, {"order": new_root(), "box": new_root()}
    for domain, root in roots.items():
        client.execute(book(domain, root, correlation_id=correlation))
    for domain, root in roots.items():
        query = pb.Query(cover=pb.Cover(domain=domain, correlation_id=correlation))
        found = [client.call(GET_BOOK, query, pb.EventBook), *client.call(GET_EVENTS, query, pb.EventBook, stream=True)]
        assert [b.cover.root.value for b in found] == [root, root]
    unknown = pb.Query(cover=pb.Cover(domain="nosuch", correlation_id=correlation)).SerializeToString()
    for path, stream in ((GET_BOOK, False), (GET_EVENTS, True)):
        assert "nosuch" in client.refused("NOT_FOUND", client.raw, path, unknown, stream=stream).message


def test_a_correlation_id_that_nobody_used_finds_nothing(client):
    query = pb.Query(cover=pb.Cover(correlation_id="c-" + uuid.uuid4().hex))
    assert sum(len(b.pages) for b in client.call(GET_EVENTS, query, pb.EventBook, stream=True)) == 0
    assert not client.call(GET_BOOK, query, pb.EventBook).pages


@pytest.mark.kafka_only
def test_a_query_waits_for_the_new_owner_to_its_deadline(make_system, make_logic):
    system = make_system({"order": make_logic().address}, two=True, partitions=1).up()
    client = system.client()
    root = new_root()
    client.do("order", root)
    system.worker.kill()
    waiting = [in_thread(lambda: client.event_book("order", root, timeout=60)),
               in_thread(lambda: client.events("order", root, timeout=60)[0])]
    client.refused_open(client.event_book, "order", root, timeout=1)
    system.worker.up()
    assert [numbers(job.result(90)) for job in waiting] == [[0], [0]]


def test_a_query_sees_every_command_answered_before_it(client):
    def one():
        root = new_root()
        for i in range(20):
            client.do("order", root, i)
            assert client.event_book("order", root).next_sequence == i + 1
        return True
    assert all(job.result() for job in [in_thread(one) for _ in range(8)])


def test_a_book_over_the_limit_says_to_use_get_events(client):
    root = new_root()
    for i in range(4):
        client.do("order", root, i, data=bytes(400_000))
    refused = client.refused("RESOURCE_EXHAUSTED", client.event_book, "order", root)
    assert "GetEvents" in refused.message
    streamed = client.raw(GET_EVENTS, client.query("order", root).SerializeToString(), stream=True)
    assert len([p for b in streamed for p in wire.pages(b)]) == 4
