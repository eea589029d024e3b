"""EventTail.Follow: live events of a domain, of all of them, or of a part."""

import contextlib
import uuid

import grpc
import pytest

from lib import angzarr
from lib.api import pack, pb
from lib.client import OPTIONS, Client, book, new_root, numbers
from lib.metrics import Scrape
from lib.procs import eventually, in_thread
from rules_lib import partition_of, put, root_in, text

FOLLOW = "/angzarr.ext.EventTail/Follow"
DOMAINS = ("order", "box", "cart")


@pytest.fixture(scope="module")
def system(log, logic):
    """Three domains of three partitions; on Kafka a gateway, two workers, and a process of the role `stream`, which is the one that is asked."""
    apart = {"two": True, "workers": 2, "stream": True} if log != "embedded" else {}
    system = angzarr.System(log, {d: logic.address for d in DOMAINS}, partitions=3, **apart)
    try:
        yield system.up()
    finally:
        system.close()


def streams_of(system):
    """Address and HTTP address of the process that is asked."""
    return (system.address, system.http) if system.embedded else (system.stream_address, system.config["stream"]["http"])


@pytest.fixture
def tail(system):
    """A client of the process that is asked."""
    client = Client(streams_of(system)[0])
    yield client
    client.close()


def correlation():
    return "c-" + uuid.uuid4().hex


def by_aggregate(messages):
    """{(domain, root, edition): numbers, as they came}"""
    out = {}
    for m in messages:
        out.setdefault((m.cover.domain, m.cover.root.value, m.cover.edition.name), []).extend(numbers(m))
    return out


class Followers:
    """Streams beside one that follows everything.  What that one has heard was told to all of them; what is told later comes later."""

    def __init__(self, client, tail, filters):
        self.client = client
        self.all = tail.follow().begun()
        self.streams = {name: tail.follow(**fields).begun() for name, fields in filters.items()}
        self.expected = {}

    def do(self, domain, root, sequence=0, n=1, correlation_id="", edition=""):
        self.client.execute(book(domain, root, sequence=sequence, n=n, correlation_id=correlation_id, edition=edition))
        self.expected.setdefault((domain, root, edition), []).extend(range(sequence, sequence + n))

    def got(self, **marks):
        """{name: what came}; marks: for each stream a command book whose event it has to be told of."""
        eventually(lambda: by_aggregate(self.all.messages) == self.expected, what="everything at the stream that follows everything")
        roots = {mark.cover.root.value for mark in marks.values()}
        out = {}
        for name, stream in self.streams.items():
            self.client.execute(marks[name])
            root = marks[name].cover.root.value
            eventually(lambda: any(m.cover.root.value == root for m in stream.messages) or stream.code, what=f"the mark of {name}")
            assert stream.code is None, f"{stream.code}: {stream.text}"
            out[name] = by_aggregate(m for m in stream.messages if m.cover.root.value not in roots)
        return out

    def close(self):
        for stream in (self.all, *self.streams.values()):
            stream.cancel()

    def wanted(self, wants):
        return {key: list(numbers) for key, numbers in self.expected.items() if wants(*key)}


@pytest.fixture
def follow(client, tail):
    made = []

    def start(**filters):
        made.append(Followers(client, tail, filters))
        return made[-1]
    yield start
    for followers in made:
        followers.close()


# ---- what is told

def test_one_domain_and_nothing_of_another(follow):
    followers = follow(order={"domain": "order"}, box={"domain": "box"})
    for _ in range(5):
        for domain in DOMAINS:
            root = new_root()
            followers.do(domain, root, n=2)
            followers.do(domain, root, 2)
    got = followers.got(order=book("order", new_root()), box=book("box", new_root()))
    for domain in ("order", "box"):
        assert got[domain] == followers.wanted(lambda d, root, edition: d == domain) and len(got[domain]) == 5


def test_a_root_in_whatever_domain(follow):
    root, other = new_root(), new_root()
    followers = follow(anywhere={"root": root}, here={"domain": "box", "root": root})
    for sequence in range(3):
        for domain in DOMAINS:
            followers.do(domain, root, sequence)
            followers.do(domain, other, sequence)
    last = book("box", root, sequence=3)
    assert followers.got(anywhere=last, here=book("box", root, sequence=4)) == {"anywhere": {}, "here": {}}  # the marks are of this root, too
    expected = followers.wanted(lambda d, r, edition: r == root)
    expected["box", root, ""] += [3, 4]
    eventually(lambda: by_aggregate(followers.streams["anywhere"].messages) == expected)
    assert by_aggregate(followers.streams["here"].messages) == {("box", root, ""): [0, 1, 2, 3, 4]}


