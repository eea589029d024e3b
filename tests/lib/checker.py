"""The outside reader: what is in the log, read without the program's own code, and whether it keeps the promises.

    KafkaReader     confluent-kafka, read_committed, the records of <prefix><domain>.events
    EmbeddedReader  GetEvents over gRPC: one process owns the embedded log, nobody else can open it
"""

import collections
import dataclasses
import re
import time
import uuid

from lib import wire
from lib.api import pb
from lib.client import Client

KEY = re.compile(r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(@[a-z_][a-z0-9_-]*)?/(\d{10})")


@dataclasses.dataclass
class Stored:
    """One record of the events topic."""
    root: bytes
    edition: str
    value: bytes               # the encoded EventBook
    key: str = ""              # Kafka only, as are the following
    headers: dict = dataclasses.field(default_factory=dict)
    partition: int = 0
    offset: int = 0

    @property
    def pages(self):
        return wire.pages(self.value)

    def numbers(self):
        return [pb.EventPage.FromString(p).num for p in self.pages]

    def dones(self):
        return [pb.test.Done.FromString(pb.EventPage.FromString(p).event.value) for p in self.pages]


def read_topic(bootstrap, topic, isolation="read_committed", timeout=30):
    """Every record of a topic up to its present end, by partition and offset (confluent_kafka.Message)."""
    from confluent_kafka import Consumer, KafkaError, TopicPartition
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"reader-{uuid.uuid4().hex}", "isolation.level": isolation,
                         "enable.auto.commit": False, "enable.partition.eof": True, "auto.offset.reset": "earliest",
                         "fetch.wait.max.ms": 20})
    try:
        partitions = consumer.list_topics(topic, timeout=timeout).topics[topic].partitions
        assert partitions, f"no topic {topic}"
        consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
        out, ended = [], set()
        until = time.monotonic() + timeout
        while len(ended) < len(partitions):
            batch = consumer.consume(1000, 0.05)  # waits for all 1,000, or this long
            if batch:
                until = time.monotonic() + timeout
            assert time.monotonic() < until, f"{topic}: nothing came for {timeout} s"
            for message in batch:
                if message.error() is None:
                    out.append(message)
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
                else:
                    raise AssertionError(f"{topic}: {message.error()}")
        return sorted(out, key=lambda m: (m.partition(), m.offset()))
    finally:
        consumer.close()


def headers(message):
    return {k: v.decode() for k, v in message.headers() or ()}


class KafkaReader:
    def __init__(self, bootstrap, prefix):
        self.bootstrap, self.prefix = bootstrap, prefix

    def stored(self, domain, roots=None):
        """The domain's records in log order; roots is not needed here."""
        out = []
        for m in read_topic(self.bootstrap, f"{self.prefix}{domain}.events"):
            key = m.key().decode()
            if key.startswith("!") or m.value() is None:
                continue
            match = KEY.fullmatch(key)
            assert match, f"key {key!r} is not <root>/<10 digits>"
            assert "input" in headers(m), f"{key}: no input header: {headers(m)}"
            record = Stored(uuid.UUID(match[1]).bytes, (match[2] or "@")[1:], m.value(), key, headers(m), m.partition(), m.offset())
            assert record.numbers()[:1] == [int(match[3])], f"key {key} holds events {record.numbers()}"
            cover = pb.EventBook.FromString(m.value()).cover
            assert cover.root.value == record.root and cover.domain == domain, f"{key} holds the cover {cover}"
            out.append(record)
        return out


class EmbeddedReader:
    def __init__(self, address):
        self.address = address

    def stored(self, domain, roots):
        client = Client(self.address)
        try:
            out = []
            for root in roots:
                query = client.query(domain, root).SerializeToString()
                for book in client.raw("/angzarr.EventQuery/GetEvents", query, timeout=60, stream=True, wait_for_ready=True):
                    if wire.pages(book):
                        out.append(Stored(root, "", book))
            return out
        finally:
            client.close()


@dataclasses.dataclass
class Sent:
    """A command that a client sent and what became of it: outcome is "ok", "refused" or "open"."""
    id: str
    root: bytes
    events: int
    outcome: str
    numbers: tuple = ()  # of its events, when ok


def gaps(records):
    """Each root's sequences are 0, 1, 2, … in log order.  Returns what is wrong, as text."""
    wrong = []
    upcoming = collections.Counter()
    for record in records:
        for number in record.numbers():
            at = (record.root, record.edition)
            if number != upcoming[at]:
                wrong.append(f"{uuid.UUID(bytes=record.root)}: event {number} where {upcoming[at]} should be")
            upcoming[at] = number + 1
    return wrong


def compare(records, sent):
    """Holds what was answered against what is stored.  Returns what is wrong, as text: no gap, every acknowledged command there
    once with the numbers answered, a refused one not at all, an open one at most once, and nothing that nobody sent."""
    wrong = gaps(records)
    found = collections.defaultdict(list)  # id -> [(root, number, k)]
    for record in records:
        for number, done in zip(record.numbers(), record.dones()):
            found[done.id].append((record.root, number, done.k))
    known = set()
    for s in sent:
        known.add(s.id)
        at = found.get(s.id, [])
        once = [(s.root, at[0][1] + k, k) for k in range(s.events)] if at else []
        if at and at != once:
            wrong.append(f"{s.id} ({s.outcome}): stored as {[(str(uuid.UUID(bytes=r)), n, k) for r, n, k in at]}, sent {s.events} events")
        elif s.outcome == "ok" and not at:
            wrong.append(f"{s.id}: answered OK with {list(s.numbers)}, and is not in the log")
        elif s.outcome == "ok" and s.numbers and [n for _, n, _ in at] != list(s.numbers):
            wrong.append(f"{s.id}: answered OK with {list(s.numbers)}, stored as {[n for _, n, _ in at]}")
        elif s.outcome == "refused" and at:
            wrong.append(f"{s.id}: refused, and is in the log at {[n for _, n, _ in at]}")
    wrong += [f"{id}: in the log, and nobody sent it" for id in found if id not in known]
    return wrong


def agree(client, domain, records):
    """GetEventBook gives the very bytes that are stored, page by page.  Returns what differs, as text."""
    wrong = []
    by_root = collections.defaultdict(list)
    for record in records:
        if not record.edition:
            by_root[record.root] += record.pages
    for root, stored in by_root.items():
        answer = client.raw("/angzarr.EventQuery/GetEventBook", client.query(domain, root).SerializeToString())
        answered = wire.pages(answer)
        if answered != stored:
            wrong.append(f"{uuid.UUID(bytes=root)}: {len(stored)} pages stored, {len(answered)} answered, first difference at "
                         f"{next((i for i, (a, b) in enumerate(zip(stored, answered)) if a != b), min(len(stored), len(answered)))}")
        upcoming = pb.EventBook.FromString(answer).next_sequence
        if upcoming != len(stored):
            wrong.append(f"{uuid.UUID(bytes=root)}: next_sequence {upcoming}, {len(stored)} events are stored")
    return wrong


def no_complaint(wrong, limit=20):
    assert not wrong, f"{len(wrong)} violations:\n" + "\n".join(wrong[:limit])


def prove(system, client, domain, sent):
    """All of it at once."""
    records = system.reader().stored(domain, sorted({s.root for s in sent}))
    no_complaint(compare(records, sent))
    no_complaint(agree(client, domain, records))
    return records
