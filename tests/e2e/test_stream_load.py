"""Streams under load: many subscribers with slow ones among them, and Synchronize while owners go and come.

    ANGZARR_STREAM_EVENTS   events per subscriber (default 10; the long form is 300)
    ANGZARR_SYNC_ROOTS      aggregates that are synchronized (default 1000; the long form is 10000)
    ANGZARR_SYNC_COMMANDS   commands meanwhile (default 1500; the long form is 30000)
"""

import collections
import os
import time
import uuid

import grpc
import pytest
from confluent_kafka import Producer

from lib import checker
from lib.api import pack, pb
from lib.client import OPTIONS, Client, book, new_root, numbers
from lib.load import Load, root_of
from lib.procs import SCALE, eventually
from lib.subscribers import Subscribers
from rules_lib import partition_of, text

EVENTS = int(os.environ.get("ANGZARR_STREAM_EVENTS", "10"))
ROOTS = int(os.environ.get("ANGZARR_SYNC_ROOTS", "1000"))
COMMANDS = int(os.environ.get("ANGZARR_SYNC_COMMANDS", "1500"))
SUBSCRIBERS, SLOW, RATE = 1000, 20, 5000
BIG = 200_000  # bytes of an event for a slow subscriber

pytestmark = [pytest.mark.kafka_only, pytest.mark.alone]


def rss(pid):
    """MB"""
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def peak(pid):
    """MB: as much as it has ever taken"""
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmHWM"))


def cpu(pid):
    """seconds"""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def subscribe(tmp_path):
    made = []

    def start(*args):
        made.append(Subscribers(str(tmp_path), *args))
        return made[-1].start()
    yield start
    for subscribers in made:
        subscribers.close()


def event(root, number, id, size):
    cover = pb.Cover(root=pb.UUID(value=root), domain="order", correlation_id=id)
    page = pb.EventPage(num=number, event=pack(pb.test.Done(data=bytes(size))))
    return pb.EventBook(cover=cover, pages=[page]).SerializeToString()


def produce(system, prefix, transactional):
    """Rounds of one event for everybody, at RATE per second at most; returns the rate it came to."""
    producer = Producer({"bootstrap.servers": system.kafka.bootstrap, "linger.ms": 5, "message.max.bytes": 2_000_000,
                         **({"transactional.id": prefix} if transactional else {})})
    if transactional:
        producer.init_transactions(30)
    roots = [new_root() for _ in range(SUBSCRIBERS)]
    began, sent = time.monotonic(), 0
    for number in range(EVENTS):
        for first in range(0, SUBSCRIBERS, 250):
            while (wait := sent / RATE - (time.monotonic() - began)) > 0:
                producer.poll(wait)
            if transactional:
                producer.begin_transaction()
            for i in range(first, first + 250):
                id, root = f"{prefix}-{i}", roots[i]
                # Every other one is of a producer that knows nothing of our headers.
                producer.produce(system.topic("order.events"), key=f"{text(root)}/{number:010d}", partition=partition_of(root, system.partitions),
                                 value=event(root, number, id, BIG if i < SLOW else 200), headers={"correlation-id": id} if i % 2 else None)
            sent += 250
            if transactional:
                producer.commit_transaction(30)
    producer.flush(30)
    return sent / (time.monotonic() - began)


@pytest.mark.parametrize("transactional", [False, True], ids=["plain", "transactions"])
@pytest.mark.timeout(1800)
def test_a_thousand_subscribers_get_exactly_their_own(make_system, fast_logic, subscribe, transactional):
    system = make_system({"order": fast_logic.address}, partitions=4, two=True).up()
    prefix = "s" + uuid.uuid4().hex[:12]
    idle = rss(system.gateway.pid)
    subscribers = subscribe(system.address, SUBSCRIBERS, SLOW, prefix)
    open_ = rss(system.gateway.pid)
    used, began = cpu(system.gateway.pid), time.monotonic()
    rate = produce(system, prefix, transactional)
    subscribers.wait((SUBSCRIBERS - SLOW) * EVENTS, 120)
    most = peak(system.gateway.pid)
    used = (cpu(system.gateway.pid) - used) / (time.monotonic() - began)
    got = subscribers.finish()
    print(f"{rate:.0f} events/s, {EVENTS} each; gateway {idle:.0f} MB idle, {open_:.0f} MB with {SUBSCRIBERS} subscribers, {most:.0f} MB at "
          f"most, {rss(system.gateway.pid):.0f} MB after them, {used:.0%} of a core")
    for numbers_, code in got[SLOW:]:
        assert (numbers_, code) == (list(range(EVENTS)), "CANCELLED")
    for numbers_, code in got[:SLOW]:
        assert numbers_ == list(range(len(numbers_))) and len(numbers_) < EVENTS, f"{numbers_}"
        assert code == "RESOURCE_EXHAUSTED"
    assert most - open_ < 64 + 40, "what waits for slow callers is bounded by stream.memory"


