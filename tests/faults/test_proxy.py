"""The proxy itself, between a client and a broker made of a few lines."""

import contextlib
import socket
import struct
import threading
import time

import pytest

from lib.procs import NotInTime, eventually, free_ports
from lib.proxy import END_TXN, METADATA, PRODUCE, TXN_OFFSET_COMMIT, Proxy, Request

CLIENT_ID = b"lib"


def frame(api, correlation, body=b"", version=0):
    data = struct.pack(">hhih", api, version, correlation, len(CLIENT_ID)) + CLIENT_ID + body
    return struct.pack(">i", len(data)) + data


def nullable(text):
    return struct.pack(">h", len(text)) + text.encode()


def receive(sock, n):
    data = b""
    while len(data) < n:
        more = sock.recv(n - len(data))
        if not more:
            raise ConnectionError("closed")
        data += more
    return data


def receive_frame(sock):
    head = receive(sock, 4)
    return receive(sock, struct.unpack(">i", head)[0])


class FakeBroker:
    """Answers each request with its correlation id and `did <id>`; keeps what it saw."""

    def __init__(self):
        self.seen, self.ended = [], 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with contextlib.suppress(OSError), sock:
            while True:
                data = receive_frame(sock)
                request = Request("", 0, struct.pack(">i", len(data)) + data)
                self.seen.append(request.correlation)
                if request.answered:
                    text = f"did {request.correlation}".encode()
                    sock.sendall(struct.pack(">ii", 4 + len(text), request.correlation) + text)
        self.ended += 1

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # also wakes accept
        self.listener.close()


