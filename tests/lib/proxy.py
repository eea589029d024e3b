"""A TCP proxy between clients and Kafka brokers that knows where a request begins and which answer belongs to it.

    proxy = Proxy({(client, node): (port to listen at, port of the broker)}).start()

    rule = proxy.hold(client="w0", api=END_TXN, times=1)     what happens to the requests that match, by the first rule they match
    rule.wait()                                              until it has been hit
    rule.release()                                           lets what it held go on to the broker, also when the client has gone
    rule.remove()

    proxy.cut("w0")         its connections end, each new one is ended at once; a node as second argument: only to that node
    proxy.refuse("w0")      the same, and nobody listens
    proxy.freeze("w0")      its connections stay, and new ones are accepted, and no byte passes
    proxy.heal("w0")        undoes the three

One thread of its own runs everything; all methods are for other threads.  Only the standard library.
"""

import asyncio
import collections
import contextlib
import re
import socket
import struct
import threading
import time

from lib.procs import SCALE, NotInTime

PRODUCE, FETCH, METADATA, OFFSET_FETCH, FIND_COORDINATOR, JOIN_GROUP, HEARTBEAT = 0, 1, 3, 9, 10, 11, 12
INIT_PRODUCER_ID, ADD_PARTITIONS, ADD_OFFSETS, END_TXN, TXN_OFFSET_COMMIT = 22, 24, 25, 26, 28
TRANSACTION = (PRODUCE, ADD_PARTITIONS, ADD_OFFSETS, TXN_OFFSET_COMMIT, END_TXN)

FLEXIBLE_FROM = {PRODUCE: 9, INIT_PRODUCER_ID: 2, ADD_PARTITIONS: 3, ADD_OFFSETS: 3, END_TXN: 3, TXN_OFFSET_COMMIT: 3}
CHUNK = 1 << 18
ANSWER_SECONDS = 30  # that a held request waits for its answer when the client has gone


class Request:
    """One request, as far as rules look into it.  txn: its transactional id, None when it has none."""

    def __init__(self, client, node, frame):
        self.client, self.node, self.frame = client, node, frame
        self.time = time.monotonic()
        self.api, self.version, self.correlation = struct.unpack_from(">hhi", frame, 4)
        self.client_id, at = self._short(12)
        self.flexible = self.api in FLEXIBLE_FROM and self.version >= FLEXIBLE_FROM[self.api]
        self.body = at + 1 if self.flexible else at  # where it begins in the frame; no client sends tagged fields
        self.txn, self.answered = None, True
        if self.api in FLEXIBLE_FROM and not (self.api == PRODUCE and self.version < 3):
            self.txn, at = self.text(self.body)
            if self.api == PRODUCE:
                self.answered = struct.unpack_from(">h", frame, at)[0] != 0  # acks

    def _short(self, at):
        [n] = struct.unpack_from(">h", self.frame, at)
        at += 2
        return (None, at) if n < 0 else (bytes(self.frame[at:at + n]).decode(), at + n)

    def text(self, at):
        """(the nullable string at this place, where the next field begins)."""
        if not self.flexible:
            return self._short(at)
        n = shift = 0
        while True:
            byte = self.frame[at]
            at += 1
            n |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        return (None, at) if n == 0 else (bytes(self.frame[at:at + n - 1]).decode(), at + n - 1)

    def __repr__(self):
        return f"<api {self.api} v{self.version} #{self.correlation} of {self.client} to {self.node}, {self.client_id}, txn {self.txn}>"


class Held:
    """A request that a rule held back."""

    def __init__(self, request):
        self.request = request
        self.go = asyncio.Event()
        self.answer_frame = None   # what the broker said to it, header and all
        self.failed = None
        self.over = threading.Event()

    def answer(self, timeout=20):
        """What the broker answered to it, after it was released."""
        if not self.over.wait(timeout * SCALE):
            raise NotInTime(f"no answer to {self.request} within {timeout * SCALE:g} s")
        if self.failed:
            raise self.failed
        return self.answer_frame

    def end(self, frame=None, failed=None):
        self.answer_frame, self.failed = frame, failed
        self.over.set()


