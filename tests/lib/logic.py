"""Business logic that does what the command tells it to do: `angzarr_test.Do.what`.

    emit             n events (1 when 0), numbered; data and value are copied into them
    emit-unnumbered  the same without numbers          emit-force   with force
    none             no event
    echo             the whole history given, and one new event
    snapshot         emit, with snapshot.state         snapshot-state   emit, with snapshot_state
    refuse           gRPC status n, message text, details data (grpc-status-details-bin)
    revoke           RevocationResponse, flags = bits of n in field order, reason text
    hang             waits n ms, then one event        never   waits until the call is cancelled
    wait             until there is a file `text`, then one event
    garbage          answers with the bytes of data    big     an event of n bytes
    wrong-number     one event numbered value          wrong-cover   the cover of another aggregate
    flaky            status value (14 when 0) and message text at the first n calls with this id, then emit
    balance          emit, but FAILED_PRECONDITION when the events so far add up to less than -value

Runs in a thread of the test (class Logic) or as a process of its own (python3 tests/lib/logic.py --address A), for load.
Serves `angzarr.BusinessLogic`, `angzarr.Aggregate`, or both; raw bytes in and out.
"""

import argparse
import asyncio
import collections
import os
import pathlib
import sys
import threading
import time

if __package__ in (None, ""):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from lib import wire  # noqa: E402
from lib.api import TYPE_URL, pack, pb  # noqa: E402

DO, DONE, STATE = pb.test.Do, pb.test.Done, pb.test.State
FLAGS = ("emit_system_revocation", "send_to_dead_letter_queue", "escalate", "abort")
CODES = {code.value[0]: code for code in grpc.StatusCode}


class Refused(Exception):
    def __init__(self, code, message, details=b""):
        self.code, self.message, self.details = code, message, details


class Calls:
    """What the logic was asked, for the test to look at."""

    def __init__(self):
        self._lock = threading.Lock()
        self._by_id = collections.Counter()
        self._times = collections.defaultdict(list)
        self.requests = []   # (id, ContextualCommand, metadata), newest last
        self.left = {}       # id: seconds to the deadline that the newest call came with
        self.paths = collections.Counter()  # of all calls, also those that nobody here serves
        self.total = 0
        self.open = 0        # calls under way
        self.keep = True     # False under load: count only

    def note(self, do, request, metadata):
        with self._lock:
            self.total += 1
            if do.id:
                self._by_id[do.id] += 1
            if self.keep:
                self._times[do.id].append(time.monotonic())
                self.requests.append((do.id, request, dict(metadata)))
            return self._by_id[do.id]

    def of(self, id):
        """How often a command with this id arrived."""
        with self._lock:
            return self._by_id[id]

    def pauses(self, id):
        """Seconds between the calls with this id."""
        with self._lock:
            times = self._times[id]
            return [later - earlier for earlier, later in zip(times, times[1:])]

    def last(self, id):
        """(ContextualCommand, metadata) of the newest call with this id."""
        with self._lock:
            for known, request, metadata in reversed(self.requests):
                if known == id:
                    return request, metadata
        raise AssertionError(f"the logic was never asked for {id!r}")


def history(events):
    """(next sequence, events that the snapshot stands for, sum of the values of the pages)."""
    count = 0
    upcoming = 0
    state = events.snapshot.state if events.HasField("snapshot") else events.snapshot_state
    if state.value or state.type_url:
        count = STATE.FromString(state.value).count
        upcoming = events.snapshot.sequence + 1 if events.HasField("snapshot") else count
    total = 0
    for page in events.pages:
        upcoming = page.num + 1
        total += DONE.FromString(page.event.value).value
    return upcoming, count, total


