"""What the tests of the lane's rules need beside tests/lib: logic that waits for the test, records made by hand, a gateway made by hand."""

import asyncio
import contextlib
import threading
import time
import uuid

import grpc
from confluent_kafka import Producer
from google.protobuf import message_factory

from lib import checker, logic as logic_module
from lib.api import pack, pb, pool
from lib.client import OPEN, OPTIONS, Status, book, new_root
from lib.procs import SCALE, eventually


def text(root):
    return str(uuid.UUID(bytes=root))


def new_id():
    return uuid.uuid4().hex


# ---- which partition a root belongs to: murmur2 as the Java clients compute it, written once more

def murmur2(data):
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at:at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def partition_of(root, partitions):
    return (murmur2(text(root).encode()) & 0x7FFFFFFF) % partitions


def root_in(partition, partitions):
    while True:
        root = new_root()
        if partition_of(root, partitions) == partition:
            return root


# ---- business logic whose answers the test holds back

class GatedServer(logic_module.Server):
    def __init__(self, calls, contracts, gate):
        super().__init__(calls, contracts)
        self.gate, self.waiting = gate, 0

    async def _call(self, data, context, revocations):
        self.waiting += 1
        try:
            while not self.gate.is_set():
                await asyncio.sleep(0.002)
        finally:
            self.waiting -= 1
        return await super()._call(data, context, revocations)


class GatedLogic(logic_module.Logic):
    """Answers only while its gate is open; `waiting` calls stand before it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.gate = threading.Event()
        self.gate.set()

    def start(self):
        self.server = GatedServer(self.calls, self.contracts, self.gate)
        self._run(self.server.start(self.address))
        self.address = f"127.0.0.1:{self.server.port}"
        return self

    @property
    def waiting(self):
        return self.server.waiting

    def hold(self):
        self.gate.clear()

    def let_go(self):
        self.gate.set()


def still_waits(job, seconds):
    """The job is not done, and is not done this long."""
    job.join(seconds * SCALE)
    return job.is_alive()


# ---- records by hand

def put(broker, topic, key, value, partition, headers=()):
    """One record, into a partition of our choice."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "message.max.bytes": 4_000_000, "linger.ms": 0})
    failed = []
    producer.produce(topic, key=key, value=value, partition=partition, headers=list(headers),
                     on_delivery=lambda er, _: failed.append(er) if er else None)
    assert producer.flush(20) == 0 and not failed, failed


def next_of(client, root, domain="order"):
    """The root's next sequence; None while nobody serves it."""
    try:
        return client.event_book(domain, root, timeout=5).next_sequence
    except Status as e:
        assert e.name() in OPEN, e
        return None


def everything_before_is_done(broker, system, client, domain="order"):
    """Returns when each partition has processed what its inputs held when this was called: first commands, then what was forwarded."""
    for name in ("commands", "reactions"):
        roots = [root_in(p, system.partitions) for p in range(system.partitions)]
        for partition, root in enumerate(roots):
            put(broker, system.topic(f"{domain}.{name}"), text(root), book(domain, root).SerializeToString(), partition)
        for root in roots:
            eventually(lambda: next_of(client, root, domain) == 1, 30, what=f"the marker in {name}")


def events_of(broker, system, root, domain="order"):
    """[(partition, key, ids of its events)] of the root, in log order."""
    return [(r.partition, r.key, [d.id for d in r.dones()]) for r in system.reader().stored(domain) if r.root == root]


def dead_letter(broker, system, match, domain="order"):
    """Waits for a dead letter for which match(message, its headers) is true; returns both."""
    def found():
        for message in checker.read_topic(broker.bootstrap, system.topic(f"{domain}.dlq")):
            headers = checker.headers(message)
            if match(message, headers):
                return message, headers
        return None
    return eventually(found, 20, every=0.2, what="the dead letter")


def barriers(broker, system, domain="order"):
    """Barrier records in the events topic, seen without waiting for anybody's transaction."""
    return [m for m in checker.read_topic(broker.bootstrap, system.topic(f"{domain}.events"), isolation="read_uncommitted")
            if m.key().startswith(b"!owner/")]


@contextlib.contextmanager
def foreign_event(broker, system, root, number, id, domain="order"):
    """An event of the root, properly encoded, in a transaction of somebody else that is still open; yields its producer."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": f"foreign-{new_id()}", "transaction.timeout.ms": 60000})
    producer.init_transactions(20)
    producer.begin_transaction()
    value = pb.EventBook(cover=pb.Cover(root=pb.UUID(value=root), domain=domain))
    page = value.pages.add(num=number, event=pack(pb.test.Done(id=id)))
    page.created_at.GetCurrentTime()
    producer.produce(system.topic(f"{domain}.events"), key=f"{text(root)}/{number:010d}", value=value.SerializeToString(),
                     partition=partition_of(root, system.partitions), headers=[("command-id", id), ("input", "elsewhere/0/0")])
    assert producer.flush(20) == 0
    ended = False
    try:
        yield producer
        ended = True
    finally:
        if not ended:
            with contextlib.suppress(Exception):
                producer.abort_transaction(10)


# ---- a gateway by hand: what a worker answers to each copy of a command

def ext(name):
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"angzarr.ext.{name}"))


class HandGateway:
    def __init__(self, broker, system, worker_address, domain="order"):
        self.broker, self.system, self.domain = broker, system, domain
        self.id = f"by-hand-{new_id()}"
        self.address = worker_address
        self.answers = []
        self.attach()

    def attach(self):
        self.attached = False
        self.channel = grpc.insecure_channel(self.address, options=OPTIONS)
        request = ext("AttachRequest")(gateway_id=self.id).SerializeToString()
        self.stream = self.channel.unary_stream("/angzarr.ext.Worker/Attach")(request, wait_for_ready=True)
        threading.Thread(target=self._read, args=(self.stream,), daemon=True).start()
        eventually(lambda: self.attached, 20, what="the worker to say that we are attached")

    def _read(self, stream):
        with contextlib.suppress(grpc.RpcError):
            for data in stream:
                self.attached = True
                self.answers += ext("Answers").FromString(data).answers

    def close(self):
        self.stream.cancel()
        self.channel.close()

    def send(self, command, id, attempt, start_ms=None, expires_s=60):
        """One copy of a command into the log; start_ms: when its call began (now)."""
        now = int(time.time() * 1000)
        root = command.cover.root.value
        headers = {"command-id": id, "attempt": attempt, "start": start_ms or now, "deadline": now + expires_s * 1000, "reply-to": self.id}
        put(self.broker, self.system.topic(f"{self.domain}.commands"), text(root), command.SerializeToString(),
            partition_of(root, self.system.partitions), [(k, str(v)) for k, v in headers.items()])
        return now

    def answer(self, id, attempt, timeout=20):
        return eventually(lambda: next((a for a in self.answers if (a.command_id, a.attempt) == (id, attempt)), None), timeout,
                          what=f"the answer to copy {attempt} of {id}; there are {[(a.command_id, a.attempt) for a in self.answers]}")
