"""Contract 10: Synchronize and GetAggregateRoots."""

import collections
import os
import time
import uuid

import pytest
from confluent_kafka import Producer
from google.protobuf import empty_pb2

from lib import angzarr
from lib.api import pack, pb
from lib.client import book, new_root, numbers
from lib.procs import SCALE, eventually, in_thread
from rules_lib import partition_of, text

ROOTS = "/angzarr.EventQuery/GetAggregateRoots"
SYNCHRONIZE = "/angzarr.EventQuery/Synchronize"


@pytest.fixture(scope="module")
def system(log, logic):
    """Three domains of three partitions, on Kafka with the gateway and two workers apart."""
    domains = {"order": logic.address, "box": logic.address, "cart": logic.address}
    two = log != "embedded"
    system = angzarr.System(log, domains, partitions=3, two=two, workers=2 if two else 1)
    try:
        yield system.up()
    finally:
        system.close()


def by_root(messages):
    """{(domain, root): numbers, as they came}"""
    out = collections.defaultdict(list)
    for message in messages:
        out[message.cover.domain, message.cover.root.value] += numbers(message)
    return dict(out)


def pages(messages):
    return sum(len(m.pages) for m in messages)


def wait_pages(stream, n, timeout=30):
    eventually(lambda: pages(stream.messages) >= n or stream.code is not None, timeout, what=f"{n} events, {pages(stream.messages)} so far")
    assert pages(stream.messages) >= n, f"{stream.code}: {stream.text}"
    return stream.messages


def correlated(id, domain=""):
    return pb.Query(cover=pb.Cover(domain=domain, correlation_id=id))


# ---- Synchronize

def test_history_first_then_live_without_gap_or_duplicate(client):
    root = new_root()
    for i in range(5):
        client.do("order", root, 2 * i, n=2)
    stream = client.synchronize(client.query("order", root))
    assert [numbers(b) for b in stream.wait(5)] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]], "a message per stored record"
    for i in range(10, 30):
        client.do("order", root, i)
    wait_pages(stream, 30)
    assert by_root(stream.messages) == {("order", root): list(range(30))}
    assert stream.messages[-1].next_sequence == 30
    assert stream.cancel() == "CANCELLED"


def test_each_query_while_the_events_come(client):
    """Queries are sent while their aggregates get events: whatever falls on the border is there once."""
    roots = [new_root() for _ in range(20)]

    def write(root):
        for i in range(25):
            client.do("order", root, i)
    writers = [in_thread(write, root) for root in roots]
    stream = client.synchronize()
    for root in roots:
        stream.send(client.query("order", root))
    for writer in writers:
        writer.result(120)
    wait_pages(stream, 25 * len(roots))
    assert by_root(stream.messages) == {("order", root): list(range(25)) for root in roots}
    stream.cancel()


def test_what_was_answered_before_the_query_is_in_it(client):
    for _ in range(50):
        root = new_root()
        client.do("box", root, n=3)
        stream = client.synchronize(client.query("box", root))
        assert numbers(stream.wait(1)[0]) == [0, 1, 2]
        stream.cancel()


def test_an_unknown_aggregate_is_live_from_its_first_event(client):
    root = new_root()
    stream = client.synchronize(client.query("order", root)).begun()
    client.do("order", root, n=2)
    client.do("order", root, 2)
    wait_pages(stream, 3)
    assert by_root(stream.messages) == {("order", root): [0, 1, 2]}
    stream.cancel()


@pytest.mark.kafka_only
def test_an_event_that_can_be_seen_but_is_not_in_its_owners_store_yet(make_system, fast_logic):
    """The log has it before the call begins, so it is not heard; the owner has it only when his commit is over."""
    system = make_system({"order": fast_logic.address}, two=True)
    system.worker.env["ANGZARR_STALL"] = f"after-commit:{int(2000 * SCALE)}"
    system.up()
    client, root = system.client(), new_root()
    job = in_thread(lambda: client.do("order", root))
    eventually(lambda: system.reader().stored("order"), what="the event in the log")
    stream = client.synchronize(client.query("order", root)).begun()
    assert numbers(stream.wait(1)[0]) == [0]
    job.result()
    client.do("order", root, 1)
    assert numbers(stream.wait(2)[1]) == [1] and len(stream.messages) == 2
    stream.cancel()


@pytest.mark.kafka_only
def test_events_of_other_producers_are_live_too(system, client):
    """Their owner does not have them: one that is out of turn is left out, and it goes on behind it."""
    producer, root = Producer({"bootstrap.servers": system.kafka.bootstrap}), new_root()

    def produce(number):
        event = pb.EventBook(cover=client.query("order", root).cover, pages=[pb.EventPage(num=number, event=pack(pb.test.Done()))])
        producer.produce(system.topic("order.events"), key=f"{text(root)}/{number:010d}", value=event.SerializeToString(),
                         partition=partition_of(root, system.partitions))
        assert producer.flush(10) == 0
    before = system.gateway.log().count("SYNC-FOREIGN")
    stream = client.synchronize(client.query("order", root))
    client.do("order", root)
    stream.wait(1)
    produce(1)
    stream.wait(2)
    produce(7)
    eventually(lambda: system.gateway.log().count("SYNC-FOREIGN") > before, what="the gateway to see that it has no owner")
    produce(8)
    assert [numbers(b)[0] for b in stream.wait(3)] == [0, 1, 8]
    stream.cancel()