async def handle(request, calls, metadata, revocations, left=None):
    """The encoded EventBook, or a RevocationResponse, or Refused."""
    do = DO()
    if request.command.pages:
        command = request.command.pages[0].command
        if command.type_url == TYPE_URL + DO.DESCRIPTOR.full_name:
            do = DO.FromString(command.value)
    nth = calls.note(do, request, metadata)
    if calls.keep:
        calls.left[do.id] = left
    upcoming, count, total = history(request.events)
    what = do.what or "emit"

    if what == "refuse":
        raise Refused(do.n, do.text, do.data)
    if what == "flaky" and nth <= do.n:
        raise Refused(do.value or grpc.StatusCode.UNAVAILABLE.value[0], do.text or f"not yet: call {nth} of {do.n}")
    if what == "balance" and total + do.value < 0:
        raise Refused(grpc.StatusCode.FAILED_PRECONDITION.value[0], f"balance is {total}")
    if what == "revoke":
        if not revocations:
            raise Refused(grpc.StatusCode.UNIMPLEMENTED.value[0], "no revocations in this contract")
        return pb.RevocationResponse(reason=do.text, **{name: bool(do.n >> i & 1) for i, name in enumerate(FLAGS)})
    if what == "garbage":
        return do.data
    if what == "hang":
        await asyncio.sleep(do.n / 1000)
    if what == "wait":
        while not os.path.exists(do.text):
            await asyncio.sleep(0.01)
    if what == "never":
        await asyncio.Event().wait()

    book = pb.EventBook(cover=request.command.cover)
    if what == "none":
        return book
    if what == "wrong-cover":
        book.cover.root.value = bytes(16)
    if what == "echo":
        book.pages.extend(request.events.pages)
    more = (do.n or 1) if what in ("emit", "emit-unnumbered", "emit-force", "snapshot", "snapshot-state", "balance") else 1
    data = b"x" * do.n if what == "big" else do.data
    for k in range(more):
        page = book.pages.add(event=pack(DONE(id=do.id, k=k, data=data, value=do.value, pages_seen=len(request.events.pages),
                                              state_count=count)))
        if what == "emit-force":
            page.force = True
        elif what == "wrong-number":
            page.num = do.value
        elif what != "emit-unnumbered":
            page.num = upcoming + k
    if what == "snapshot":
        book.snapshot.state.CopyFrom(pack(STATE(count=upcoming + more)))
    if what == "snapshot-state":
        book.snapshot_state.CopyFrom(pack(STATE(count=upcoming + more)))
    return book


class Paths(grpc.GenericRpcHandler):
    """Sees what is called first, and serves none of it."""

    def __init__(self, calls):
        self.calls = calls

    def service(self, handler_call_details):
        self.calls.paths[handler_call_details.method] += 1


class Server:
    """The grpc.aio server; lives on the event loop it is started on."""

    def __init__(self, calls, contracts):
        self.calls, self.contracts = calls, contracts

    async def _call(self, data, context, revocations):
        self.calls.open += 1
        try:
            answer = await handle(pb.ContextualCommand.FromString(data), self.calls, context.invocation_metadata() or (), revocations,
                                  context.time_remaining())
        except Refused as refused:
            if refused.details:
                context.set_trailing_metadata((("grpc-status-details-bin", refused.details),))
            await context.abort(CODES.get(refused.code, grpc.StatusCode.UNKNOWN), refused.message)
        finally:
            self.calls.open -= 1
        if isinstance(answer, pb.RevocationResponse):
            return wire.put(2, answer.SerializeToString())
        if isinstance(answer, pb.EventBook):
            answer = answer.SerializeToString()
            return wire.put(1, answer) if revocations else answer
        return answer

    async def start(self, address):
        async def simple(data, context):
            return await self._call(data, context, revocations=False)

        async def rich(data, context):
            return await self._call(data, context, revocations=True)

        self.server = grpc.aio.server(options=[("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1),
                                               ("grpc.so_reuseport", 0)])
        if self.calls.keep:
            self.server.add_generic_rpc_handlers((Paths(self.calls),))
        for service, method in (("BusinessLogic", simple), ("Aggregate", rich)):
            if service in self.contracts:
                self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
                    f"angzarr.{service}", {"Handle": grpc.unary_unary_rpc_method_handler(method)}),))
        self.port = self.server.add_insecure_port(address)
        await self.server.start()

    async def stop(self):
        await self.server.stop(None)


class Logic:
    """The logic in a thread of the test; start, stop and start again on the same port."""

    _loop = None

    @classmethod
    def _run(cls, coroutine):
        if cls._loop is None:
            cls._loop = asyncio.new_event_loop()
            threading.Thread(target=cls._loop.run_forever, daemon=True).start()
        return asyncio.run_coroutine_threadsafe(coroutine, cls._loop).result(30)

    def __init__(self, contracts=("BusinessLogic",), port=0):
        self.calls = Calls()
        self.contracts = contracts
        self.address = f"127.0.0.1:{port}"
        self.server = None

    def start(self):
        self.server = Server(self.calls, self.contracts)
        self._run(self.server.start(self.address))
        self.address = f"127.0.0.1:{self.server.port}"
        return self

    def stop(self):
        if self.server is not None:
            self._run(self.server.stop())
            self.server = None


async def serve(address):
    calls = Calls()
    calls.keep = False
    server = Server(calls, ("BusinessLogic",))
    await server.start(address)
    print("ready", flush=True)
    await server.server.wait_for_termination()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    try:
        asyncio.run(serve(parser.parse_args().address))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