class Rule:
    def __init__(self, proxy, action, ms=0, client=None, node=None, api=None, client_id=None, txn=None, when=None, skip=0, times=None):
        self.proxy, self.action, self.ms = proxy, action, ms
        self.client, self.node, self.when = client, node, when
        self.api = None if api is None else tuple(api) if isinstance(api, (tuple, list, set)) else (api,)
        self.client_id = client_id and re.compile(client_id)
        self.txn = txn and re.compile(txn)
        self.skip, self.times = skip, times
        self.hits = 0
        self.requests = collections.deque(maxlen=1000)  # those that it hit, oldest first
        self.held = []

    def wants(self, request):
        if self.client not in (None, request.client) or self.node not in (None, request.node):
            return False
        if self.api is not None and request.api not in self.api:
            return False
        if self.client_id and not self.client_id.search(request.client_id or ""):
            return False
        if self.txn and not self.txn.search(request.txn or ""):
            return False
        if self.when and not self.when(request):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        return self.times is None or self.hits < self.times

    def hit(self, request):
        with self.proxy.changed:
            self.hits += 1
            self.requests.append(request)
            if self.action == "hold":
                self.held.append(Held(request))
            self.proxy.changed.notify_all()

    def wait(self, hits=1, timeout=20):
        """Until it was hit so often; returns the last request of these."""
        with self.proxy.changed:
            if not self.proxy.changed.wait_for(lambda: self.hits >= hits, timeout * SCALE):
                raise NotInTime(f"{self} was not hit {hits} times within {timeout * SCALE:g} s")
            return self.requests[min(hits, len(self.requests)) - 1]

    def release(self):
        """Everything that it holds goes on, and it holds no more."""
        def let_go():
            self.times = self.hits
            for held in self.held:
                held.go.set()
        self.proxy.call(let_go)

    def remove(self):
        self.release()

        def forget():
            if self in self.proxy.rules:
                self.proxy.rules.remove(self)
        self.proxy.call(forget)

    def __repr__(self):
        match = {k: getattr(v, "pattern", v) for k, v in vars(self).items() if k in ("client", "node", "api", "client_id", "txn") and v is not None}
        return f"rule {self.action} {match}, {self.hits} hits"


def reset_on_close(sock):
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Connection:
    """From one client to one node: two pumps."""

    def __init__(self, link, reader, writer):
        self.link, self.proxy = link, link.proxy
        self.client_reader, self.client = reader, writer
        self.broker = None
        self.waiting = collections.deque()  # (request, rule, held) whose answer is still to come
        self.holds = []                     # those held back now, or released and not answered
        self.silent = False                 # muted by a rule

    async def run(self):
        pumps = []
        try:
            self.broker_reader, self.broker = await asyncio.open_connection("127.0.0.1", self.link.target, limit=CHUNK)
            self.broker.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pumps = [asyncio.create_task(self.requests()), asyncio.create_task(self.answers())]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            if pumps[0].done() and self.holds:  # the client has gone; what was held and let go is still the broker's to answer
                until = time.monotonic() + ANSWER_SECONDS
                while self.holds and not pumps[1].done() and time.monotonic() < until:
                    await asyncio.wait(pumps[1:], timeout=0.02)
        except OSError:
            pass  # the broker is away: so is the connection
        finally:
            for pump in pumps:
                pump.cancel()
            for held in self.holds:
                held.end(failed=ConnectionError(f"the connection ended before the broker answered {held.request}"))
            self.end_client()
            if self.broker is not None:
                self.broker.transport.abort()

    def end_client(self):
        reset_on_close(self.client.get_extra_info("socket"))
        self.client.transport.abort()

    @staticmethod
    async def frames(reader):
        """Lists of whole frames, each with its length in front."""
        buffer = bytearray()
        while True:
            try:
                data = await reader.read(CHUNK)
            except OSError:
                return
            if not data:
                return
            buffer += data
            whole, at = [], 0
            while len(buffer) - at >= 4:
                [n] = struct.unpack_from(">i", buffer, at)
                if len(buffer) - at - 4 < n:
                    break
                whole.append(bytes(buffer[at:at + 4 + n]))
                at += 4 + n
            del buffer[:at]
            if whole:
                yield whole

    async def requests(self):
        await self.link.passes()
        async for whole in self.frames(self.client_reader):
            for frame in whole:
                request = Request(self.link.client, self.link.node, frame)
                await self.link.passes()
                rule = self.proxy.rule_for(request)
                if not await self.before(request, rule):
                    return
                if self.silent:
                    continue
                held = rule.held[-1] if rule is not None and rule.action == "hold" else None
                if request.answered:
                    self.waiting.append((request, rule, held))
                self.broker.write(frame)
                if held is not None and not request.answered:
                    self.holds.remove(held)
                    held.end()
            await self.broker.drain()

    async def before(self, request, rule):
        """What a rule does on the way to the broker; False: the connection ends here."""
        if rule is None:
            return True
        rule.hit(request)
        if rule.action == "cut-before":
            return False
        if rule.action == "mute":
            self.silent = True
        elif rule.action == "delay-request":
            await asyncio.sleep(rule.ms / 1000)
        elif rule.action == "hold":
            held = rule.held[-1]
            self.holds.append(held)
            await held.go.wait()
            await self.link.passes()
        return True

    async def answers(self):
        async for whole in self.frames(self.broker_reader):
            for frame in whole:
                [correlation] = struct.unpack_from(">i", frame, 4)
                request, rule, held = self.waiting.popleft()
                assert request.correlation == correlation, f"{request} is answered by #{correlation}"
                if held is not None:
                    self.holds.remove(held)
                    held.end(frame)
                await self.link.passes()
                if rule is not None and rule.action == "delay-answer":
                    await asyncio.sleep(rule.ms / 1000)
                if rule is not None and rule.action == "cut-after":
                    return
                if self.silent or (rule is not None and rule.action == "drop-answer") or self.client.transport.is_closing():
                    continue
                self.client.write(frame)
            try:
                await self.client.drain()
            except OSError:
                pass  # the client has gone; the pump of its requests ends the connection


