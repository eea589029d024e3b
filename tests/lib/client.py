"""A client of the gateway, as a user would write it with grpcio."""

import base64
import queue
import threading
import urllib.parse
import uuid

import grpc

from lib.api import TYPE_URL, pack, pb
from lib.procs import SCALE, eventually

DETAILS = "grpc-status-details-bin"
BOOK = "angzarr-event-book-bin"

PRINTABLE = "".join(map(chr, range(0x20, 0x7f))).replace("%", "")  # what gRPC does not escape in a message

OPEN = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED")  # done or not: send again with the same key

OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 5000), ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
]


def new_root():
    return uuid.uuid4().bytes


def book(domain, root, do=None, sequence=0, correlation_id="", edition="", **fields):
    """A CommandBook with one `Do`; fields are those of Do."""
    cover = pb.Cover(root=pb.UUID(value=root), domain=domain, correlation_id=correlation_id)
    if edition:
        cover.edition.name = edition
    page = pb.CommandPage(sequence=sequence, command=pack(do or pb.test.Do(**fields)))
    return pb.CommandBook(cover=cover, pages=[page])


def facts(domain, root, nums=(None,), correlation_id="", edition="", **fields):
    """An EventBook to be recorded, with a Done for each of nums: a number, None for none, "force"; fields are those of Done."""
    events = pb.EventBook(cover=pb.Cover(root=pb.UUID(value=root), domain=domain, correlation_id=correlation_id))
    if edition:
        events.cover.edition.name = edition
    for k, num in enumerate(nums):
        page = events.pages.add(event=pack(pb.test.Done(k=k, **fields)))
        if num == "force":
            page.force = True
        elif num is not None:
            page.num = num
    return events


def dones(book_or_response):
    """The Done events of an EventBook or a CommandResponse."""
    events = book_or_response.events if hasattr(book_or_response, "events") else book_or_response
    out = []
    for page in events.pages:
        assert page.event.type_url == TYPE_URL + "angzarr_test.Done", page.event.type_url
        out.append(pb.test.Done.FromString(page.event.value))
    return out


def numbers(book_or_response):
    events = book_or_response.events if hasattr(book_or_response, "events") else book_or_response
    return [page.num for page in events.pages]


class Status(Exception):
    """An rpc that did not end with OK."""

    def __init__(self, error):
        self.code = error.code()
        self.message = error.details() or ""
        self.trailers = {k: v for k, v in (error.trailing_metadata() or ())}
        super().__init__(f"{self.code.name}: {self.message}")

    def name(self):
        return self.code.name

    def status(self):
        """google.rpc.Status out of the trailers."""
        return pb.test.Status.FromString(self.trailers[DETAILS])

    def book(self):
        return pb.EventBook.FromString(self.trailers[BOOK])

    def wire_size(self):
        """Of message and trailers, as HTTP/2 counts them: name, value (what ends in -bin is in base64) and 32 for each."""
        text = [("grpc-message", urllib.parse.quote(self.message, safe=PRINTABLE)), ("grpc-status", str(self.code.value[0]))]
        binary = [(k, v if isinstance(v, str) else base64.b64encode(v)) for k, v in self.trailers.items()]
        return sum(len(k) + len(v) + 32 for k, v in text + binary)


class Stream:
    """A call whose messages are read as they come; `messages` has what came so far."""

    def __init__(self, call, answer, feed=None):
        self.call, self.feed, self.messages = call, feed, []
        self.code = self.text = None  # how it ended
        self._answer = answer
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        try:
            for message in self.call:
                self.messages.append(self._answer.FromString(message))
        except grpc.RpcError:
            pass
        self.code, self.text = self.call.code().name, self.call.details() or ""

    def begun(self):
        """Waits until the server says that it has begun: what happens from now on is heard."""
        self.call.initial_metadata()
        return self

    def send(self, *messages):
        for message in messages:
            self.feed.put(message.SerializeToString())

    def half_close(self):
        self.feed.put(None)

    def wait(self, n, timeout=30):
        """Until there are n messages; returns them."""
        eventually(lambda: len(self.messages) >= n or self.code is not None, timeout, what=f"{n} messages, {len(self.messages)} so far")
        assert len(self.messages) >= n, f"ended with {self.code}: {self.text} after {len(self.messages)} messages of {n}"
        return self.messages

    def ended(self, timeout=30):
        """Waits for the end; returns its code."""
        eventually(lambda: self.code is not None, timeout, what=f"the end of the stream, {len(self.messages)} messages so far")
        return self.code

    def cancel(self):
        self.call.cancel()
        return self.ended()


