"""docs/strimzi.yaml on a broker that asks for rights: what it grants is enough, and each of the rights is needed."""

import json
import pathlib
import re

import pytest
from confluent_kafka.admin import (AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AdminClient, NewTopic, ResourcePatternType,
                                   ResourceType)

from lib.angzarr import System, merge
from lib.client import new_root, numbers
from lib.kafka import Kafka
from lib.procs import eventually

pytestmark = pytest.mark.kafka_only

DOCUMENTS = (pathlib.Path(__file__).resolve().parents[2] / "docs/strimzi.yaml").read_text().split("\n---\n")
ACL = re.compile(r"- \{ resource: \{ type: (\w+), name: (\S+), patternType: (\w+) \}, operations: \[(.*)\] \}")
TYPES = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP, "transactionalId": ResourceType.TRANSACTIONAL_ID}
PATTERNS = {"prefix": ResourcePatternType.PREFIXED, "literal": ResourcePatternType.LITERAL}
OPERATIONS = {"Read": AclOperation.READ, "Write": AclOperation.WRITE, "Describe": AclOperation.DESCRIBE,
              "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS}

ANYTHING = AclBindingFilter(ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY)

USERS = {"admin": "a", "angzarr-worker": "w", "angzarr-gateway": "g"}
LOGIN = 'org.apache.kafka.common.security.plain.PlainLoginModule required username="admin" password="a" '
SECURED = {
    "listener.security.protocol.map": "BROKER:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
    "sasl.enabled.mechanisms": "PLAIN",
    "sasl.mechanism.inter.broker.protocol": "PLAIN",
    "listener.name.broker.plain.sasl.jaas.config": LOGIN + " ".join(f'user_{u}="{p}"' for u, p in USERS.items()) + ";",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:admin;User:ANONYMOUS",  # anonymous: the controller's own listener
}


def kind(name):
    return [d for d in DOCUMENTS if f"\nkind: {name}\n" in d]


def topics():
    """NewTopic objects; one broker has one replica."""
    for text in kind("KafkaTopic"):
        config = dict(re.findall(r"^    ([a-z.]+): (\S+)$", text, re.M))
        [name], [partitions] = re.findall(r"topicName: (\S+)", text), re.findall(r"partitions: (\d+)", text)
        yield NewTopic(name, int(partitions), 1, config={**config, "min.insync.replicas": "1"})


def rights():
    """(user, type, name, pattern, operation), one for each operation."""
    for text in kind("KafkaUser"):
        [user] = re.findall(r"metadata: \{ name: ([\w-]+)", text)
        for type, name, pattern, operations in ACL.findall(text):
            yield from ((user, type, name, pattern, o) for o in operations.split(", "))


RIGHTS = list(rights())


def login(user):
    return {"security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN", "sasl.username": user, "sasl.password": USERS[user]}


def binding(right):
    user, type, name, pattern, operation = right
    return AclBinding(TYPES[type], name, PATTERNS[pattern], f"User:{user}", "*", OPERATIONS[operation], AclPermissionType.ALLOW)


class Secured:
    """A broker that asks for rights, with the topics of the file, and what is granted on it at the moment."""

    def __init__(self):
        self.broker = Kafka(settings=SECURED).start()
        self.admin = AdminClient({"bootstrap.servers": self.broker.bootstrap, **login("admin")})
        for future in self.admin.create_topics(list(topics())).values():
            future.result(30)


    def grant_all_but(self, right):
        [deleted] = self.admin.delete_acls([ANYTHING]).values()
        deleted.result(30)
        rights = [r for r in RIGHTS if r != right]
        for future in self.admin.create_acls([binding(r) for r in rights]).values():
            future.result(30)
        eventually(lambda: len(self.admin.describe_acls(ANYTHING).result(30)) == len(rights), 30, what="the rights to be in force")


@pytest.fixture(scope="module")
def secured(log_kind):
    secured = Secured()
    yield secured
    secured.broker.close()


@pytest.fixture
def launch(secured, make_logic):
    """Starts gateway and worker, each with a user of its own that lacks `without`."""
    made = []

    def start(without=None):
        secured.grant_all_but(without)
        settings = {"topology": {"prefix": "angzarr.", "create": False}}
        system = System(secured.broker, {"order": make_logic().address}, two=True, partitions=12, settings=settings)
        made.append(system)
        for role, user in ((system.worker, "angzarr-worker"), (system.gateway, "angzarr-gateway")):
            merge(role.config, {"log": {"kafka": login(user)}})
            role.write()
            role.launch()
        return system
    yield start
    for system in made:
        system.close()


def test_what_the_file_grants_is_enough(launch):
    system = launch()
    for role in system.roles:
        role.ready()
    client, root = system.client(), new_root()
    assert numbers(client.do("order", root)) == [0]
    client.refused("FAILED_PRECONDITION", client.do, "order", root, 1, what="refuse", n=9)
    assert client.event_book("order", root).next_sequence == 1
    said = [line for role in system.roles for line in role.log_lines() if line["level"] in ("warn", "error")]
    assert [line for line in said if "authoriz" in json.dumps(line).lower() or "LOG_AUTH" in line.values()] == []


# Without the right: which role ends with which status, and what it says.
ENDS = {
    ("angzarr-worker", "topic", "Read"): (1, "TOPIC_AUTHORIZATION_FAILED"),
    ("angzarr-worker", "topic", "Write"): (1, "CLUSTER_AUTHORIZATION_FAILED"),  # a producer's id takes Write on any topic
    ("angzarr-worker", "topic", "DescribeConfigs"): (1, "TOPIC_AUTHORIZATION_FAILED"),
    ("angzarr-worker", "group", "Read"): (1, "GROUP_AUTHORIZATION_FAILED"),
    ("angzarr-worker", "transactionalId", "Write"): (1, "Transactional Id authorization failed"),
    ("angzarr-gateway", "topic", "Describe"): (2, "not found"),  # who may not see a topic is told that there is none
    ("angzarr-gateway", "topic", "Read"): (1, "TOPIC_AUTHORIZATION_FAILED"),
    ("angzarr-gateway", "topic", "DescribeConfigs"): (1, "TOPIC_AUTHORIZATION_FAILED"),
}
# Or both start, and a command gets this status.
REFUSES = {
    ("angzarr-gateway", "topic", "Write"): "UNAVAILABLE",
}


def key_of(right):
    return right[0], right[1], right[4]


def test_each_right_of_the_file_has_a_row_here():
    assert sorted(key_of(r) for r in RIGHTS) == sorted([*ENDS, *REFUSES])


@pytest.mark.parametrize("right", [r for r in RIGHTS if key_of(r) in ENDS], ids=lambda r: "-".join(key_of(r)))
def test_without_the_right_it_does_not_start_and_says_why(launch, right):
    status, text = ENDS[key_of(right)]
    system = launch(without=right)
    role = system.worker if right[0] == "angzarr-worker" else system.gateway
    assert role.wait(30) == status
    [stopped] = [line for line in role.log_lines() if line["id"] == "STOPPED"]
    assert text in stopped["msg"] and stopped["code"] == ("LOG_AUTH" if status == 1 else "LOG_TOPIC")


@pytest.mark.parametrize("right", [r for r in RIGHTS if key_of(r) in REFUSES], ids=lambda r: "-".join(key_of(r)))
def test_without_the_right_commands_fail(launch, right):
    system = launch(without=right)
    for role in system.roles:
        role.ready()
    client = system.client()
    client.refused(REFUSES[key_of(right)], client.do, "order", new_root(), timeout=4)
