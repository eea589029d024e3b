"""Runs the program under test.

    System  one way to run all of it: `standalone`, or a gateway and workers; on the embedded log or on Kafka
    Role    one process of it
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import uuid

from lib import procs
from lib.checker import EmbeddedReader, KafkaReader
from lib.client import Client, Status
from lib.procs import Process, eventually, free_ports

ROOT = pathlib.Path(__file__).resolve().parents[2]
KILL_POINT = "ANGZARR_KILL"  # <point>[:<n>]: a dev build kills itself with SIGKILL at the n-th pass


def binary():
    return os.environ.get("ANGZARR_BINARY", str(ROOT / "build/dev/angzarr"))


def run(*args, env=None, cwd=None, timeout=30):
    """Runs the program to its end; returns (exit status, output)."""
    done = subprocess.run([binary(), *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          cwd=cwd, env=dict(os.environ, **(env or {})), timeout=timeout * procs.SCALE)
    return done.returncode, done.stdout


def merge(into, more):
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value
    return into


class Role(Process):
    """One process: `angzarr ROLE --config FILE`."""

    def __init__(self, name, role, config, folder, env=None):
        self.role, self.config = role, config
        self.config_path = os.path.join(folder, f"{name}.yaml")
        self.write()
        super().__init__(name, [binary(), role, "--config", self.config_path], folder, env={"ANGZARR_LOG": "info,json", **(env or {})})

    def write(self):
        """The configuration, as it is now."""
        # JSON is YAML: no library is needed to write it.
        pathlib.Path(self.config_path).write_text(json.dumps(self.config, indent=2))

    def launch(self, kill=None):
        """Starts it and does not wait; kill names a kill point."""
        self.env.pop(KILL_POINT, None)
        if kill:
            self.env[KILL_POINT] = kill
        return self.start()

    def ready(self, timeout=60):
        return self.wait_for_line(lambda line: re.match(r"ready\b", line), timeout)

    def up(self, timeout=60):
        self.launch()
        self.ready(timeout)
        return self

    def died(self, timeout=60):
        """Waits until it has killed itself."""
        eventually(lambda: not self.running(), timeout, what=f"{self.name} to reach its kill point")
        assert self.popen.returncode == -9, f"{self.name} ended with {self.popen.returncode}, not by its kill point:\n{self.log()[-4000:]}"

    def log_lines(self, whole=False):
        """Its structured log lines of this run, or of all of its runs."""
        out = []
        for line in self.log(whole).splitlines():
            if line.startswith("{"):
                try:
                    out.append(json.loads(line))
                except ValueError:
                    pass
        return out


class System:
    """log: "embedded" or a lib.kafka.Kafka.  domains: {name: address or business_logic row}.  two: gateway and worker apart; stream: a process
    of the role `stream` beside them."""

    def __init__(self, log, domains, two=False, partitions=2, settings=None, workers=1, stream=False):
        self.kafka = None if log == "embedded" else log
        self.embedded = self.kafka is None
        assert not ((two or stream) and self.embedded), "the embedded log is for one process"
        self.folder = tempfile.mkdtemp(prefix="angzarr-e2e-")
        self.prefix = f"t{uuid.uuid4().hex[:8]}."
        self.partitions = partitions
        self.grpc_port, self.http_port, stream_port, stream_http, *ports = free_ports(4 + 2 * workers)
        self.stream_address = f"127.0.0.1:{stream_port}"
        self.address = f"127.0.0.1:{self.grpc_port}"
        self.http = f"127.0.0.1:{self.http_port}"
        self._clients = []
        rows = []
        for domain, row in domains.items():
            rows.append({"domain": domain, **(row if isinstance(row, dict) else {"address": row})})
        base = {
            "log": {"type": "embedded"} if self.embedded else {"type": "kafka", "kafka": {"bootstrap.servers": self.kafka.bootstrap}},
            "topology": {"prefix": self.prefix, "partitions": partitions, "replication": 1},
            "state": {"path": os.path.join(self.folder, "state")},
            "gateway": {"address": self.address, "http": self.http},
            "stream": {"address": self.stream_address, "http": f"127.0.0.1:{stream_http}"},
            "worker": {"id": "w0"},
            "business_logic": rows,
        }
        merge(base, settings or {})
        self.config = base
        if not two:
            self.gateway = self.worker = Role("standalone", "standalone", base, self.folder)
            self.roles = self.workers = [self.worker]
        else:
            self.gateway = Role("gateway", "gateway", base, self.folder)
            self.workers = []
            for i in range(workers):
                own = {"worker": {"id": f"w{i}", "address": f"127.0.0.1:{ports[2 * i]}", "advertise": f"127.0.0.1:{ports[2 * i]}",
                                  "http": f"127.0.0.1:{ports[2 * i + 1]}"}}
                self.workers.append(Role(f"worker{i}", "aggregate", merge(json.loads(json.dumps(base)), own), self.folder))
            self.worker = self.workers[0]
            self.roles = [*self.workers, self.gateway]
        if stream:
            self.stream = Role("stream", "stream", base, self.folder)
            self.roles.append(self.stream)

    def up(self, timeout=60):
        for role in self.roles:
            role.launch()
        for role in self.roles:
            role.ready(timeout)
        return self

    def client(self):
        client = Client(self.address)
        self._clients.append(client)
        return client

    def serving(self):
        """Waits until the gateway says SERVING."""
        client = self.client()

        def check():
            try:
                return client.health() == "SERVING"
            except Status:
                return False
        return eventually(check, 60, what="SERVING")

    def topic(self, name):
        return self.prefix + name

    def reader(self):
        return EmbeddedReader(self.address) if self.embedded else KafkaReader(self.kafka.bootstrap, self.prefix)

    def close(self, keep=False):
        for client in self._clients:
            client.close()
        for role in reversed(self.roles):
            role.close()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
