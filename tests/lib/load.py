"""Load: one client process that keeps many commands in flight and writes down what became of each.

    python3 tests/lib/load.py --address A --domain D --index I --of N --roots R --in-flight F --out FILE --stats FILE

Open outcomes are sent again with the same idempotency key.  SIGTERM: no new commands; it ends when every one has an outcome.
class Load runs several of them from a test.
"""

import argparse
import asyncio
import collections
import json
import mmap
import os
import pathlib
import random
import signal
import struct
import sys
import time
import uuid

if __package__ in (None, ""):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from lib.api import pb  # noqa: E402
from lib.checker import Sent  # noqa: E402
from lib.client import BOOK, OPEN, OPTIONS, book, facts  # noqa: E402
from lib.procs import SCALE, Process, eventually  # noqa: E402

STATS = struct.Struct("=qqqq")  # in flight, answered OK, refused, sent again
RETRY = {*OPEN, "RESOURCE_EXHAUSTED"}
OTHERS = 0.2       # share of commands to roots that other clients also use: real conflicts
REFUSED = 0.03     # share of commands that the business refuses
SNAPSHOT = 0.1
RECORDED = 0.1     # share of facts that are told, not asked for
ATTEMPT_SECONDS = 5
GRACE_SECONDS = 60  # after SIGTERM, for the open ones


def root_of(i):
    return uuid.uuid5(uuid.NAMESPACE_OID, f"load-{i}").bytes


