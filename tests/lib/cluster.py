"""Three Kafka brokers (KRaft, each one broker and controller) that a test may kill, stop and lead about.

    Cluster     the nodes, and questions to them: who leads, who coordinates, who controls, what is in sync
    Node        one of them: start, kill, pause, resume, terminate, restart

Every client of the system under test can be given a listener of its own on every node ("path"): what the brokers advertise
there is the port of a proxy (lib.proxy), so that each pair of client and node has a connection that can be treated alone.
Only the standard library; the few requests that a test needs are encoded here.
"""

import base64
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import uuid

from lib.kafka import LOGGING, jars, java
from lib.procs import SCALE, Process, eventually, free_ports

HOST = "127.0.0.1"
OFFSETS, TRANSACTIONS = "__consumer_offsets", "__transaction_state"

SETTINGS = {
    "process.roles": "broker,controller",
    "inter.broker.listener.name": "INTERNAL",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "unclean.leader.election.enable": "false",
    "auto.leader.rebalance.enable": "false",  # leaders move only when a test or a fault moves them
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "replica.lag.time.max.ms": "5000",
    "replica.socket.timeout.ms": "5000",
    "controller.quorum.election.timeout.ms": "500",
    "controller.quorum.fetch.timeout.ms": "1500",
    "controller.quorum.request.timeout.ms": "1500",
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "log.cleaner.backoff.ms": "500",
    "log.cleaner.min.cleanable.ratio": "0.01",
    "log.cleaner.dedupe.buffer.size": "4194304",
    "log.retention.check.interval.ms": "5000",
    "log.initial.task.delay.ms": "1000",
    "num.network.threads": "1",  # of each listener
    "num.io.threads": "4",
    "num.replica.fetchers": "1",
    "background.threads": "2",
}


# ---- the protocol, as much of it as is asked for here

METADATA, ELECT_LEADERS, ALTER_REASSIGNMENTS, DESCRIBE_QUORUM = 3, 43, 45, 55


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def text(s):
    data = s.encode()
    return varint(len(data) + 1) + data


def array(items):
    return varint(len(items) + 1) + b"".join(items)


def i32(n):
    return struct.pack(">i", n)


class Fields:
    """Reads the fields of an answer one after the other."""

    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def number(self, form):
        [n] = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(">" + form)
        return n

    def varint(self):
        n = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            n |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return n

    def text(self):
        n = self.varint() - 1
        if n < 0:
            return None
        self.at += n
        return self.data[self.at - n:self.at].decode()

    def array(self, read):
        return [read() for _ in range(self.varint() - 1)]

    def numbers(self, form="i"):
        return self.array(lambda: self.number(form))

    def tags(self):
        for _ in range(self.varint()):
            self.varint()
            self.at += self.varint()


def receive(sock, n):
    data = b""
    while len(data) < n:
        more = sock.recv(n - len(data))
        if not more:
            raise ConnectionError("the broker closed the connection")
        data += more
    return data


def ask(port, api, version, body, timeout=10):
    """One request of a flexible version over a connection of its own; its answer without the header."""
    frame = struct.pack(">hhi", api, version, 1) + struct.pack(">h", 4) + b"test" + b"\0" + body
    with socket.create_connection((HOST, port), timeout=timeout) as sock:
        sock.sendall(i32(len(frame)) + frame)
        answer = Fields(receive(sock, struct.unpack(">i", receive(sock, 4))[0]), 4)
    answer.tags()
    return answer


class Partition:
    def __init__(self, error, number, leader, replicas, isr):
        self.error, self.number, self.leader, self.replicas, self.isr = error, number, leader, replicas, isr

    def __repr__(self):
        return f"{self.number}: leader {self.leader}, replicas {self.replicas}, in sync {self.isr}"


def read_metadata(answer):
    """{topic: {partition: Partition}} out of a Metadata answer, version 9."""
    def broker():
        answer.number("i"), answer.text(), answer.number("i"), answer.text(), answer.tags()

    def partition():
        error, number, leader, _ = (answer.number(f) for f in "hiii")
        replicas, isr, _ = answer.numbers(), answer.numbers(), answer.numbers()
        answer.tags()
        return Partition(error, number, leader, replicas, isr)

    def topic():
        answer.number("h")
        name, _, partitions, _ = answer.text(), answer.number("b"), answer.array(partition), answer.number("i")
        answer.tags()
        return name, {p.number: p for p in partitions}

    answer.number("i")
    answer.array(broker)
    answer.text(), answer.number("i")
    return dict(answer.array(topic))


def java_hash(name):
    """String.hashCode, by which a coordinator's partition is chosen."""
    h = 0
    for c in name:
        h = (31 * h + ord(c)) & 0xFFFFFFFF
    return h & 0x7FFFFFFF


# ---- the nodes

