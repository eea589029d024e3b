"""The examples as the tests see them: programs that serve business logic, in several languages.  `make -C examples build` makes them.

    SERVICES   what there is
    Tap        stands between angzarr and a service, hands everything on, and remembers what was asked
"""

import collections
import dataclasses
import pathlib
import sys
import threading
from concurrent import futures

import grpc

from lib.api import pb
from lib.procs import Process

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


@dataclasses.dataclass(frozen=True)
class Service:
    domain: str
    language: str
    contract: str   # the gRPC service it serves
    folder: str     # in examples, with a Makefile
    program: tuple  # in folder
    reflection: bool = True

    @property
    def name(self):
        return f"{self.domain}_{self.language}"

    def argv(self):
        folder = EXAMPLES / self.folder
        argv = [part if part == sys.executable else str(folder / part) for part in self.program]
        assert pathlib.Path(argv[-1]).exists(), f"{argv[-1]} is missing: make -C examples build"
        return argv

    def start(self, folder, address="127.0.0.1:0", env=None):
        """A running server, with its address."""
        process = Process(self.name, [*self.argv(), *(("--address", address) if address else ())], str(folder), env=env).start()
        ready = f"{self.domain} logic ready on "
        process.address = process.wait_for_line(lambda line: line.startswith(ready))[len(ready):]
        return process


SERVICES = [
    Service("customer", "python", "angzarr.BusinessLogic", "customer", (sys.executable, "server.py"), reflection=False),
    Service("customer", "go", "angzarr.BusinessLogic", "customer/go", ("bin/customer",)),
    Service("inventory", "go", "angzarr.Aggregate", "inventory/go", ("bin/inventory",)),
    Service("inventory", "rust", "angzarr.BusinessLogic", "inventory/rust", ("target/debug/inventory",)),
]


class Tap(grpc.GenericRpcHandler):
    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)
        self.lock = threading.Lock()
        self.asked = collections.defaultdict(list)  # root -> every ContextualCommand that was answered, the newest last
        self.server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), handlers=[self], options=[("grpc.so_reuseport", 0)])
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def service(self, details):
        def forward(request, context):
            try:
                answer = self.channel.unary_unary(details.method)(request, timeout=context.time_remaining())
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNIMPLEMENTED:
                    self.note(details.method, request)
                context.abort(error.code(), error.details())
            self.note(details.method, request)
            return answer
        return grpc.unary_unary_rpc_method_handler(forward)

    def note(self, method, request):
        if method.endswith("/Handle"):
            asked = pb.ContextualCommand.FromString(request)
            with self.lock:
                self.asked[asked.command.cover.root.value].append(asked)

    def of(self, root):
        with self.lock:
            return list(self.asked[root])

    def close(self):
        self.server.stop(None).wait()
        self.channel.close()
