"""Load through several gateways: lib.load, but each attempt goes to the gateway that chance picks, also the later ones of one command.

    python3 tests/faults/storm.py --address A,B --domain D …    as lib/load.py;  ANGZARR_FAULTS_SEED seeds it
"""

import asyncio
import os
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from lib import load  # noqa: E402
from lib.client import OPTIONS  # noqa: E402

SEED = "ANGZARR_FAULTS_SEED"
PAUSE = float(os.environ.get("ANGZARR_FAULTS_PAUSE", "0"))  # seconds, of each sender after each command


class Worker(load.Worker):
    def __init__(self, args):
        addresses = args.address.split(",")
        args.address = addresses[0]
        super().__init__(args)
        self.random = random.Random(f"{os.environ.get(SEED, '')}/{args.domain}/{args.index}")
        channels = [self.channel] + [grpc.aio.insecure_channel(a, options=OPTIONS) for a in addresses[1:]]
        methods = [c.unary_unary("/angzarr.CommandGateway/Execute") for c in channels]
        self.execute = lambda *args, **options: self.random.choice(methods)(*args, **options)

    async def command(self):
        await super().command()
        await asyncio.sleep(PAUSE)


class Storm(load.Load):
    """The load on one domain."""

    def __init__(self, folder, addresses, domain, seed, **options):
        os.makedirs(folder, exist_ok=True)
        super().__init__(folder, ",".join(addresses), domain, **options)
        self.domain = domain
        for client in self.clients:
            client.name = f"{domain}-{client.name}"
            client.argv[1] = __file__
            client.env[SEED] = str(seed)


if __name__ == "__main__":
    load.Worker = Worker
    load.main()
