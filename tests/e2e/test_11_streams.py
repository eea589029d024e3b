"""Contract 11: Subscribe and the ExecuteStream family."""

import time
import uuid

import pytest

from lib import angzarr
from lib.api import pb
from lib.client import book, new_root, numbers
from lib.procs import SCALE, eventually, in_thread

EXECUTE = "/angzarr.CommandGateway/ExecuteStream"
COUNT = "/angzarr.CommandGateway/ExecuteStreamResponseCount"
TIME = "/angzarr.CommandGateway/ExecuteStreamResponseTime"
SILENCE = 2  # seconds: STREAM_TIMEOUT_SECS of the system here


@pytest.fixture(scope="module")
def system(log, logic):
    system = angzarr.System(log, {"order": logic.address, "box": logic.address}, settings={"stream": {"timeout": "30s"}})
    system.worker.env["STREAM_TIMEOUT_SECS"] = str(int(SILENCE * SCALE))
    try:
        yield system.up()
    finally:
        system.close()


def correlation():
    return "c-" + uuid.uuid4().hex


def where(message):
    return message.cover.domain, message.cover.root.value, *numbers(message)


def execute_stream(client, command, key=None):
    return client.stream(EXECUTE, command, metadata=(("idempotency-key", key),) if key else ())


# ---- ExecuteStream

def test_execute_stream_subscribes_before_it_executes(client):
    """Commands of the same correlation id that follow the answer at once: none of their books is missed."""
    for _ in range(10):
        id, roots = correlation(), [new_root() for _ in range(4)]
        stream = execute_stream(client, book("order", roots[0], correlation_id=id))
        stream.wait(1)
        for root in roots[1:]:
            client.execute(book("box", root, correlation_id=id))
        assert sorted(map(where, stream.wait(4)[1:])) == sorted(("box", root, 0) for root in roots[1:])
        stream.cancel()


def test_the_first_stream_of_a_process_misses_nothing(make_system, logic):
    """Nobody has listened before: where the topics end must be known before the command is sent."""
    domains = {f"d{i}": logic.address for i in range(4)}
    system = make_system(domains, partitions=24).up()
    client, id = system.client(), correlation()
    stream = execute_stream(client, book("d0", new_root(), correlation_id=id))
    stream.wait(1)
    for domain in domains:
        client.execute(book(domain, new_root(), correlation_id=id))
    assert {b.cover.domain for b in stream.wait(5)[1:]} == set(domains)
    stream.cancel()


def test_the_first_message_is_the_commands_own_book_once(client):
    id, root = correlation(), new_root()
    client.execute(book("order", root, n=2, correlation_id=id))
    stream = execute_stream(client, book("order", root, sequence=2, n=3, correlation_id=id))
    [own] = stream.wait(1)
    assert where(own) == ("order", root, 2, 3, 4)
    assert (own.next_sequence, own.cover.correlation_id) == (5, id)
    assert stream.ended() == "OK"
    assert len(stream.messages) == 1, "nothing came after it, and it came once"


def test_each_later_book_of_that_correlation_id_from_any_domain(client):
    id, root, other = correlation(), new_root(), new_root()
    stream = execute_stream(client, book("order", root, correlation_id=id))
    stream.wait(1)
    client.execute(book("box", other, n=2, correlation_id=id))
    client.execute(book("order", root, sequence=1, correlation_id=correlation()))
    client.execute(book("order", root, sequence=2, correlation_id=id))
    client.execute(book("box", other, sequence=2, correlation_id=id))
    got = stream.wait(4)[1:]
    assert sorted(map(where, got)) == sorted([("box", other, 0, 1), ("order", root, 2), ("box", other, 2)])
    assert [numbers(b) for b in got if b.cover.domain == "box"] == [[0, 1], [2]], "in the order of the aggregate"
    assert all(b.next_sequence == b.pages[-1].num + 1 for b in got)
    assert stream.ended() == "OK" and len(stream.messages) == 4


def test_without_a_correlation_id_the_one_it_is_given(client):
    root = new_root()
    stream = execute_stream(client, book("order", root))
    [own] = stream.wait(1)
    client.execute(book("box", new_root(), correlation_id=own.cover.correlation_id))
    assert stream.wait(2)[1].cover.domain == "box"
    stream.cancel()