class Node:
    def __init__(self, cluster, number, port, controller, own):
        self.cluster, self.number, self.port, self.controller_port = cluster, number, port, controller
        self.listens = own  # path -> the port that this node listens at for it
        self.paused = False
        self.folder = os.path.join(cluster.folder, f"node{number}")
        self.data = os.path.join(self.folder, "data")
        os.makedirs(self.folder, exist_ok=True)
        self.properties = os.path.join(self.folder, "server.properties")

    def prepare(self, settings):
        pathlib.Path(self.properties).write_text("".join(f"{k}={v}\n" for k, v in settings.items()))
        self.process = Process(f"node{self.number}", self.cluster.java(["-Xms128m", "-Xmx256m"], "kafka.Kafka", self.properties), self.folder)

    def launch(self):
        self.paused = False
        self.process.start()

    def ready(self):
        self.process.wait_for_line(lambda line: "Kafka Server started" in line, timeout=90)
        return self

    def start(self):
        self.launch()
        return self.ready()

    def running(self):
        """It runs and is not paused: it may be asked."""
        return self.process.running() and not self.paused

    def kill(self):
        self.process.kill()
        self.paused = False

    def pause(self):
        """It stands still, with all its connections open."""
        self.process.signal(signal.SIGSTOP)
        self.paused = True

    def resume(self):
        self.process.signal(signal.SIGCONT)
        self.paused = False

    def terminate(self):
        return self.process.terminate(60)

    def restart(self):
        self.terminate()
        return self.start()