class Worker:
    def __init__(self, args):
        self.args = args
        self.random = random.Random(args.index)
        self.channel = grpc.aio.insecure_channel(args.address, options=OPTIONS)
        self.execute = self.channel.unary_unary("/angzarr.CommandGateway/Execute")
        self.record = self.channel.unary_unary("/angzarr.BusinessCoordinator/Record")
        self.upcoming = collections.defaultdict(int)
        self.busy = set()
        self.count = self.in_flight = self.ok = self.refused = self.again = 0
        self.stopping = None
        self.out = open(args.out, "w")
        with open(args.stats, "r+b") as f:
            self.stats = mmap.mmap(f.fileno(), STATS.size)

    def publish(self):
        self.stats[:] = STATS.pack(self.in_flight, self.ok, self.refused, self.again)

    def pick(self):
        roots, share = self.args.roots, max(1, self.args.roots // self.args.of)
        while True:
            i = self.random.randrange(roots) if self.random.random() < OTHERS else (self.args.index * share + self.random.randrange(share)) % roots
            if i not in self.busy:
                return i

    async def command(self):
        i = self.pick()
        self.busy.add(i)
        self.count += 1
        id = f"{self.args.index}-{self.count}"
        chance = self.random.random()
        what = "refuse" if chance < REFUSED else "snapshot" if chance < REFUSED + SNAPSHOT else "emit"
        events = self.random.randint(1, 3)
        fields = {"n": events} if what != "refuse" else {"n": 10, "text": "business"}
        method, request = self.execute, book(self.args.domain, root_of(i), sequence=self.upcoming[i], what=what, id=id, data=b"x" * 100, **fields)
        if chance > 1 - RECORDED:
            method, request = self.record, facts(self.args.domain, root_of(i), self.nums(i, events), id=id, data=b"x" * 100)
        outcome, numbers, why = await self.settle(i, id, method, request.SerializeToString())
        self.busy.discard(i)
        self.out.write(json.dumps([id, i, events, outcome, numbers, why]) + "\n")

    def nums(self, i, events):
        """With numbers, facts may meet a mismatch; without, they never do."""
        return [None] * events if self.random.random() < 0.5 else range(self.upcoming[i], self.upcoming[i] + events)

    async def settle(self, i, id, method, data):
        """Sends until there is an outcome."""
        self.in_flight += 1
        try:
            while True:
                try:
                    answer = await method(data, timeout=ATTEMPT_SECONDS * SCALE, metadata=(("idempotency-key", id),))
                    events = pb.CommandResponse.FromString(answer).events
                    self.upcoming[i] = events.next_sequence
                    self.ok += 1
                    return "ok", [p.num for p in events.pages], ""
                except grpc.aio.AioRpcError as e:
                    code, text = e.code().name, e.details() or ""
                    if code not in RETRY:
                        for key, value in e.trailing_metadata() or ():
                            if key == BOOK:
                                self.upcoming[i] = pb.EventBook.FromString(value).next_sequence
                        self.refused += 1
                        return "refused", [], f"{code}: {text}"
                    if self.stopping is not None and time.monotonic() > self.stopping + GRACE_SECONDS * SCALE:
                        return "open", [], f"{code}: {text}"
                    self.again += 1
                await asyncio.sleep(self.random.uniform(0.02, 0.1))
        finally:
            self.in_flight -= 1

    async def slot(self):
        while self.stopping is None:
            await self.command()

    async def run(self):
        def stop():
            self.stopping = time.monotonic()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        slots = [asyncio.create_task(self.slot()) for _ in range(self.args.in_flight)]
        while not all(s.done() for s in slots):
            self.publish()
            await asyncio.wait(slots, timeout=0.01)
        self.publish()
        self.out.close()
        for s in slots:
            s.result()
        await self.channel.close()


class Load:
    """Several client processes under the command of a test."""

    def __init__(self, folder, address, domain, clients=8, in_flight=256, roots=1000):
        self.roots = roots
        self.clients, self.stats, self.outs = [], [], []
        for index in range(clients):
            stats, out = os.path.join(folder, f"load{index}.stats"), os.path.join(folder, f"load{index}.jsonl")
            pathlib.Path(stats).write_bytes(bytes(STATS.size))
            with open(stats, "r+b") as f:
                self.stats.append(mmap.mmap(f.fileno(), STATS.size))
            self.outs.append(out)
            self.clients.append(Process(f"load{index}", [
                sys.executable, __file__, "--address", address, "--domain", domain, "--index", index, "--of", clients, "--roots", roots,
                "--in-flight", -(-in_flight // clients), "--out", out, "--stats", stats], folder))

    def start(self):
        for client in self.clients:
            client.start()
        eventually(lambda: self.in_flight() > 0, 60, what="commands in flight")
        return self

    def _sum(self, field):
        for client in self.clients:
            assert client.running(), f"{client.name} ended:\n{client.log()[-4000:]}"
        return sum(STATS.unpack(s[:])[field] for s in self.stats)

    def in_flight(self):
        return self._sum(0)

    def ok(self):
        return self._sum(1)

    def refused(self):
        return self._sum(2)

    def again(self):
        return self._sum(3)

    def wait_ok(self, count, timeout=60):
        """Until this many more commands were answered OK."""
        target = self.ok() + count
        eventually(lambda: self.ok() >= target, timeout, what=f"{count} more commands to be answered OK (now {self.ok()} of {target})")

    def finish(self):
        """Lets everything come to an outcome; returns it all as a list of Sent."""
        for client in self.clients:
            client.signal(signal.SIGTERM)
        for client in self.clients:
            assert client.wait(GRACE_SECONDS + 4 * ATTEMPT_SECONDS) == 0, f"{client.name}:\n{client.log()[-4000:]}"
        sent, strange = [], []
        for out in self.outs:
            for line in pathlib.Path(out).read_text().splitlines():
                id, i, events, outcome, numbers, why = json.loads(line)
                sent.append(Sent(id, root_of(i), events, outcome, tuple(numbers)))
                if outcome == "refused" and why != "ABORTED: business" and not why.startswith("FAILED_PRECONDITION: Sequence mismatch: "):
                    strange.append(f"{id}: {why}")
        assert not strange, f"{len(strange)} answers that should not be:\n" + "\n".join(strange[:20])
        return sent

    def close(self):
        for client in self.clients:
            client.kill()
            client.close()
        for stats in self.stats:
            stats.close()


def main():
    parser = argparse.ArgumentParser()
    for name in ("address", "domain", "out", "stats"):
        parser.add_argument("--" + name, required=True)
    for name in ("index", "of", "roots", "in-flight"):
        parser.add_argument("--" + name, type=int, required=True)
    args = parser.parse_args()

    async def run():  # the channel belongs to the loop that runs when it is made
        await Worker(args).run()
    asyncio.run(run())


if __name__ == "__main__":
    main()