def test_a_correlation_id_in_one_domain(follow):
    id, another = correlation(), correlation()
    followers = follow(both={"domain": "box", "correlation_id": id}, id={"correlation_id": id})
    for domain in DOMAINS:
        root = new_root()
        followers.do(domain, root, 0, correlation_id=another)
        followers.do(domain, root, 1, n=2, correlation_id=id)
        followers.do(domain, root, 3, correlation_id=another)
    got = followers.got(both=book("box", new_root(), correlation_id=id), id=book("cart", new_root(), correlation_id=id))
    assert got["both"] == {key: [1, 2] for key in followers.expected if key[0] == "box"} and len(got["both"]) == 1
    assert got["id"] == {key: [1, 2] for key in followers.expected} and len(got["id"]) == 3


def test_an_edition_or_every_timeline(follow):
    root = new_root()
    followers = follow(draft={"domain": "order", "edition": "draft"}, every={"domain": "order"})
    for edition in ("", "draft", "other"):
        followers.do("order", root, n=2, edition=edition)
        followers.do("box", root, edition=edition)
    got = followers.got(draft=book("order", new_root(), edition="draft"), every=book("order", new_root()))
    assert got["draft"] == {("order", root, "draft"): [0, 1]}
    assert got["every"] == {("order", root, edition): [0, 1] for edition in ("", "draft", "other")}


def test_facts_and_each_stored_record_as_one_message(client, tail):
    root = new_root()
    stream = tail.follow("order", root).begun()
    client.tell("order", root, (None, None))
    client.do("order", root, 2, n=3)
    assert [numbers(b) for b in stream.wait(2)] == [[0, 1], [2, 3, 4]]
    assert [b.next_sequence for b in stream.messages] == [2, 5]
    assert all(p.HasField("created_at") for b in stream.messages for p in b.pages)
    stream.cancel()


def test_what_an_aggregate_does_comes_in_its_order(client, tail):
    stream = tail.follow("order").begun()
    roots = [new_root() for _ in range(8)]

    def write(root):
        for i in range(0, 60, 2):
            client.do("order", root, i, n=2)
    for job in [in_thread(write, root) for root in roots]:
        job.result(120)
    expected = {("order", root, ""): list(range(60)) for root in roots}
    eventually(lambda: sum(len(b.pages) for b in stream.messages) >= 60 * len(roots), what="all events")
    assert by_aggregate(stream.messages) == expected
    stream.cancel()


def test_nothing_is_missed_from_its_beginning_on(client, tail):
    for _ in range(20):
        root = new_root()
        client.do("cart", root, n=3)
        client.event_book("cart", root)
        stream = tail.follow("cart", root).begun()
        client.do("cart", root, 3)
        eventually(lambda: stream.messages and numbers(stream.messages[-1]) == [3], what="the event")
        assert by_aggregate(stream.messages)["cart", root, ""] in ([3], [0, 1, 2, 3]), "what was stored just before may come, too"
        stream.cancel()


def test_history_is_not_told(client, tail):
    roots = [new_root() for _ in range(6)]
    for root in roots:
        client.do("box", root, n=2)
    watch = tail.follow("box").begun()  # when it has heard of each partition, the tail is behind what was there before
    marks = [root_in(p, 3) for p in range(3)]
    for root in marks:
        client.do("box", root)
    eventually(lambda: {m.cover.root.value for m in watch.messages} >= set(marks), what="the tail to be at the end")
    stream = tail.follow("box").begun()
    for root in roots:
        client.do("box", root, 2)
    stream.wait(len(roots))
    assert by_aggregate(stream.messages) == {("box", root, ""): [2] for root in roots}
    stream.cancel(), watch.cancel()


@pytest.mark.kafka_only
def test_events_of_other_producers_are_told_and_what_is_none_is_left_out(system, broker, tail):
    id, root = correlation(), new_root()
    streams = [tail.follow("order", root).begun(), tail.follow("order", correlation_id=id).begun()]
    event = pb.EventBook(cover=pb.Cover(domain="order", root=pb.UUID(value=root), correlation_id=id),
                         pages=[pb.EventPage(num=0, event=pack(pb.test.Done(id="foreign")))])
    at = partition_of(root, system.partitions)
    for key, value in ((text(root), b"\xff\xff"), ("any", b"\x0a\x00"), ("!ours", event.SerializeToString()), ("any", event.SerializeToString())):
        put(broker, system.topic("order.events"), key, value, at)
    for stream in streams:
        assert by_aggregate(stream.wait(1)) == {("order", root, ""): [0]} and stream.messages[0].next_sequence == 1
        stream.cancel()