@pytest.mark.alone
def test_it_ends_after_the_time_without_an_event(client):
    id, root = correlation(), new_root()
    began = time.monotonic()
    stream = execute_stream(client, book("order", root, correlation_id=id))
    stream.wait(1)
    pause = SILENCE * SCALE * 0.6
    for i in range(3):  # each one in time: it goes on, longer than the silence it takes
        until = time.monotonic() + pause
        eventually(lambda: time.monotonic() > until, pause + 1, what="a pause")
        client.execute(book("order", root, sequence=1 + i, correlation_id=id))
    stream.wait(4)
    last = time.monotonic()
    assert stream.ended() == "OK"
    assert time.monotonic() - began > SILENCE * SCALE * 2 and time.monotonic() - last > SILENCE * SCALE * 0.7


def test_it_ends_at_the_count(client):
    id, root = correlation(), new_root()
    stream = client.stream(COUNT, pb.ExecuteStreamCountRequest(command=book("order", root, correlation_id=id), count=3))
    stream.wait(1)
    for i in range(1, 5):
        client.execute(book("order", root, sequence=i, correlation_id=id))
    assert stream.ended() == "OK"
    assert [numbers(b) for b in stream.messages] == [[0], [1], [2]]


@pytest.mark.alone
def test_count_0_is_no_limit_and_1_the_own_book(client):
    id, root = correlation(), new_root()
    one = client.stream(COUNT, pb.ExecuteStreamCountRequest(command=book("order", root, correlation_id=id), count=1))
    assert one.ended(SILENCE * 0.5) == "OK" and [where(b) for b in one.messages] == [("order", root, 0)]
    stream = client.stream(COUNT, pb.ExecuteStreamCountRequest(command=book("order", root, sequence=1, correlation_id=id)))
    stream.wait(1)
    for i in range(2, 12):
        client.execute(book("order", root, sequence=i, correlation_id=id))
    assert [numbers(b)[0] for b in stream.wait(11)] == list(range(1, 12))
    stream.cancel()


@pytest.mark.alone
def test_it_ends_at_the_time(client):
    id, root = correlation(), new_root()
    began = time.monotonic()
    request = pb.ExecuteStreamTimeRequest(command=book("order", root, correlation_id=id), timeout_ms=int(SILENCE * SCALE * 500))
    stream = client.stream(TIME, request)
    stream.wait(1)
    client.execute(book("order", root, sequence=1, correlation_id=id))
    assert stream.ended() == "OK"
    took = time.monotonic() - began
    assert SILENCE * SCALE * 0.45 < took < SILENCE * SCALE * 0.95, took
    assert [numbers(b) for b in stream.messages] == [[0], [1]]


def test_a_command_that_takes_longer_than_the_time_still_has_its_own_book(client):
    id, root = correlation(), new_root()
    command = book("order", root, what="hang", n=600, correlation_id=id)
    stream = client.stream(TIME, pb.ExecuteStreamTimeRequest(command=command, timeout_ms=100))
    assert stream.ended() == "OK" and [where(b) for b in stream.messages] == [("order", root, 0)]


def test_it_ends_when_the_client_goes(client, logic):
    """The command of a client that goes is not undone, and who comes back finds what it did."""
    id, root = correlation(), new_root()
    stream = execute_stream(client, book("order", root, correlation_id=id))
    stream.wait(1)
    assert stream.cancel() == "CANCELLED"
    before = new_root()
    going = execute_stream(client, book("order", before, what="hang", n=300, id=uuid.uuid4().hex, correlation_id=id))
    going.begun()
    going.cancel()
    eventually(lambda: client.event_book("order", root).next_sequence == 1, what="its event")


def test_a_failed_command_ends_the_stream_with_its_status(client):
    root = new_root()
    for path, request in ((EXECUTE, lambda c: c), (COUNT, lambda c: pb.ExecuteStreamCountRequest(command=c, count=2)),
                          (TIME, lambda c: pb.ExecuteStreamTimeRequest(command=c, timeout_ms=1000))):
        stream = client.stream(path, request(book("order", root, what="refuse", n=10, text="not today")))
        assert (stream.ended(), stream.text, stream.messages) == ("ABORTED", "not today", [])
        stream = client.stream(path, request(book("order", root, sequence=7)))
        assert stream.ended() == "FAILED_PRECONDITION" and "Sequence mismatch" in stream.text and stream.messages == []
        assert dict(stream.call.trailing_metadata())["angzarr-event-book-bin"]