class Link:
    """All connections of one client with one node."""

    def __init__(self, proxy, client, node, port, target):
        self.proxy, self.client, self.node, self.port, self.target = proxy, client, node, port, target
        self.state = "open"
        self.flows = asyncio.Event()
        self.flows.set()
        self.listener = None
        self.connections, self.tasks = set(), set()

    async def passes(self):
        while not self.flows.is_set():
            await self.flows.wait()

    def listen(self):
        if self.listener is None:
            self.listener = socket.create_server(("127.0.0.1", self.port), backlog=100)
            self.listener.setblocking(False)
            asyncio.get_running_loop().add_reader(self.listener, self.accept)

    def close(self):
        if self.listener is not None:
            asyncio.get_running_loop().remove_reader(self.listener)
            self.listener.close()
            self.listener = None

    def accept(self):
        try:
            sock, _ = self.listener.accept()
        except OSError:
            return  # it went away again
        sock.setblocking(False)
        task = asyncio.create_task(self.accepted(sock))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def accepted(self, sock):
        connection = Connection(self, *await asyncio.open_connection(sock=sock, limit=CHUNK))
        if self.state in ("cut", "refused"):
            connection.end_client()
            return
        self.connections.add(connection)
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)

    def become(self, state):
        self.state = state
        (self.flows.clear if state == "frozen" else self.flows.set)()
        if state == "refused":
            self.close()
        else:
            self.listen()
        if state in ("cut", "refused"):
            for connection in list(self.connections):
                connection.end_client()


class Proxy:
    def __init__(self, links):
        self.loop = asyncio.new_event_loop()
        self.rules = []
        self.changed = threading.Condition()
        self.links = {(client, node): Link(self, client, node, *ports) for (client, node), ports in links.items()}
        self.thread = threading.Thread(target=self.loop.run_forever, name="proxy", daemon=True)

    def start(self):
        self.thread.start()
        self.heal()
        return self

    def close(self):
        async def end():
            for link in self.links.values():
                link.become("refused")
            others = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await asyncio.sleep(0.01)  # what was aborted is closed in the loop's next turn
        self._wait(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    def _wait(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def call(self, fn):
        """Runs fn on the proxy's own thread; returns what it returns."""
        async def run():
            return fn()
        return self._wait(run())

    def bootstrap(self, client):
        """What the client takes for the addresses of the brokers."""
        return ",".join(f"127.0.0.1:{link.port}" for (name, _), link in sorted(self.links.items()) if name == client)

    # ---- connections as a whole

    def _become(self, state, client, node):
        chosen = [link for (c, n), link in self.links.items() if client in (None, c) and node in (None, n)]
        assert chosen, f"no link of {client} to {node}"
        self.call(lambda: [link.become(state) for link in chosen])

    def cut(self, client=None, node=None):
        self._become("cut", client, node)

    def refuse(self, client=None, node=None):
        self._become("refused", client, node)

    def freeze(self, client=None, node=None):
        self._become("frozen", client, node)

    def heal(self, client=None, node=None):
        self._become("open", client, node)

    def connections(self, client, node=None):
        return self.call(lambda: sum(len(l.connections) for (c, n), l in self.links.items() if c == client and node in (None, n)))

    # ---- rules; match: client, node, api (one or several), client_id and txn (regular expressions), when (a function of the
    #      request), skip (so many matches first), times (so often and no more)

    def _rule(self, action, ms, match):
        rule = Rule(self, action, ms, **match)
        self.call(lambda: self.rules.append(rule))
        return rule

    def watch(self, **match):
        """Only counts and keeps."""
        return self._rule("watch", 0, match)

    def delay_request(self, ms, **match):
        return self._rule("delay-request", ms, match)

    def delay_answer(self, ms, **match):
        return self._rule("delay-answer", ms, match)

    def drop_answer(self, **match):
        """The broker does it, and the client hears nothing."""
        return self._rule("drop-answer", 0, match)

    def hold(self, **match):
        """Until release(); what the connection carries after it waits too."""
        return self._rule("hold", 0, match)

    def cut_before(self, **match):
        """The connection ends, and the broker does not see the request."""
        return self._rule("cut-before", 0, match)

    def cut_after(self, **match):
        """The connection ends when the broker has answered; the client does not see the answer."""
        return self._rule("cut-after", 0, match)

    def mute(self, **match):
        """From this request on the connection carries nothing more, and stays."""
        return self._rule("mute", 0, match)

    def clear(self):
        """No rules, everything open."""
        for rule in self.call(lambda: list(self.rules)):
            rule.remove()
        self.heal()

    def rule_for(self, request):
        for rule in self.rules:
            if rule.wants(request):
                if rule.action != "watch":
                    return rule
                rule.hit(request)
        return None
