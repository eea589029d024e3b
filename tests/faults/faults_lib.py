"""What fault tests need beside tests/lib: systems whose every process has its own way to the brokers, and places for partitions."""

import json
import re

from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient

from lib import angzarr
from lib.angzarr import Role, merge
from lib.client import Client
from lib.cluster import OFFSETS, TRANSACTIONS
from lib.procs import eventually, free_ports

WORKERS, GATEWAYS = ("w0", "w1", "w2"), ("g0", "g1")
PATHS = (*WORKERS, *GATEWAYS)


class System(angzarr.System):
    """N workers w0, w1, … and M gateways g0, g1, …; each reaches the brokers through its own links of the proxy."""

    def __init__(self, cluster, proxy, domains, workers=2, gateways=1, partitions=1, settings=None):
        wanted = merge({"topology": {"replication": len(cluster.nodes)}}, settings or {})
        super().__init__(cluster, domains, two=True, workers=workers, partitions=partitions, settings=wanted)
        self.cluster, self.proxy = cluster, proxy
        self.workers = [self._on_path(w, f"w{i}", {}) for i, w in enumerate(self.workers)]
        ports = [self.grpc_port, self.http_port, *free_ports(2 * gateways - 2)]
        self.addresses = [f"127.0.0.1:{port}" for port in ports[::2]]
        self.gateways = [self._on_path(self.gateway, f"g{i}", {"gateway": {"address": self.addresses[i], "http": f"127.0.0.1:{ports[2 * i + 1]}"}})
                         for i in range(gateways)]
        self.worker, self.gateway = self.workers[0], self.gateways[0]
        self.roles = [*self.workers, *self.gateways]

    def _on_path(self, role, path, own):
        config = merge(json.loads(json.dumps(role.config)), {"log": {"kafka": {"bootstrap.servers": self.proxy.bootstrap(path)}}})
        made = Role(path, role.role, merge(config, own), self.folder)
        made.path = path
        return made

    def client(self, gateway=0):
        made = Client(self.addresses[gateway])
        self._clients.append(made)
        return made

    def up(self, timeout=60):
        """The gateways first: they make the topics."""
        for roles in ([self.gateway], self.roles[:-len(self.gateways)] + self.gateways[1:]):
            for role in roles:
                role.launch()
            for role in roles:
                role.ready(timeout)
        return self

    def up_in_order(self):
        """One partition: the first worker has it, whoever joins after it."""
        for role in [*self.gateways, self.worker]:
            role.up(90)
        for worker in self.workers[1:]:
            worker.launch()
        are_members(self.cluster, self, len(self.workers))
        return self

    def topics(self):
        """The topics of this system."""
        return [t for t in self.cluster.metadata() if t.startswith(self.prefix)]

    def group(self, domain="order"):
        return self.topic(f"{domain}.aggregate")

    def txns(self, worker, domain="order"):
        """A regular expression for the transactional ids of this worker, for rules."""
        return "^" + re.escape(self.topic(f"{domain}-{worker.path}-"))


def keep_away(cluster, system, node, but):
    """Of all that this system uses, the node holds nothing; but (topic, partition) is led by it."""
    rest = cluster.others(node)
    for topic, partitions in cluster.metadata().items():
        if topic in (OFFSETS, TRANSACTIONS) or topic in system.topics():
            for partition in partitions:
                if (topic, partition) == but:
                    cluster.set_replicas(topic, partition, [node, *rest])
                else:
                    cluster.set_replicas(topic, partition, rest)


def internal_everywhere(cluster):
    """The brokers' own topics are again on every node."""
    wanted = {n.number for n in cluster.nodes}
    for topic, partitions in cluster.metadata().items():
        if topic in (OFFSETS, TRANSACTIONS):
            for number, partition in partitions.items():
                if set(partition.replicas) != wanted:
                    cluster.set_replicas(topic, number, [*partition.replicas, *sorted(wanted - set(partition.replicas))])


def admin(cluster):
    return AdminClient({"bootstrap.servers": cluster.bootstrap})


def positions(cluster, system, domain="order"):
    """{(topic, partition): TopicPartition}, as committed."""
    client = admin(cluster)  # its futures end with it
    [result] = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(system.group(domain))]).values()
    return {(tp.topic, tp.partition): tp for tp in result.result(20).topic_partitions}


def members(cluster, system, domain="order"):
    """Members of the group; None while it is being rebalanced."""
    client = admin(cluster)
    [result] = client.describe_consumer_groups([system.group(domain)]).values()
    group = result.result(20)
    return len(group.members) if group.state == ConsumerGroupState.STABLE else None


def are_members(cluster, system, count=2, domain="order"):
    eventually(lambda: members(cluster, system, domain) == count, 60, every=0.2, what=f"{count} members in {system.group(domain)}")


def said(role, *ids):
    """The structured lines with one of these ids that the role wrote since its start."""
    return [line for line in role.log_lines() if line.get("id") in ids]