def test_a_burst_does_not_cut_off_who_takes_what_he_is_sent(make_system, fast_logic):
    """Far more at once than may wait for a caller; one who takes nothing does not hold up the others for long."""
    n, size = 10000, 200
    system = make_system({"order": fast_logic.address}, partitions=4, two=True).up()
    clients = [system.client() for _ in range(3)]
    id, roots = "b" + uuid.uuid4().hex[:12], [new_root() for _ in range(100)]
    streams = [clients[0].follow("order").begun(), clients[1].follow().begun(), clients[2].subscribe(id).begun()]
    with grpc.insecure_channel(system.address, options=OPTIONS + [("grpc.http2.bdp_probe", 0)]) as channel:
        stuck = channel.unary_stream("/angzarr.EventStream/Subscribe")(pb.EventStreamFilter(correlation_id=id).SerializeToString())
        stuck.initial_metadata()
        # One transaction: all of them can be seen from one moment to the next.
        producer = Producer({"bootstrap.servers": system.kafka.bootstrap, "linger.ms": 20, "transactional.id": id})
        producer.init_transactions(30)
        producer.begin_transaction()
        for i in range(n):
            number, root = divmod(i, len(roots))
            producer.produce(system.topic("order.events"), key=f"{text(roots[root])}/{number:010d}", value=event(roots[root], number, id, size),
                             partition=partition_of(roots[root], system.partitions))
        producer.commit_transaction(60)
        began = time.monotonic()
        for stream in streams:
            stream.wait(n, 60)
        print(f"{n} events of {size} bytes at once: at all three callers {time.monotonic() - began:.1f} s later")
        for stream in streams:
            got = collections.defaultdict(list)
            for message in stream.messages:
                got[message.cover.root.value] += numbers(message)
            assert got == {root: list(range(n // len(roots))) for root in roots}
            assert stream.cancel() == "CANCELLED"
        with pytest.raises(grpc.RpcError) as e:
            collections.deque(stuck, maxlen=0)
        assert e.value.code().name == "RESOURCE_EXHAUSTED"


@pytest.fixture
def run_load(tmp_path):
    loads = []

    def run(system, roots):
        loads.append(Load(str(tmp_path), system.address, "order", clients=2, in_flight=64, roots=roots).start())
        return loads[-1]
    yield run
    for load in loads:
        load.close()


@pytest.mark.timeout(3600)
def test_synchronize_while_a_worker_is_killed_and_partitions_move(make_system, fast_logic, run_load):
    system = make_system({"order": fast_logic.address}, partitions=6, two=True, workers=2, stream=True).up()
    client = Client(system.stream_address)
    load = run_load(system, ROOTS)
    load.wait_ok(COMMANDS // 5, 120)
    idle = rss(system.stream.pid)
    began = time.monotonic()
    stream = client.synchronize(*(client.query("order", root_of(i)) for i in range(ROOTS)))
    stream.wait(1)
    first = time.monotonic() - began
    system.workers[0].kill()  # and its partitions move when its session is over
    load.wait_ok(COMMANDS // 5, 120)
    system.workers[0].up()
    load.wait_ok(COMMANDS // 5, 120)
    assert system.workers[1].terminate() == 0  # they move at once
    load.wait_ok(COMMANDS // 5, 120)
    system.workers[1].up()
    load.wait_ok(COMMANDS // 5, 120)
    sent = load.finish()
    records = checker.prove(system, system.client(), "order", sent)
    expected = collections.defaultdict(list)
    for record in records:
        expected[record.root] += record.numbers()
    total = sum(map(len, expected.values()))
    eventually(lambda: sum(len(m.pages) for m in list(stream.messages)) >= total or stream.code is not None, 60, every=0.2,
               what=f"{total} events at the caller, now {sum(len(m.pages) for m in list(stream.messages))}")
    got = collections.defaultdict(list)
    for message in stream.messages:
        got[message.cover.root.value] += numbers(message)
    print(f"{ROOTS} queries: the first message after {first * 1000:.0f} ms; {total} events, {len(stream.messages)} messages; stream process "
          f"{idle:.0f} MB before, {peak(system.stream.pid):.0f} MB at most")
    assert stream.code is None, f"{stream.code}: {stream.text}"
    assert got == expected, "nothing missing, nothing twice, in order"
    stream.cancel()
    client.close()


def test_the_role_stream_serves_streams_and_queries_alone(make_system, fast_logic):
    system = make_system({"order": fast_logic.address}, two=True, stream=True).up()
    client, streams = system.client(), Client(system.stream_address)
    assert streams.health() == "SERVING" == streams.health("angzarr.EventStream")
    id, root = uuid.uuid4().hex, new_root()
    subscription = streams.subscribe(id).begun()
    synchronized = streams.synchronize(client.query("order", root))
    client.execute(book("order", root, correlation_id=id))
    assert numbers(subscription.wait(1)[0]) == [0] == numbers(synchronized.wait(1)[0])
    assert streams.event_book("order", root).next_sequence == 1
    streams.refused("UNIMPLEMENTED", streams.execute, book("order", new_root()))
    assert system.stream.terminate() == 0
    assert (subscription.ended(), synchronized.ended()) == ("UNAVAILABLE", "UNAVAILABLE")
    streams.close()


def test_the_tail_costs_little_while_nobody_listens(make_system, fast_logic):
    """What an idle gateway does, before anybody has listened and while one does who hears nothing."""
    system = make_system({"order": fast_logic.address}, partitions=12, two=True).up()
    client = system.client()

    def share():
        used, began = cpu(system.gateway.pid), time.monotonic()
        eventually(lambda: time.monotonic() - began > 3, 10, what="a while")
        return (cpu(system.gateway.pid) - used) / (time.monotonic() - began)
    client.do("order", new_root())
    before = share(), rss(system.gateway.pid)
    began = time.monotonic()
    stream = client.subscribe("nobody").begun()
    opened = time.monotonic() - began
    after = share(), rss(system.gateway.pid)
    began = time.monotonic()
    client.subscribe("nobody-else").begun().cancel()
    again = time.monotonic() - began
    print(f"idle {before[0]:.1%} of a core, {before[1]:.0f} MB; with a subscriber {after[0]:.1%}, {after[1]:.0f} MB; opened in {opened * 1000:.0f} ms, "
          f"the next one in {again * 1000:.0f} ms")
    assert after[0] < before[0] + 0.05 and opened < 5 * SCALE
    stream.cancel()