class Client:
    def __init__(self, address):
        self.address = address
        self.channel = grpc.insecure_channel(address, options=OPTIONS)
        self._methods = {}

    def close(self):
        self.channel.close()

    def raw(self, path, data, timeout=30, metadata=(), wait_for_ready=False, stream=False):
        """One call with bytes in and bytes out (stream: a list of bytes); raises Status."""
        make = self.channel.unary_stream if stream else self.channel.unary_unary
        method = self._methods.setdefault((path, stream), make(path))
        try:
            answer = method(data, timeout=None if timeout is None else timeout * SCALE, metadata=metadata, wait_for_ready=wait_for_ready)
            return list(answer) if stream else answer
        except grpc.RpcError as e:
            raise Status(e) from None

    def call(self, path, request, answer, **options):
        out = self.raw(path, request.SerializeToString(), **options)
        return [answer.FromString(o) for o in out] if options.get("stream") else answer.FromString(out)

    def stream(self, path, request, answer=pb.EventBook, timeout=None, metadata=()):
        """A server stream, read as it comes."""
        return Stream(self.channel.unary_stream(path)(request.SerializeToString(), timeout=timeout, metadata=metadata), answer)

    def subscribe(self, correlation_id):
        return self.stream("/angzarr.EventStream/Subscribe", pb.EventStreamFilter(correlation_id=correlation_id))

    def follow(self, domain="", root=None, correlation_id="", edition=""):
        """What Follow tells from now on."""
        request = pb.ext.FollowRequest(domain=domain, correlation_id=correlation_id, edition=edition)
        if root is not None:
            request.root.value = root
        return self.stream("/angzarr.ext.EventTail/Follow", request)

    def synchronize(self, *queries):
        feed = queue.SimpleQueue()
        call = self.channel.stream_stream("/angzarr.EventQuery/Synchronize")(iter(feed.get, None))
        stream = Stream(call, pb.EventBook, feed)
        stream.send(*queries)
        return stream

    def execute(self, command, key=None, path="/angzarr.CommandGateway/Execute", **options):
        if key is not None:
            options["metadata"] = (*options.get("metadata", ()), ("idempotency-key", key))
        return self.call(path, command, pb.CommandResponse, **options)

    def do(self, domain, root, sequence=0, key=None, timeout=30, **fields):
        """Execute one Do."""
        return self.execute(book(domain, root, sequence=sequence, **fields), key=key, timeout=timeout)

    def record(self, events, key=None, **options):
        """Record of an EventBook."""
        return self.execute(events, key=key, path="/angzarr.BusinessCoordinator/Record", **options)

    def tell(self, domain, root, nums=(None,), key=None, timeout=30, **fields):
        """Record facts."""
        return self.record(facts(domain, root, nums, **fields), key=key, timeout=timeout)

    def refused(self, code, fn, *args, **kwargs):
        """Calls fn, which must end with this status; returns it."""
        try:
            answer = fn(*args, **kwargs)
        except Status as e:
            assert e.name() == code, f"expected {code}, got {e}"
            return e
        raise AssertionError(f"expected {code}, got an answer: {answer}")

    def refused_open(self, fn, *args, **kwargs):
        """Calls fn, which must end with a status that leaves it open; returns it."""
        try:
            answer = fn(*args, **kwargs)
        except Status as e:
            assert e.name() in OPEN, f"expected one of {OPEN}, got {e}"
            return e
        raise AssertionError(f"expected one of {OPEN}, got an answer: {answer}")

    def query(self, domain, root, **selection):
        return pb.Query(cover=pb.Cover(domain=domain, root=pb.UUID(value=root)), **selection)

    def event_book(self, domain, root, timeout=30, **selection):
        return self.call("/angzarr.EventQuery/GetEventBook", self.query(domain, root, **selection), pb.EventBook, timeout=timeout)

    def events(self, domain, root, timeout=30, **selection):
        return self.call("/angzarr.EventQuery/GetEvents", self.query(domain, root, **selection), pb.EventBook, timeout=timeout, stream=True)

    def health(self, service="", timeout=5):
        answer = self.call("/grpc.health.v1.Health/Check", pb.health.HealthCheckRequest(service=service), pb.health.HealthCheckResponse,
                           timeout=timeout)
        return {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}[answer.status]