def test_half_close_keeps_the_live_part_going(client):
    root = new_root()
    client.do("order", root)
    stream = client.synchronize(client.query("order", root))
    stream.half_close()
    stream.wait(1)
    for i in range(1, 6):
        client.do("order", root, i)
    assert [numbers(b) for b in stream.wait(6)] == [[i] for i in range(6)]
    assert stream.code is None
    assert stream.cancel() == "CANCELLED"


def test_half_close_without_a_query_ends_it(client):
    stream = client.synchronize()
    stream.half_close()
    assert stream.ended() == "OK"


@pytest.mark.parametrize("selection, history, live, over", [
    ({"range": pb.SequenceRange(lower=3)}, [3, 4], [5, 6, 7, 8, 9], False),
    ({"range": pb.SequenceRange(lower=3, upper=6)}, [3, 4], [5, 6], True),
    ({"range": pb.SequenceRange(lower=7)}, [], [7, 8, 9], False),
    ({"sequences": pb.SequenceSet(values=[8, 1, 5])}, [1], [5, 8], True),
    ({"temporal": pb.TemporalQuery(as_of_sequence=2)}, [0, 1, 2], [], True),
], ids=["from", "range", "later", "set", "as-of"])
def test_a_selection_holds_for_history_and_live(client, selection, history, live, over):
    root = new_root()
    client.do("order", root, n=5)
    stream = client.synchronize(client.query("order", root, **selection))
    stream.half_close()
    if history:
        wait_pages(stream, len(history))
    for i in range(5, 10):
        client.do("order", root, i)
    if over:  # nothing more can come of it
        assert stream.ended() == "OK"
    else:
        wait_pages(stream, len(history + live))
    assert by_root(stream.messages).get(("order", root), []) == history + live
    if not over:
        stream.cancel()


def test_a_correlation_id_over_all_domains(client):
    id, roots = "c-" + uuid.uuid4().hex, {d: [new_root() for _ in range(4)] for d in ("order", "box", "cart")}
    for domain, some in roots.items():
        for root in some:
            client.execute(book(domain, root, n=2, correlation_id=id))
            client.execute(book(domain, root, sequence=2, correlation_id="another"))
    stream = client.synchronize(correlated(id))
    one = client.synchronize(correlated(id, "box"))
    wait_pages(stream, 24)
    wait_pages(one, 8)
    more = new_root()
    for domain, some in roots.items():
        client.execute(book(domain, some[0], sequence=3, correlation_id=id))
        client.execute(book(domain, some[1], sequence=3, correlation_id="another"))
    client.execute(book("cart", more, correlation_id=id))
    wait_pages(stream, 28)
    wait_pages(one, 9)
    expected = {(d, r): [0, 1, 3] if i == 0 else [0, 1] for d, some in roots.items() for i, r in enumerate(some)}
    assert by_root(stream.messages) == expected | {("cart", more): [0]}
    assert by_root(one.messages) == {k: v for k, v in expected.items() if k[0] == "box"}
    assert pages(stream.messages[:-4]) == 24, "history first"
    stream.cancel(), one.cancel()


def test_a_correlation_id_while_its_events_come(client):
    id, domains = "c-" + uuid.uuid4().hex, ("order", "box", "cart")

    def write(domain):
        roots = [new_root() for _ in range(5)]
        for i in range(15):
            for root in roots:
                client.execute(book(domain, root, sequence=i, correlation_id=id))
        return {(domain, root): list(range(15)) for root in roots}
    writers = [in_thread(write, domain) for domain in domains]
    streams = []
    while any(w.is_alive() for w in writers):
        streams.append(client.synchronize(correlated(id)))
        streams[-1].begun()
        w = [w for w in writers if w.is_alive()]
        if w:
            w[0].join(0.05)
    expected = {}
    for writer in writers:
        expected |= writer.result(120)
    for stream in streams:
        wait_pages(stream, 15 * 15)
        assert by_root(stream.messages) == expected
        stream.cancel()


def test_the_same_query_twice_is_answered_twice(client):
    root = new_root()
    client.do("order", root)
    stream = client.synchronize(client.query("order", root), client.query("order", root))
    stream.wait(2)
    client.do("order", root, 1)
    assert sorted(numbers(b)[0] for b in stream.wait(4)) == [0, 0, 1, 1]
    stream.cancel()