class Cluster:
    """paths: names of clients that get listeners of their own, to be reached through a proxy at `links`."""

    def __init__(self, folder=None, nodes=3, paths=(), settings=None):
        self.folder = tempfile.mkdtemp(prefix="angzarr-cluster-") if folder is None else str(folder)
        self.own_folder = folder is None
        os.makedirs(self.folder, exist_ok=True)
        self.classpath = os.path.join(jars(), "*")
        self.paths = list(paths)
        pathlib.Path(self.folder, "log4j2.xml").write_text(LOGGING)
        per_node = 2 + 2 * len(self.paths)
        ports = free_ports(nodes * per_node)
        self.nodes, self.links = [], {}
        for i in range(nodes):
            port, controller, *rest = ports[i * per_node:(i + 1) * per_node]
            own = dict(zip(self.paths, rest))
            for path, at in zip(self.paths, rest[len(self.paths):]):
                self.links[path, i + 1] = (at, own[path])  # where a proxy must listen, and where it finds the node
            self.nodes.append(Node(self, i + 1, port, controller, own))
        self.bootstrap = ",".join(f"{HOST}:{n.port}" for n in self.nodes)
        for node in self.nodes:
            node.prepare({**SETTINGS, **self._listeners(node), **(settings or {})})
        self._format()

    def _listeners(self, node):
        names = {path: f"PATH{i}" for i, path in enumerate(self.paths)}
        listens = [f"INTERNAL://{HOST}:{node.port}"] + [f"{names[p]}://{HOST}:{node.listens[p]}" for p in self.paths]
        tells = [f"INTERNAL://{HOST}:{node.port}"] + [f"{names[p]}://{HOST}:{self.links[p, node.number][0]}" for p in self.paths]
        return {
            "node.id": node.number,
            "controller.quorum.voters": ",".join(f"{n.number}@{HOST}:{n.controller_port}" for n in self.nodes),
            "listeners": ",".join([*listens, f"CONTROLLER://{HOST}:{node.controller_port}"]),
            "advertised.listeners": ",".join(tells),
            "listener.security.protocol.map": ",".join(f"{n}:PLAINTEXT" for n in ["INTERNAL", "CONTROLLER", *names.values()]),
            "log.dirs": node.data,
        }

    def _format(self):
        """The tool formats the first node; the others' folders differ in two ids only, and that saves two starts of Java."""
        first = self.nodes[0]
        cluster = "A" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
        self.tool("kafka.tools.StorageTool", "format", "-t", cluster, "-c", first.properties)
        meta = pathlib.Path(first.data, "meta.properties").read_text()
        for node in self.nodes[1:]:
            shutil.copytree(first.data, node.data)
            ids = {"node.id": node.number, "directory.id": base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")}
            lines = [f"{k}={ids.get(k, v)}" for k, _, v in (line.partition("=") for line in meta.splitlines() if not line.startswith("#"))]
            pathlib.Path(node.data, "meta.properties").write_text("\n".join(lines) + "\n")

    def java(self, options, main, *args):
        """C1 only: a node is up in a third of the time, and no test is about a broker's speed."""
        return [java(), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", *options,
                f"-Dlog4j2.configurationFile={self.folder}/log4j2.xml", "-cp", self.classpath, main, *args]

    def tool(self, main, *args):
        """Runs one of Kafka's command line classes; returns its output."""
        done = subprocess.run(self.java(["-Xmx128m"], main, *args), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{main} {' '.join(args)}: status {done.returncode}\n{done.stdout}")
        return done.stdout

    def consumer_groups(self, *args):
        return self.tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--bootstrap-server", self.bootstrap, *args)

    def start(self):
        """Returns when all nodes serve and know of each other."""
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.ready()
        return self

    def close(self):
        for node in self.nodes:
            node.process.signal(signal.SIGCONT)
            node.kill()
            node.process.close()
        if self.own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def node(self, number):
        return self.nodes[number - 1]

    def others(self, *numbers):
        """The numbers of the nodes that are not named."""
        return [n.number for n in self.nodes if n.number not in numbers]

    def heal(self):
        """Every node runs, every replica is in sync."""
        for node in self.nodes:
            if node.process.running():
                node.resume()
            else:
                node.launch()
        for node in self.nodes:
            node.ready()
        self.wait_in_sync()

    # ---- questions; asked of a node that runs

    def ask(self, api, version, body, timeout=10):
        asked = [n for n in self.nodes if n.running()]
        assert asked, "no node runs"
        failed = None
        for node in asked:
            try:
                return ask(node.port, api, version, body, timeout)
            except OSError as e:
                failed = e
        raise failed

    def metadata(self, *topics):
        """{topic: {partition: Partition}} of these topics, or of all."""
        names = array([text(t) + b"\0" for t in topics]) if topics else b"\0"
        return read_metadata(self.ask(METADATA, 9, names + b"\0\0\0" + b"\0"))

    def partition(self, topic, partition):
        found = self.metadata(topic)[topic].get(partition)
        assert found is not None, f"{topic} has no partition {partition}"
        return found

    def leader(self, topic, partition):
        """The number of the node that leads it; -1 when nobody does."""
        return self.partition(topic, partition).leader

    def group_partition(self, group):
        return OFFSETS, java_hash(group) % int(SETTINGS["offsets.topic.num.partitions"])

    def transaction_partition(self, transactional_id):
        return TRANSACTIONS, java_hash(transactional_id) % int(SETTINGS["transaction.state.log.num.partitions"])

    def group_coordinator(self, group):
        return self.leader(*self.group_partition(group))

    def transaction_coordinator(self, transactional_id):
        return self.leader(*self.transaction_partition(transactional_id))

    def controller(self):
        """The number of the node whose controller is the active one."""
        answer = self.ask(DESCRIBE_QUORUM, 0, array([text("__cluster_metadata") + array([i32(0) + b"\0"]) + b"\0"]) + b"\0", timeout=3)
        error = answer.number("h")
        answer.varint(), answer.text(), answer.varint(), answer.number("i")  # one topic, its name, one partition, its number
        error = error or answer.number("h")
        assert error == 0, f"DescribeQuorum: error {error}"
        return answer.number("i")

    # ---- moving things

    def set_replicas(self, topic, partition, replicas):
        """The first of them leads."""
        body = (i32(10000) + array([text(topic) + array([i32(partition) + array([i32(r) for r in replicas]) + b"\0"]) + b"\0"]) + b"\0")
        self.ask(ALTER_REASSIGNMENTS, 0, body)

        def there():
            now = self.partition(topic, partition)
            return now.replicas == list(replicas) and set(now.isr) == set(replicas)
        eventually(there, 30, every=0.05, what=f"{topic}/{partition} on {replicas}, now {self.partition(topic, partition)}")
        if self.leader(topic, partition) != replicas[0]:
            self.ask(ELECT_LEADERS, 2, b"\0" + array([text(topic) + array([i32(partition)]) + b"\0"]) + i32(10000) + b"\0")
        eventually(lambda: self.leader(topic, partition) == replicas[0], 30, every=0.05, what=f"{replicas[0]} to lead {topic}/{partition}")

    def move_leader(self, topic, partition, to):
        now = self.partition(topic, partition).replicas
        assert to in now, f"{to} holds no replica of {topic}/{partition}: {now}"
        self.set_replicas(topic, partition, [to, *(r for r in now if r != to)])

    def wait_in_sync(self, timeout=60):
        """Every partition has a leader and all its replicas in sync, as every node that runs sees it."""
        def lagging():
            found = []
            for node in self.nodes:
                if node.running():
                    for topic, partitions in read_metadata(ask(node.port, METADATA, 9, b"\0\0\0\0\0", 10 * SCALE)).items():
                        found += [f"{topic}/{p}" for p in partitions.values() if p.leader < 0 or set(p.isr) != set(p.replicas)]
            return found

        def in_sync():
            try:
                found = lagging()
            except OSError as e:
                raise AssertionError(f"a node does not answer: {e}") from None
            assert not found, f"not in sync: {found[:8]}"
            return True
        eventually(in_sync, timeout, every=0.1, what="all replicas in sync")
