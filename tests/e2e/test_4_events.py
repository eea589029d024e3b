"""Contract 4 to 7: new events, snapshots, the response, the correlation id."""

import hashlib
import time
import uuid

import pytest

from lib.api import pack, pb
from lib.client import book, dones, facts, new_root, numbers

NAMESPACE = uuid.UUID("404f3bda-578a-5c4d-a7f4-2751b843698a")


@pytest.mark.parametrize("what", ["emit-unnumbered", "emit-force"])
def test_pages_without_a_number_are_numbered(client, what):
    root = new_root()
    client.do("order", root, n=2)
    assert numbers(client.do("order", root, 2, what=what, n=3)) == [2, 3, 4]
    assert numbers(client.event_book("order", root)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("number", [3, 2**32 - 1])
def test_a_number_that_leaves_a_gap_is_internal_naming_both(client, number):
    root = new_root()
    client.do("order", root, n=2)
    refused = client.refused("INTERNAL", client.do, "order", root, 2, what="wrong-number", value=number)
    assert str(number) in refused.message and "2" in refused.message.replace(str(number), "", 1)
    assert client.event_book("order", root).next_sequence == 2


@pytest.mark.parametrize("nums, wrong, upcoming", [([2, 4], 4, 3), ([2, 2], 2, 3), ([3, 2], 3, 2), ([0, 1, 2, 5], 5, 3), ([None, 4], 4, 3)],
                         ids=["a gap inside", "twice the same", "backwards", "a gap behind the history", "a gap behind one without"])
def test_numbers_go_on_without_a_gap_from_page_to_page(client, nums, wrong, upcoming):
    root = new_root()
    client.do("order", root, n=2)
    answer = facts("order", root, nums).SerializeToString()
    refused = client.refused("INTERNAL", client.do, "order", root, 2, what="garbage", data=answer)
    assert f"an event {wrong} where {upcoming} comes next" in refused.message
    assert client.event_book("order", root).next_sequence == 2


def test_history_echoed_back_is_ignored(client):
    root = new_root()
    client.do("order", root, n=3)
    assert numbers(client.do("order", root, 3, what="echo")) == [3]
    assert numbers(client.event_book("order", root)) == [0, 1, 2, 3]


def test_created_at_is_filled_when_absent(client):
    before = time.time()
    response = client.do("order", new_root(), n=2)
    for page in response.events.pages:
        assert before - 1 <= page.created_at.seconds + page.created_at.nanos / 1e9 <= time.time() + 1


def test_created_at_is_kept_when_the_business_gives_it(client):
    answer = pb.EventBook()
    page = answer.pages.add(num=0, event=pack(pb.test.Done()))
    page.created_at.FromSeconds(86400)
    response = client.do("order", new_root(), what="garbage", data=answer.SerializeToString())
    assert [p.created_at.ToSeconds() for p in response.events.pages] == [86400]


def test_no_page_is_a_success_that_stores_nothing(system, client, logic):
    root, id = new_root(), str(uuid.uuid4())
    response = client.do("order", root, what="none", id=id, key="none-" + id)
    assert not response.events.pages and response.events.next_sequence == 0
    assert client.event_book("order", root).next_sequence == 0
    client.do("order", root, what="none", id=id, key="none-" + id)
    assert logic.calls.of(id) == 2  # nothing is remembered of it
    assert [r for r in system.reader().stored("order", [root]) if r.root == root] == []  # nor published


def test_the_response_has_cover_the_new_pages_and_the_next_sequence(client):
    root = new_root()
    client.do("order", root, n=2)
    response = client.execute(book("order", root, sequence=2, n=2, correlation_id="c-1"))
    events = response.events
    assert (events.cover.root.value, events.cover.domain, events.cover.correlation_id) == (root, "order", "c-1")
    assert (numbers(events), events.next_sequence) == ([2, 3], 4)
    assert not events.HasField("snapshot") and not response.projections


def test_an_edition_is_an_aggregate_of_its_own(client):
    root = new_root()
    client.execute(book("order", root, n=2))
    response = client.execute(book("order", root, edition="what-if"))
    assert numbers(response) == [0] and response.events.cover.edition.name == "what-if"
    assert client.event_book("order", root).next_sequence == 2


@pytest.mark.parametrize("what, domain", [("snapshot", "order"), ("snapshot-state", "order"), ("snapshot", "box"), ("snapshot", "every")])
def test_a_snapshot_is_sent_back_with_only_the_events_after_it(client, logic, what, domain):
    root, id = new_root(), str(uuid.uuid4())
    client.do(domain, root, n=60, what=what)  # enough for the default, every 50
    client.do(domain, root, 60, n=2)
    client.do(domain, root, 62, id=id)
    events = logic.calls.last(id)[0].events
    assert events.snapshot.sequence == 59
    assert numbers(events) == [60, 61]
    assert pb.test.State.FromString(events.snapshot.state.value).count == 60
    assert numbers(client.event_book(domain, root)) == list(range(63))


def test_a_snapshot_without_a_new_page_is_not_stored(client, logic):
    root, id = new_root(), str(uuid.uuid4())
    state = pb.EventBook()
    state.snapshot.state.type_url = "type.googleapis.com/angzarr_test.State"
    client.do("every", root)
    client.do("every", root, 1, what="garbage", data=state.SerializeToString())
    client.do("every", root, 1, id=id)
    assert not logic.calls.last(id)[0].events.HasField("snapshot")


def test_snapshots_off_stores_none(client, logic):
    root, id = new_root(), str(uuid.uuid4())
    client.do("plain", root, n=60, what="snapshot")
    client.do("plain", root, 60, id=id)
    events = logic.calls.last(id)[0].events
    assert not events.HasField("snapshot") and len(events.pages) == 60


def test_every_n_takes_one_only_when_n_events_have_come(client, logic):
    root, first, second = new_root(), str(uuid.uuid4()), str(uuid.uuid4())
    client.do("box", root, n=1, what="snapshot")
    client.do("box", root, 1, n=1, what="snapshot", id=first)
    assert not logic.calls.last(first)[0].events.HasField("snapshot")  # 1 event: not yet
    client.do("box", root, 2, id=second)
    assert logic.calls.last(second)[0].events.snapshot.sequence == 1


def test_always_takes_one_with_each_answer_that_has_one(client, logic):
    root, id = new_root(), str(uuid.uuid4())
    for i in range(3):
        client.do("every", root, i, what="snapshot")
        client.refused("ABORTED", client.do, "every", root, i + 1, what="refuse", n=10, id=id)
        events = logic.calls.last(id)[0].events
        assert (events.snapshot.sequence, len(events.pages), events.next_sequence) == (i, 0, i + 1)


def test_a_domain_can_decline_to_be_sent_snapshots(make_system, make_logic):
    logic = make_logic()
    row = {"address": logic.address, "snapshots": {"every": 1, "send": False}}
    client = make_system({"order": row}, partitions=1).up().client()
    root = new_root()
    client.do("order", root, n=3, what="snapshot")
    client.do("order", root, 3, id="b")
    events = logic.calls.last("b")[0].events
    assert not events.HasField("snapshot") and numbers(events) == [0, 1, 2]


def test_an_absent_correlation_id_is_made_from_the_bytes_received(client, logic):
    root, id = new_root(), str(uuid.uuid4())
    data = book("order", root, id=id).SerializeToString()
    response = pb.CommandResponse.FromString(client.raw("/angzarr.CommandGateway/Execute", data))
    expected = _uuid5_of_bytes(data)
    assert response.events.cover.correlation_id == expected
    assert logic.calls.last(id)[1]["x-correlation-id"] == expected
    assert client.events("order", root)[0].cover.correlation_id == expected


def _uuid5_of_bytes(data):
    return str(uuid.UUID(bytes=hashlib.sha1(NAMESPACE.bytes + data).digest()[:16], version=5))


def test_a_synchronous_command_gets_that_of_its_command_book(client):
    command = book("order", new_root())
    data = command.SerializeToString()
    for path in ("/angzarr.CommandGateway/ExecuteSync", "/angzarr.AggregateCoordinator/HandleSync"):
        response = client.execute(pb.SyncCommandBook(command=command), path=path, key=str(uuid.uuid4()))
        assert response.events.cover.correlation_id == _uuid5_of_bytes(data)
        command.pages[0].sequence += 1
        data = command.SerializeToString()


def test_a_given_correlation_id_is_kept(client):
    root = new_root()
    client.execute(book("order", root, correlation_id="my-own"))
    assert client.events("order", root)[0].cover.correlation_id == "my-own"


def test_the_correlation_id_is_in_every_book_that_follows(client):
    root = new_root()
    client.execute(book("order", root, n=9, data=bytes(110_000), correlation_id="c-5"))
    client.execute(book("order", root, sequence=9, correlation_id="c-6"))
    assert [b.cover.correlation_id for b in client.events("order", root)][-2:] == ["c-5", "c-6"]
    assert {b.cover.correlation_id for b in client.events("order", root)} == {"c-5", "c-6"}


def test_a_command_may_make_several_records_when_it_is_large(client):
    root = new_root()
    response = client.do("order", root, n=9, data=bytes(100_000))
    assert numbers(response) == list(range(9))
    assert [len(d.data) for d in dones(client.event_book("order", root))] == [100_000] * 9