# ---- what is refused

def test_a_domain_that_nobody_knows(client, tail):
    stream = tail.follow("nosuch")
    assert stream.ended() == "NOT_FOUND"
    assert stream.text == client.refused("NOT_FOUND", client.event_book, "nosuch", new_root()).message


@pytest.mark.parametrize("fields, field", [
    ({"root": b"short"}, "root"), ({"root": b""}, "root"), ({"root": bytes(17)}, "root"), ({"correlation_id": "no spaces"}, "correlation_id"),
    ({"correlation_id": "x" * 129}, "correlation_id"), ({"domain": "Order"}, "domain"), ({"domain": "x" * 65}, "domain"),
    ({"edition": "a/b"}, "edition")])
def test_what_cannot_be(client, tail, fields, field):
    stream = tail.follow(**fields)
    assert stream.ended() == "INVALID_ARGUMENT" and field in stream.text
    command = book(fields.get("domain", "order"), fields.get("root", new_root()), correlation_id=fields.get("correlation_id", ""),
                   edition=fields.get("edition", ""))
    assert stream.text == client.refused("INVALID_ARGUMENT", client.execute, command).message


@pytest.mark.parametrize("data, says", [(b"\xff\xff", "FollowRequest"), (b"\x0a\x01a\x0a\x01b", "FollowRequest.domain: given twice"),
                                        (b"\x08\x01", "FollowRequest.domain"), (b"\x22\x01\xff", "FollowRequest.edition: invalid UTF-8")])
def test_what_is_no_request(tail, data, says):
    with pytest.raises(grpc.RpcError) as e:
        next(tail.channel.unary_stream(FOLLOW)(data))
    assert e.value.code().name == "INVALID_ARGUMENT" and says in e.value.details()


# ---- limits, metrics, ends

@pytest.mark.alone
def test_who_is_too_slow_is_cut_off_and_the_others_go_on(client, tail, system):
    n, roots = 40, [new_root() for _ in range(4)]
    fast = tail.follow("order").begun()
    with grpc.insecure_channel(streams_of(system)[0], options=OPTIONS + [("grpc.http2.bdp_probe", 0)]) as channel:
        slow = channel.unary_stream(FOLLOW)(pb.ext.FollowRequest(domain="order").SerializeToString())
        slow.initial_metadata()
        for job in [in_thread(lambda root=root: [client.do("order", root, i, data=bytes(50_000)) for i in range(n)]) for root in roots]:
            job.result(120)
        eventually(lambda: len(fast.messages) == n * len(roots), 60, what="everything at the one that is not slow")
        taken = []
        with contextlib.suppress(grpc.RpcError):
            for message in slow:
                taken.append(pb.EventBook.FromString(message))
        assert slow.code().name == "RESOURCE_EXHAUSTED" and "too slowly" in slow.details()
    assert by_aggregate(fast.messages) == {("order", root, ""): list(range(n)) for root in roots}
    assert len(taken) < n * len(roots)
    for numbers_ in by_aggregate(taken).values():
        assert numbers_ == list(range(len(numbers_))), "no gap before the end"
    fast.cancel()


def test_it_is_counted(system, tail):
    http = streams_of(system)[1]

    def count(code):
        return Scrape(http).sum("angzarr_rpc_duration_seconds_count", method=FOLLOW, code=code)
    before = {code: count(code) for code in ("CANCELLED", "NOT_FOUND")}
    tail.follow("order").begun().cancel()
    tail.follow("nosuch").ended()
    eventually(lambda: {code: count(code) - before[code] for code in before} == {"CANCELLED": 1, "NOT_FOUND": 1}, 10, what="both to be counted")


@pytest.mark.alone
def test_it_ends_when_the_process_stops(make_system, logic):
    system = make_system({"order": logic.address}).up()
    client = system.client()
    assert client.health("angzarr.ext.EventTail") == "SERVING"
    stream = client.follow("order").begun()
    assert system.worker.terminate() == 0
    assert stream.ended() == "UNAVAILABLE"
