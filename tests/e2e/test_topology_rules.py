"""What is checked before anything is served: the topics' durability (lane.md L17), and whether the store belongs to the log (L18)."""

import os
import shutil

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from lib.client import new_root, numbers
from lib.clock import ahead
from lib.procs import eventually

pytestmark = pytest.mark.kafka_only


def admin_of(broker):
    return AdminClient({"bootstrap.servers": broker.bootstrap})


def alter(broker, topic, name, value):
    admin = admin_of(broker)
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    for future in admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])]).values():
        future.result(20)


@pytest.mark.parametrize("topic, name, value, expected", [
    ("order.events", "unclean.leader.election.enable", "true", "expected false"),
    ("order.commands", "message.timestamp.type", "CreateTime", "expected LogAppendTime"),
    ("order.events", "cleanup.policy", "delete", "expected compact"),
    ("order.events", "max.message.bytes", "1000", "expected at least"),
])
def test_L17_a_topic_that_could_lose_events_is_refused_by_name(broker, make_system, make_logic, topic, name, value, expected):
    system = make_system({"order": make_logic().address}, partitions=1).up()
    assert system.worker.terminate() == 0
    alter(broker, system.topic(topic), name, value)
    system.worker.launch()
    assert system.worker.wait(40) == 2
    said = system.worker.log()
    assert system.topic(topic) in said and f"{name} is {value}" in said and expected in said and "kafka-configs.sh --alter" in said


def dropped(system):
    return [line["reason"] for line in system.worker.log_lines() if line["id"] == "STORE-DROPPED"]


@pytest.mark.parametrize("events", [0, 30])
def test_L18_a_store_of_topics_that_were_made_anew_is_not_believed(broker, make_system, make_logic, events):
    """The log has begun again at 0, and lies behind what the store has applied; or has come past it with other events."""
    system = make_system({"order": make_logic().address}, partitions=1).up()
    root = new_root()
    for i in range(5):
        system.client().do("order", root, sequence=i)
    assert system.worker.terminate() == 0
    admin = admin_of(broker)
    ours = [t for t in admin.list_topics(timeout=10).topics if t.startswith(system.prefix)]
    for future in admin.delete_topics(ours).values():
        future.result(20)
    [deleted] = admin.delete_consumer_groups([system.topic("order.aggregate")]).values()
    deleted.result(20)
    eventually(lambda: not [t for t in admin.list_topics(timeout=10).topics if t.startswith(system.prefix)])
    store = os.path.join(system.folder, "state", "w0")
    if events:
        os.rename(store, store + ".kept")
        system.up()
        client, other = system.client(), new_root()
        for i in range(events):
            client.do("order", other, sequence=i)
        assert system.worker.terminate() == 0
        shutil.rmtree(store)
        os.rename(store + ".kept", store)
    system.up()
    client = system.client()
    assert not events or len(client.event_book("order", other).pages) == events
    assert client.event_book("order", root).next_sequence == 0
    assert numbers(client.do("order", root)) == [0]


def test_L18_a_store_that_may_have_missed_erasures_is_not_believed(make_system, make_logic, folder):
    """The clock of the process is four days ahead: half of delete.retention.ms has gone by since the store was written."""
    system = make_system({"order": make_logic().address}, partitions=1).up()
    root = new_root()
    system.client().do("order", root)
    assert system.worker.terminate() == 0
    assert dropped(system) == []
    system.worker.env |= ahead(folder, 4 * 24 * 3600)
    system.worker.launch()
    [reason] = eventually(lambda: dropped(system), 60)
    assert "it was last written" in reason
    system.worker.kill()  # it does not serve well under a false clock
    del system.worker.env["LD_PRELOAD"]
    system.up()
    assert system.client().event_book("order", root).next_sequence == 1
