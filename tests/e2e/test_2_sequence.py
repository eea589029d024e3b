"""Contract 2: a command says which number its first event must get."""

import pytest

from lib.api import pb
from lib.client import BOOK, book, dones, new_root, numbers


def test_sequences_follow_one_another(client):
    root = new_root()
    assert numbers(client.do("order", root, 0, n=3)) == [0, 1, 2]
    assert numbers(client.do("order", root, 3)) == [3]
    assert client.event_book("order", root).next_sequence == 4


def test_a_mismatch_is_failed_precondition_with_both_numbers(client, logic):
    root = new_root()
    client.do("order", root, 0, n=2)
    before = logic.calls.total
    for wrong in (0, 1, 3, 2**32 - 1):
        refused = client.refused("FAILED_PRECONDITION", client.do, "order", root, wrong)
        assert refused.message == f"Sequence mismatch: command expects {wrong}, aggregate at 2"
    assert logic.calls.total == before
    assert client.event_book("order", root).next_sequence == 2


def test_a_new_aggregate_is_at_0(client):
    refused = client.refused("FAILED_PRECONDITION", client.do, "order", new_root(), 5)
    assert refused.message == "Sequence mismatch: command expects 5, aggregate at 0"


def test_the_trailers_of_a_mismatch_carry_the_current_book(client):
    root = new_root()
    client.do("order", root, 0, n=2, id="first")
    refused = client.refused("FAILED_PRECONDITION", client.do, "order", root, 0)
    current = refused.book()
    assert (numbers(current), current.next_sequence, current.cover.root.value) == ([0, 1], 2, root)
    assert [d.id for d in dones(current)] == ["first", "first"]
    status = refused.status()
    assert (status.code, status.message) == (9, refused.message)
    assert len(status.details) == 1 and status.details[0].type_url.endswith("/angzarr.EventBook")
    assert pb.EventBook.FromString(status.details[0].value) == current


def test_the_caller_can_decide_again_from_the_trailers_alone(client):
    root = new_root()
    client.do("order", root)
    upcoming = client.refused("FAILED_PRECONDITION", client.do, "order", root, 0).book().next_sequence
    assert numbers(client.do("order", root, upcoming)) == [1]


def test_a_large_book_is_cut_to_the_newest_pages_under_4_KiB(client):
    root = new_root()
    for i in range(10):
        client.do("order", root, i, data=bytes(1000), value=i)
    refused = client.refused("FAILED_PRECONDITION", client.do, "order", root, 0)
    assert refused.wire_size() <= 4096
    current = refused.book()
    assert current.next_sequence == 10 and current.cover.root.value == root
    assert numbers(current) == [9] and dones(current)[0].value == 9
    assert refused.status().details[0].value == refused.trailers[BOOK]


@pytest.mark.parametrize("size", [0, 30, 200, 500])
def test_the_newest_pages_that_fit_are_there(client, size):
    """There are two copies of the book, in base64: 1,300 bytes of it leave room for a message."""
    root = new_root()
    client.do("order", root, 0, n=40, data=bytes(size))
    refused = client.refused("FAILED_PRECONDITION", client.do, "order", root, 0)
    current = refused.book()
    assert numbers(current) == list(range(40 - len(current.pages), 40))
    assert 1290 - current.pages[-1].ByteSize() - 3 < len(refused.trailers[BOOK]) <= 1300  # one more would not have fitted
    assert refused.wire_size() <= 4096


@pytest.mark.parametrize("domain", ["every", "box"])
def test_a_snapshot_takes_no_page_from_the_book(client, domain):
    """The business logic is sent the snapshot and what comes after it; who is refused has only the book, and its newest pages."""
    root = new_root()
    for i in range(4):
        client.do(domain, root, i, what="snapshot", value=i)
        current = client.refused("FAILED_PRECONDITION", client.do, domain, root, 99).book()
        assert (numbers(current), current.next_sequence) == (list(range(i + 1)), i + 1)
        assert [d.value for d in dones(current)] == list(range(i + 1)) and not current.HasField("snapshot")


def test_a_snapshot_takes_no_page_from_the_book_after_a_restart(make_system, make_logic):
    system = make_system({"order": {"address": make_logic().address, "snapshots": "always"}}, partitions=1).up()
    root = new_root()
    for i in range(3):
        system.client().do("order", root, i * 30, n=30, what="snapshot")
    before = system.client().refused("FAILED_PRECONDITION", system.client().do, "order", root, 0).book()
    assert len(before.pages) > 3 and numbers(before) == list(range(90 - len(before.pages), 90))
    system.worker.kill()
    client = system.up().client()
    assert client.refused("FAILED_PRECONDITION", client.do, "order", root, 0).book() == before
    client.do("order", root, 90, what="snapshot")
    after = client.refused("FAILED_PRECONDITION", client.do, "order", root, 0).book()
    assert numbers(after) == list(range(91 - len(after.pages), 91)) and len(after.pages) >= len(before.pages)


def test_a_large_cover_is_cut_too(client):
    root = new_root()
    command = book("order", root, sequence=3, correlation_id="c-1", edition="what-if")
    for i in range(100):
        command.cover.edition.divergences.add(domain=f"{'d' * 40}{i}", sequence=i)
    refused = client.refused("FAILED_PRECONDITION", client.execute, command)
    assert refused.wire_size() <= 4096
    cover = refused.book().cover
    assert (cover.root.value, cover.domain, cover.correlation_id, cover.edition.name) == (root, "order", "c-1", "what-if")
    assert refused.book().next_sequence == 0 and refused.status().code == 9


def test_no_pages_count_as_sequence_0(client):
    root = new_root()
    command = book("order", root)
    command.ClearField("pages")
    assert numbers(client.execute(command)) == [0]
    refused = client.refused("FAILED_PRECONDITION", client.execute, command)
    assert refused.message == "Sequence mismatch: command expects 0, aggregate at 1"
