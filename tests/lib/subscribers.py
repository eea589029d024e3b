"""Many subscribers in one process: each its own correlation id, some of which take nothing until they are told to.

    python3 tests/lib/subscribers.py --address A --count N --slow S --prefix P --stats FILE

Subscriber i listens for `<P>-<i>`; the first S are slow.  Prints `ready` when all have begun.  SIGTERM: the slow ones read what there is, then
one JSON line says what each got: [[numbers of the pages as they came], code] per subscriber.
"""

import argparse
import asyncio
import json
import mmap
import os
import pathlib
import signal
import struct
import sys

if __package__ in (None, ""):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from lib.api import pb  # noqa: E402
from lib.client import OPTIONS  # noqa: E402
from lib.procs import SCALE, Process, eventually  # noqa: E402

STATS = struct.Struct("=q")  # messages of those that are not slow
NARROW = [("grpc.http2.bdp_probe", 0)]  # a slow caller's own side takes little


class Subscriber:
    def __init__(self, channel, id, slow, seen):
        self.call = channel.unary_stream("/angzarr.EventStream/Subscribe")(pb.EventStreamFilter(correlation_id=id).SerializeToString())
        self.id, self.slow, self.seen = id, slow, seen
        self.numbers, self.code = [], ""

    async def read(self):
        try:
            async for message in self.call:
                book = pb.EventBook.FromString(message)
                if book.cover.correlation_id != self.id:
                    self.numbers.append(f"of {book.cover.correlation_id}")
                self.numbers += [page.num for page in book.pages]
                self.seen(not self.slow)
        except grpc.aio.AioRpcError as e:
            self.code = e.code().name
        except asyncio.CancelledError:
            self.code = "CANCELLED"


async def run(args):
    count = 0

    def seen(counts):
        nonlocal count
        count += counts
    with open(args.stats, "r+b") as f:
        stats = mmap.mmap(f.fileno(), STATS.size)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    fast, slow = (grpc.aio.insecure_channel(args.address, options=OPTIONS + more) for more in ([], NARROW))
    all = [Subscriber(slow if i < args.slow else fast, f"{args.prefix}-{i}", i < args.slow, seen) for i in range(args.count)]
    await asyncio.gather(*(s.call.initial_metadata() for s in all))
    readers = [asyncio.create_task(s.read()) for s in all if not s.slow]
    print("ready", flush=True)
    while not stop.is_set():
        stats[:] = STATS.pack(count)
        await asyncio.wait([asyncio.create_task(stop.wait())], timeout=0.05)
    late = [asyncio.create_task(s.read()) for s in all if s.slow]
    await asyncio.wait(late, timeout=20 * SCALE) if late else None
    for task in (*readers, *late):
        task.cancel()
    await asyncio.gather(*readers, *late, return_exceptions=True)
    print(json.dumps([[s.numbers, s.code] for s in all]), flush=True)
    os._exit(0)


class Subscribers:
    """The process, under the command of a test."""

    def __init__(self, folder, address, count, slow, prefix):
        stats = os.path.join(folder, "subscribers.stats")
        pathlib.Path(stats).write_bytes(bytes(STATS.size))
        with open(stats, "r+b") as f:
            self.stats = mmap.mmap(f.fileno(), STATS.size)
        self.process = Process("subscribers", [sys.executable, __file__, "--address", address, "--count", count, "--slow", slow, "--prefix", prefix,
                                               "--stats", stats], folder)

    def start(self):
        self.process.start()
        self.process.wait_for_line(lambda line: line == "ready", timeout=120)
        return self

    def messages(self):
        return STATS.unpack(self.stats[:])[0]

    def wait(self, n, timeout):
        eventually(lambda: self.messages() >= n, timeout, every=0.05, what=f"{n} messages at the subscribers, now {self.messages()}")

    def finish(self):
        """[(numbers, code)] of each subscriber."""
        assert self.process.terminate(60) == 0, self.process.log()[-4000:]
        return [tuple(s) for s in json.loads(self.process.log().splitlines()[-1])]

    def close(self):
        self.process.kill()
        self.process.close()
        self.stats.close()


def main():
    parser = argparse.ArgumentParser()
    for name in ("address", "prefix", "stats"):
        parser.add_argument("--" + name, required=True)
    for name in ("count", "slow"):
        parser.add_argument("--" + name, type=int, required=True)
    args = parser.parse_args()
    asyncio.run(run(args))


if __name__ == "__main__":
    main()