def test_an_invalid_command_is_refused_like_any_other(client):
    stream = execute_stream(client, pb.CommandBook())
    assert (stream.ended(), stream.text) == ("INVALID_ARGUMENT", "CommandBook must have a cover")
    assert execute_stream(client, book("nosuch", new_root())).ended() == "NOT_FOUND"
    assert client.stream(COUNT, pb.ExecuteStreamCountRequest(count=1)).ended() == "INVALID_ARGUMENT"
    assert client.stream(TIME, pb.ExecuteStreamTimeRequest(timeout_ms=1)).ended() == "INVALID_ARGUMENT"
    negative = pb.ExecuteStreamCountRequest(command=book("order", new_root()), count=-1)
    stream = client.stream(COUNT, negative)
    assert stream.ended() == "INVALID_ARGUMENT" and "count" in stream.text
    assert client.event_book("order", negative.command.cover.root.value).next_sequence == 0


def test_the_same_idempotency_key_has_the_first_result_as_its_own_book(client, logic):
    id, root, key, do = correlation(), new_root(), uuid.uuid4().hex, uuid.uuid4().hex
    for _ in range(2):
        stream = execute_stream(client, book("order", root, id=do, correlation_id=id), key=key)
        assert where(stream.wait(1)[0]) == ("order", root, 0)
        client.execute(book("box", new_root(), correlation_id=id))
        assert stream.wait(2)[1].cover.domain == "box"
        stream.cancel()
    assert logic.calls.of(do) == 1


def test_a_command_without_events_has_a_book_without_pages(client):
    root = new_root()
    stream = execute_stream(client, book("order", root, what="none"))
    [own] = stream.wait(1)
    assert (own.cover.root.value, len(own.pages), own.next_sequence) == (root, 0, 0)
    stream.cancel()


# ---- Subscribe

def test_subscribe_without_an_id_is_invalid(client):
    stream = client.subscribe("")
    assert stream.ended() == "INVALID_ARGUMENT" and "correlation_id" in stream.text
    assert client.subscribe("no spaces").ended() == "INVALID_ARGUMENT"
    assert client.subscribe("x" * 129).ended() == "INVALID_ARGUMENT"


def test_subscribe_has_every_book_of_its_id_from_the_time_it_began(client):
    id, root = correlation(), new_root()
    client.execute(book("order", root, correlation_id=correlation()))
    streams = [client.subscribe(id).begun() for _ in range(3)]
    stranger = client.subscribe(correlation()).begun()
    for i in range(1, 21):
        client.execute(book("order", root, sequence=i, correlation_id=id))
    for stream in streams:
        assert [numbers(b) for b in stream.wait(20)] == [[i] for i in range(1, 21)]
        assert all(b.next_sequence == b.pages[-1].num + 1 and b.cover.correlation_id == id for b in stream.messages)
        assert stream.cancel() == "CANCELLED"
    assert stranger.messages == []
    stranger.cancel()


def test_a_subscription_does_not_end_by_itself(client):
    id, root = correlation(), new_root()
    stream = client.subscribe(id).begun()
    until = time.monotonic() + SILENCE * SCALE * 1.5
    eventually(lambda: time.monotonic() > until, 60, what="longer than an ExecuteStream lasts")
    client.execute(book("order", root, correlation_id=id))
    assert where(stream.wait(1)[0]) == ("order", root, 0)
    stream.cancel()


def test_a_book_of_several_records_is_several_messages(client):
    id, root = correlation(), new_root()
    stream = client.subscribe(id).begun()
    client.execute(book("order", root, n=4, data=bytes(200_000), correlation_id=id))
    eventually(lambda: sum(len(b.pages) for b in stream.messages) == 4, what="all pages")
    assert [n for b in stream.messages for n in numbers(b)] == [0, 1, 2, 3]
    stream.cancel()


def test_many_at_once(client):
    def one():
        id, root = correlation(), new_root()
        stream = client.stream(COUNT, pb.ExecuteStreamCountRequest(command=book("order", root, correlation_id=id), count=4))
        stream.wait(1)
        for i in range(1, 4):
            client.execute(book("order", root, sequence=i, correlation_id=id))
        return stream.ended(), [where(b) for b in stream.messages] == [("order", root, i) for i in range(4)]
    assert all(job.result() == ("OK", True) for job in [in_thread(one) for _ in range(20)])


@pytest.mark.alone
def test_streams_end_when_the_process_stops(make_system, logic):
    system = make_system({"order": logic.address}).up()
    client = system.client()
    streams = [client.subscribe(correlation()).begun(), client.synchronize(client.query("order", new_root())).begun(),
               execute_stream(client, book("order", new_root())).begun()]
    streams[2].wait(1)
    began = time.monotonic()
    assert system.worker.terminate() == 0
    assert [s.ended() for s in streams] == ["UNAVAILABLE"] * 3
    assert time.monotonic() - began < 6 * SCALE, "nobody waits for streams that have no end"