def test_a_bad_query_ends_the_stream_with_its_status(client):
    good = client.query("order", new_root())
    for bad, code in ((pb.Query(), "INVALID_ARGUMENT"), (pb.Query(cover=pb.Cover(domain="order")), "INVALID_ARGUMENT"),
                      (pb.Query(cover=pb.Cover(domain="order", root=pb.UUID(value=bytes(3)))), "INVALID_ARGUMENT"),
                      (client.query("nosuch", new_root()), "NOT_FOUND")):
        stream = client.synchronize(good, bad)
        assert stream.ended() == code and stream.text
    stream = client.synchronize(good)
    stream.feed.put(b"\xff\xff")
    assert stream.ended() == "INVALID_ARGUMENT"


@pytest.mark.alone
def test_a_slow_caller_loses_nothing(system, client):
    """He takes nothing for a while, and far more than is held for him is written meanwhile."""
    size, n, roots = 100_000, 60, [new_root() for _ in range(4)]
    call = client.channel.stream_stream(SYNCHRONIZE)(iter([client.query("order", r).SerializeToString() for r in roots]))
    call.initial_metadata()
    before = rss(system.gateway)
    jobs = [in_thread(lambda root=root: [client.do("order", root, i, data=bytes(size)) for i in range(n)]) for root in roots]
    for job in jobs:
        job.result(120)
    grown = rss(system.gateway) - before
    got = []
    for message in call:
        got.append(pb.EventBook.FromString(message))
        if pages(got) == n * len(roots):
            break
    assert by_root(got) == {("order", root): list(range(n)) for root in roots}
    call.cancel()
    if not system.embedded:  # the worker's memory is not in it
        assert grown < 40, f"{grown} MB for {size * n * len(roots) // 1000000} MB that he did not take"


def rss(role):
    """MB"""
    with open(f"/proc/{role.pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // (1 << 20)


# ---- GetAggregateRoots

def get_roots(client, **options):
    return client.call(ROOTS, empty_pb2.Empty(), pb.AggregateRoot, stream=True, **options)


def test_every_aggregate_that_has_an_event_once_over_all_domains(client):
    before = {(r.domain, r.root.value) for r in get_roots(client)}
    made = set()
    for domain in ("order", "box", "cart"):
        for _ in range(40):
            root = new_root()
            client.do(domain, root)
            made.add((domain, root))
    for domain, root in list(made)[:20]:
        client.do(domain, root, 1, n=2)
    client.do("order", new_root(), what="none")
    found = [(r.domain, r.root.value) for r in get_roots(client)]
    assert len(found) == len(set(found)), "each once"
    assert set(found) == before | made


def test_roots_are_those_of_the_main_timeline(client):
    main, other = new_root(), new_root()
    client.execute(book("order", main))
    client.execute(book("order", main, edition="draft"))
    client.execute(book("order", other, edition="draft"))
    found = [r.root.value for r in get_roots(client)]
    assert found.count(main) == 1 and other not in found


def test_more_roots_than_a_page_holds(make_system, fast_logic):
    n = int(os.environ.get("ANGZARR_ROOTS", "2500"))
    system = make_system({"order": fast_logic.address, "none": fast_logic.address}, partitions=2).up()
    client = system.client()
    call = client.channel.unary_unary("/angzarr.CommandGateway/Execute")
    roots = [new_root() for _ in range(n)]
    for at in range(0, n, 500):
        for future in [call.future(book("order", r).SerializeToString(), timeout=60 * SCALE) for r in roots[at:at + 500]]:
            future.result()
    began = time.monotonic()
    found = [r.root.value for r in get_roots(client, timeout=120)]
    print(f"{n} roots in {time.monotonic() - began:.2f} s")
    assert sorted(found) == sorted(roots)
    slow = client.channel.unary_stream(ROOTS)(b"")
    first = pb.AggregateRoot.FromString(next(slow)).root.value
    more = [new_root() for _ in range(20)]  # what is written while he reads does not disturb it
    for root in more:
        client.do("order", root)
    rest = [pb.AggregateRoot.FromString(m).root.value for m in slow]
    assert len(rest) == len(set(rest)) and set(roots) <= {first, *rest} <= set(roots + more)


@pytest.mark.kafka_only
def test_roots_while_their_owner_goes(make_system, fast_logic):
    n = 3000
    system = make_system({"order": fast_logic.address}, partitions=4, two=True, workers=2).up()
    client = system.client()
    call = client.channel.unary_unary("/angzarr.CommandGateway/Execute")
    roots = [new_root() for _ in range(n)]
    for at in range(0, n, 500):
        for future in [call.future(book("order", r).SerializeToString(), timeout=60 * SCALE) for r in roots[at:at + 500]]:
            future.result()
    stream = client.channel.unary_stream(ROOTS)(b"", timeout=120 * SCALE)
    found = [pb.AggregateRoot.FromString(next(stream)).root.value]
    system.workers[0].kill()
    found += [pb.AggregateRoot.FromString(m).root.value for m in stream]
    assert len(found) == n and set(found) == set(roots)
    system.workers[0].up()
