"""Contract 8 and 9: a command sent again, and deadlines."""

import time
import uuid

import pytest

from lib.api import pb
from lib.client import book, new_root, numbers
from lib.procs import SCALE, in_thread


def key():
    return "k-" + uuid.uuid4().hex


def test_the_same_key_on_the_same_root_returns_the_first_result(client, logic):
    root, id, k = new_root(), str(uuid.uuid4()), key()
    first = client.do("order", root, n=2, id=id, key=k)
    client.do("order", root, 2)
    again = client.do("order", root, n=2, id=id, key=k)
    assert again == first
    assert logic.calls.of(id) == 1
    assert client.event_book("order", root).next_sequence == 3


@pytest.mark.parametrize("path", ["/angzarr.BusinessCoordinator/Handle", "/angzarr.AggregateCoordinator/Handle",
                                  "/angzarr.CommandGateway/ExecuteSync", "/angzarr.AggregateCoordinator/HandleSync"])
def test_a_key_holds_on_every_way_in(client, logic, path):
    root, id, k = new_root(), str(uuid.uuid4()), key()
    first = client.do("order", root, id=id, key=k)
    command = book("order", root, id=id)
    assert client.execute(pb.SyncCommandBook(command=command) if "Sync" in path else command, path=path, key=k) == first
    assert logic.calls.of(id) == 1


def test_dedupe_comes_before_the_sequence_check(client):
    root, k = new_root(), key()
    client.do("order", root, key=k)
    assert numbers(client.do("order", root, 77, key=k)) == [0]


def test_a_key_used_again_with_another_body_returns_the_first_result(client, logic):
    root, k, id = new_root(), key(), str(uuid.uuid4())
    client.do("order", root, n=1, key=k)
    assert numbers(client.do("order", root, 1, n=5, id=id, key=k)) == [0]
    assert logic.calls.of(id) == 0


def test_the_same_key_on_another_root_is_another_command(client):
    k = key()
    assert numbers(client.do("order", new_root(), key=k)) == [0]
    assert numbers(client.do("order", new_root(), n=2, key=k)) == [0, 1]


def test_the_same_key_and_root_in_another_domain_or_edition_is_another_command(client):
    k, root = key(), new_root()
    client.do("order", root, key=k)
    assert numbers(client.do("box", root, n=2, key=k)) == [0, 1]
    assert numbers(client.do("order", root, n=3, key=k, edition="what-if")) == [0, 1, 2]


def test_a_success_without_events_is_done_again(client, logic):
    root, id, k = new_root(), str(uuid.uuid4()), key()
    client.do("order", root, what="none", id=id, key=k)
    assert numbers(client.do("order", root, n=2, id=id, key=k)) == [0, 1]
    assert logic.calls.of(id) == 2


def test_the_answer_is_rebuilt_without_the_snapshot(client):
    root, k = new_root(), key()
    first = client.do("every", root, n=2, what="snapshot", key=k)
    again = client.do("every", root, n=2, what="snapshot", key=k)
    assert again == first and not again.events.HasField("snapshot")


def test_without_a_key_the_same_bytes_are_two_commands(client):
    root = new_root()
    client.do("order", root)
    client.refused("FAILED_PRECONDITION", client.do, "order", root)


def test_what_was_rejected_is_done_again(client, logic):
    root, id, k = new_root(), str(uuid.uuid4()), key()
    client.refused("ABORTED", client.do, "order", root, what="refuse", n=10, id=id, key=k)
    assert numbers(client.do("order", root, id=id, key=k)) == [0]
    assert logic.calls.of(id) == 2


def test_a_mismatch_is_not_remembered(client):
    root, k = new_root(), key()
    client.refused("FAILED_PRECONDITION", client.do, "order", root, 1, key=k)
    client.do("order", root)
    assert numbers(client.do("order", root, 1, key=k)) == [1]


def test_copies_sent_at_once_run_once_and_get_the_same_answer(client, logic):
    root, id, k = new_root(), str(uuid.uuid4()), key()
    jobs = [in_thread(lambda: client.do("order", root, what="hang", n=300, id=id, key=k)) for _ in range(8)]
    answers = [job.result() for job in jobs]
    assert all(a.events.pages == answers[0].events.pages for a in answers)
    assert client.event_book("order", root).next_sequence == 1


@pytest.mark.parametrize("bad", ["x" * 129, "with space", ""], ids=["129 characters", "a space", "empty"])
def test_a_key_that_is_no_key_is_invalid(client, bad):
    refused = client.refused("INVALID_ARGUMENT", client.do, "order", new_root(), key=bad)
    assert "idempotency-key" in refused.message


def test_the_longest_key_is_accepted(client):
    root, k = new_root(), uuid.uuid4().hex * 4
    client.do("order", root, key=k)
    assert numbers(client.do("order", root, key=k)) == [0]


def test_what_was_done_is_remembered_over_a_restart(make_system, make_logic):
    logic = make_logic()
    system = make_system({"order": logic.address}, partitions=1).up()
    root = new_root()
    first = system.client().do("order", root, id="a", key="k")
    system.worker.kill()
    system.up()
    again = system.client().do("order", root, id="a", key="k", timeout=30)
    assert again.events.pages == first.events.pages and logic.calls.of("a") == 1


def test_the_window_ends(make_system, make_logic):
    logic = make_logic()
    system = make_system({"order": logic.address}, partitions=1, settings={"limits": {"dedupe_window": "1s"}}).up()
    client = system.client()
    root = new_root()
    client.do("order", root, id="a", key="k")
    until = time.monotonic() + 1.2
    sequence = 1
    while time.monotonic() < until:  # the log's clock goes on with its records
        sequence = numbers(client.do("order", root, sequence))[-1] + 1
    assert numbers(client.do("order", root, sequence, id="a", key="k")) == [sequence]
    assert logic.calls.of("a") == 2


def test_a_deadline_that_passes_is_deadline_exceeded(client):
    start = time.monotonic()
    client.refused("DEADLINE_EXCEEDED", client.do, "order", new_root(), what="never", timeout=1)
    assert time.monotonic() - start < 4 * SCALE


def test_a_command_whose_deadline_has_passed_is_not_run(client, logic):
    root, id = new_root(), str(uuid.uuid4())
    first = in_thread(lambda: client.do("order", root, what="hang", n=int(2500 * SCALE), timeout=10))
    while logic.calls.open == 0:
        time.sleep(0.01)
    client.refused("DEADLINE_EXCEEDED", client.do, "order", root, 1, id=id, timeout=0.5)  # waits behind the first
    assert numbers(first.result()) == [0]
    assert numbers(client.do("order", root, 1)) == [1]
    assert logic.calls.of(id) == 0


def test_without_a_deadline_of_the_caller_the_gateway_has_one(make_system, make_logic):
    logic = make_logic()
    system = make_system({"order": logic.address}, partitions=1, settings={"gateway": {"deadline": "1s"}}).up()
    client = system.client()
    client.do("order", new_root())
    start = time.monotonic()
    client.refused("DEADLINE_EXCEEDED", client.execute, book("order", new_root(), what="never"), timeout=None)
    assert time.monotonic() - start < 6 * SCALE