class Peer:
    """A client's connection."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=5)

    def send(self, *frames):
        self.sock.sendall(b"".join(frames))

    def answers(self, n=1):
        out = [receive_frame(self.sock) for _ in range(n)]
        return [struct.unpack_from(">i", data)[0] for data in out]

    def silent(self, seconds=0.2):
        self.sock.settimeout(seconds)
        try:
            return self.sock.recv(1) is None
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(5)

    def ended(self):
        try:
            return self.sock.recv(1) == b""
        except ConnectionError:
            return True


def ends_at_once(connect, *args):
    try:
        return connect(*args).ended()
    except ConnectionResetError:  # so soon that connecting itself says so
        return True


@pytest.fixture
def brokers():
    made = [FakeBroker(), FakeBroker()]
    yield made
    for broker in made:
        broker.close()


@pytest.fixture
def proxy(brokers):
    ports = iter(free_ports(4))
    made = Proxy({(client, i + 1): (next(ports), broker.port) for client in ("a", "b") for i, broker in enumerate(brokers)}).start()
    yield made
    made.close()


@pytest.fixture
def peer(proxy):
    made = []

    def connect(client="a", node=1):
        made.append(Peer(proxy.links[client, node].port))
        return made[-1]
    yield connect
    for p in made:
        p.sock.close()


@pytest.mark.parametrize("api, version, body, txn", [
    (METADATA, 9, b"\x02\x00", None),
    (END_TXN, 1, nullable("order-w0-0-1") + b"rest", "order-w0-0-1"),
    (END_TXN, 3, b"\0" + b"\x05ab-c" + b"rest", "ab-c"),
    (TXN_OFFSET_COMMIT, 3, b"\0" + bytes([201, 1]) + b"x" * 200 + b"rest", "x" * 200),
    (PRODUCE, 7, nullable("t") + struct.pack(">hi", -1, 1), "t"),
    (PRODUCE, 7, struct.pack(">hhi", -1, 1, 1), None),
    (PRODUCE, 9, b"\0" + b"\0" + struct.pack(">hi", 1, 1), None),
])
def test_a_request_says_what_it_is(api, version, body, txn):
    request = Request("a", 1, frame(api, 7, body, version))
    assert (request.api, request.version, request.correlation, request.client_id, request.txn) == (api, version, 7, "lib", txn)
    assert request.answered


def test_produce_without_acknowledgement_has_no_answer(brokers, peer):
    p = peer()
    p.send(frame(PRODUCE, 1, struct.pack(">hhi", -1, 0, 1), 7), frame(METADATA, 2))
    assert p.answers() == [2]
    assert brokers[0].seen == [1, 2]


def test_frames_arrive_whole_and_in_order_however_they_are_cut(brokers, peer):
    p = peer()
    data = b"".join(frame(METADATA, i, b"x" * (i * 37 % 5000)) for i in range(200))
    for at in range(0, len(data), 1777):
        p.send(data[at:at + 1777])
    assert p.answers(200) == list(range(200)) == brokers[0].seen


def test_a_large_frame_passes(brokers, peer):
    p = peer()
    p.send(frame(METADATA, 1, bytes(5_000_000)))
    assert p.answers() == [1]


def test_each_pair_of_client_and_node_is_its_own(brokers, proxy, peer):
    peers = {(c, n): peer(c, n) for c in "ab" for n in (1, 2)}
    proxy.cut("a", 2)
    assert peers["a", 2].ended() and ends_at_once(peer, "a", 2)
    for pair in (("a", 1), ("b", 1), ("b", 2)):
        peers[pair].send(frame(METADATA, 5))
        assert peers[pair].answers() == [5]
    assert proxy.connections("a") == 1 and proxy.connections("b") == 2


@pytest.mark.parametrize("match, hit", [
    ({"client": "a"}, True), ({"client": "b"}, False), ({"node": 1}, True), ({"node": 2}, False),
    ({"api": END_TXN}, True), ({"api": (METADATA, END_TXN)}, True), ({"api": METADATA}, False),
    ({"client_id": "^li"}, True), ({"client_id": "other"}, False), ({"txn": "w0-.-1$"}, True), ({"txn": "w1"}, False),
    ({"when": lambda r: r.version == 1}, True), ({"when": lambda r: False}, False), ({"skip": 1}, False), ({"times": 0}, False),
])
def test_what_a_rule_matches(proxy, peer, match, hit):
    rule = proxy.watch(**match)
    p = peer("a", 1)
    p.send(frame(END_TXN, 1, nullable("order-w0-0-1"), 1))
    assert p.answers() == [1] and rule.hits == hit
    if hit:
        assert rule.wait().txn == "order-w0-0-1"
    else:
        with pytest.raises(NotInTime):
            rule.wait(timeout=0.05)


def test_times_and_skip_count_matches(proxy, peer):
    rule = proxy.drop_answer(api=END_TXN, skip=1, times=2)
    p = peer()
    p.send(*[frame(END_TXN, i, nullable("t")) for i in range(5)])
    assert p.answers(3) == [0, 3, 4] and rule.hits == 2
    assert [r.correlation for r in rule.requests] == [1, 2]


def test_a_dropped_answer_is_of_a_request_that_was_done(brokers, proxy, peer):
    proxy.drop_answer(api=METADATA)
    p = peer()
    p.send(frame(METADATA, 1))
    eventually(lambda: brokers[0].seen == [1])
    assert p.silent()


@pytest.mark.parametrize("side", ["request", "answer"])
def test_a_delay(brokers, proxy, peer, side):
    (proxy.delay_request if side == "request" else proxy.delay_answer)(1000, times=1)
    p = peer()
    begun = time.monotonic()
    p.send(frame(METADATA, 1))
    if side == "answer":
        eventually(lambda: brokers[0].seen == [1])
    assert p.silent() and brokers[0].seen == ([] if side == "request" else [1])
    assert p.answers() == [1] and time.monotonic() - begun >= 1
    begun = time.monotonic()
    p.send(frame(METADATA, 2))
    assert p.answers() == [2] and time.monotonic() - begun < 0.9


def test_a_held_request_and_what_follows_it_wait_for_the_test(brokers, proxy, peer):
    rule = proxy.hold(api=END_TXN)
    p = peer()
    p.send(frame(METADATA, 1), frame(END_TXN, 2, nullable("t")), frame(METADATA, 3))
    rule.wait()
    assert p.answers() == [1] and p.silent() and brokers[0].seen == [1]
    rule.release()
    assert p.answers(2) == [2, 3]
    assert rule.held[0].answer()[8:] == b"did 2"
    p.send(frame(END_TXN, 4, nullable("t")))  # a released rule holds no more
    assert p.answers() == [4]


def test_a_held_request_is_delivered_when_its_client_has_gone(brokers, proxy, peer):
    rule = proxy.hold(api=END_TXN, times=1)
    first = peer()
    first.send(frame(END_TXN, 1, nullable("t")))
    rule.wait()
    first.sock.close()
    second = peer()
    second.send(frame(END_TXN, 2, nullable("t")))
    assert second.answers() == [2] and brokers[0].seen == [2]
    rule.release()
    assert rule.held[0].answer()[8:] == b"did 1"
    assert brokers[0].seen == [2, 1]
    eventually(lambda: brokers[0].ended == 1, 5, what="the connection of the one who left to end")


def test_a_held_request_survives_a_cut_and_a_removed_rule_holds_nothing(brokers, proxy, peer):
    rule = proxy.hold(api=END_TXN)
    p = peer()
    p.send(frame(END_TXN, 1, nullable("t")))
    rule.wait()
    proxy.cut("a")
    assert p.ended() and brokers[0].seen == []
    rule.remove()
    assert rule.held[0].answer()[8:] == b"did 1"


def test_a_held_request_whose_broker_dies_says_so(brokers, proxy, peer):
    rule = proxy.hold(api=END_TXN)
    p = peer()
    p.send(frame(END_TXN, 1, nullable("t")))
    rule.wait()
    proxy.call(lambda: [c.broker.transport.abort() for link in proxy.links.values() for c in link.connections])
    with pytest.raises(ConnectionError):
        rule.held[0].answer()
    assert p.ended()


@pytest.mark.parametrize("when, seen", [("before", []), ("after", [1])])
def test_a_cut_at_a_request(brokers, proxy, peer, when, seen):
    (proxy.cut_before if when == "before" else proxy.cut_after)(api=END_TXN, times=1)
    p = peer()
    p.send(frame(END_TXN, 1, nullable("t")))
    assert p.ended() and brokers[0].seen == seen
    again = peer()
    again.send(frame(END_TXN, 2, nullable("t")))
    assert again.answers() == [2]


def test_a_muted_connection_stays_and_says_nothing(brokers, proxy, peer):
    proxy.mute(api=END_TXN, times=1)
    p = peer()
    p.send(frame(END_TXN, 1, nullable("t")), frame(METADATA, 2))
    assert p.silent() and brokers[0].seen == []
    other = peer()
    other.send(frame(METADATA, 3))
    assert other.answers() == [3]


def test_frozen_nothing_passes_and_healed_it_does(brokers, proxy, peer):
    p = peer()
    p.send(frame(METADATA, 1))
    assert p.answers() == [1]
    proxy.freeze("a", 1)
    late = peer()  # accepted
    for q, n in ((p, 2), (late, 3)):
        q.send(frame(METADATA, n))
        assert q.silent()
    assert brokers[0].seen == [1]
    proxy.heal("a", 1)
    assert p.answers() == [2] and late.answers() == [3]


def test_refused_nobody_listens(brokers, proxy, peer):
    p = peer()
    proxy.refuse("a")
    assert p.ended()
    with pytest.raises(ConnectionRefusedError):
        peer()
    proxy.heal("a")
    q = peer()
    q.send(frame(METADATA, 1))
    assert q.answers() == [1]


def test_a_broker_that_is_away_ends_the_connection(brokers, proxy, peer):
    brokers[1].close()
    assert ends_at_once(peer, "a", 2)


def test_clear_undoes_all(brokers, proxy, peer):
    rule = proxy.hold(api=END_TXN)
    p = peer()
    p.send(frame(END_TXN, 1, nullable("t")))
    rule.wait()
    proxy.cut("b")
    proxy.clear()
    assert p.answers() == [1]
    q = peer("b")
    q.send(frame(END_TXN, 1, nullable("t")))
    assert q.answers() == [1]


def test_bootstrap_names_the_ports_of_one_client(proxy):
    assert proxy.bootstrap("a") == ",".join(f"127.0.0.1:{proxy.links['a', n].port}" for n in (1, 2))
