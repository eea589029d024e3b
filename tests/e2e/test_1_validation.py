"""Contract 1: what is refused before anything is stored, and how."""

import uuid

import pytest

from lib import wire
from lib.api import pack, pb
from lib.client import book, new_root, numbers

EXECUTE = "/angzarr.CommandGateway/Execute"
WAYS = [EXECUTE, "/angzarr.BusinessCoordinator/Handle", "/angzarr.AggregateCoordinator/Handle"]
SYNC_WAYS = ["/angzarr.CommandGateway/ExecuteSync", "/angzarr.AggregateCoordinator/HandleSync"]


def without(field):
    command = book("order", new_root())
    if field == "cover":
        command.ClearField("cover")
    else:
        command.cover.ClearField(field)
    return command


def with_cover(**fields):
    command = book("order", new_root())
    for name, value in fields.items():
        if name == "root":
            command.cover.root.value = value
        elif name == "edition":
            command.cover.edition.name = value
        else:
            setattr(command.cover, name, value)
    return command


INVALID = [
    ("no cover", without("cover"), "CommandBook must have a cover"),
    ("no root", without("root"), "Cover must have a root UUID"),
    ("root of 15 bytes", with_cover(root=bytes(15)), "Invalid UUID: "),
    ("root of 17 bytes", with_cover(root=bytes(17)), "Invalid UUID: "),
    ("root of no bytes", with_cover(root=b""), "Invalid UUID: "),
    ("no domain", without("domain"), "domain"),
    ("domain of 65 characters", with_cover(domain="a" * 65), "domain"),
    ("domain in capitals", with_cover(domain="Order"), "domain"),
    ("domain that begins with a digit", with_cover(domain="1order"), "domain"),
    ("domain with a dot", with_cover(domain="or.der"), "domain"),
    ("domain with a line break", with_cover(domain="order\n"), "domain"),
    ("edition in capitals", with_cover(edition="Other"), "edition"),
    ("edition of 65 characters", with_cover(edition="e" * 65), "edition"),
    ("correlation id of 129 characters", with_cover(correlation_id="c" * 129), "correlation_id"),
    ("correlation id with a space", with_cover(correlation_id="a b"), "correlation_id"),
    ("correlation id with an umlaut", with_cover(correlation_id="ä"), "correlation_id"),
]


@pytest.mark.parametrize("command, text", [row[1:] for row in INVALID], ids=[row[0] for row in INVALID])
def test_invalid_argument_names_the_field(client, logic, command, text):
    before = logic.calls.total
    refused = client.refused("INVALID_ARGUMENT", client.execute, command)
    assert text in refused.message
    assert logic.calls.total == before


@pytest.mark.parametrize("path", WAYS)
def test_every_way_in_validates_alike(client, path):
    refused = client.refused("INVALID_ARGUMENT", client.execute, without("cover"), path=path)
    assert refused.message == "CommandBook must have a cover"


@pytest.mark.parametrize("path", SYNC_WAYS)
def test_the_synchronous_ways_in_validate_alike(client, path):
    refused = client.refused("INVALID_ARGUMENT", client.execute, pb.SyncCommandBook(command=without("root")), path=path)
    assert refused.message == "Cover must have a root UUID"


def test_the_longest_valid_names_are_accepted(client):
    command = book("order", new_root(), correlation_id="Az09_-" + "c" * 122)
    assert numbers(client.execute(command)) == [0]


def test_names_of_64_characters_are_valid(client):
    refused = client.refused("NOT_FOUND", client.do, "_9-" + "a" * 61, new_root())  # valid, and no domain of ours
    assert "a" * 61 in refused.message
    assert numbers(client.do("order", new_root(), edition="_9-" + "e" * 61)) == [0]


def test_an_unknown_domain_is_not_found(client):
    refused = client.refused("NOT_FOUND", client.do, "nosuch", new_root())
    assert "nosuch" in refused.message


@pytest.mark.parametrize("path", WAYS)
def test_each_way_in_runs_a_command(client, path):
    assert numbers(client.execute(book("order", new_root(), n=2), path=path)) == [0, 1]


@pytest.mark.parametrize("path", SYNC_WAYS)
def test_each_synchronous_way_in_runs_a_command_in_mode_none(client, path):
    command = pb.SyncCommandBook(command=book("order", new_root(), n=2))
    assert numbers(client.execute(command, path=path)) == [0, 1]


@pytest.mark.parametrize("mode", [1, 2], ids=["SIMPLE", "CASCADE"])
def test_a_mode_that_is_not_built_says_so_and_stores_nothing(client, mode):
    root = new_root()
    command = pb.SyncCommandBook(command=book("order", root), sync_mode=mode)
    client.refused("UNIMPLEMENTED", client.execute, command, path=SYNC_WAYS[0])
    assert client.event_book("order", root).next_sequence == 0


def test_a_message_over_the_limit_is_resource_exhausted_and_stores_nothing(client, logic):
    root = new_root()
    before = logic.calls.total
    client.refused("RESOURCE_EXHAUSTED", client.do, "order", root, data=bytes(2 << 20))
    assert client.event_book("order", root).next_sequence == 0
    assert logic.calls.total == before


@pytest.mark.parametrize("correlation_id", ["given", ""], ids=["with a correlation id", "without"])
def test_a_message_of_exactly_the_limit_is_no_message_over_it(client, correlation_id):
    root, limit = new_root(), 1 << 20
    command = book("order", root, what="none", correlation_id=correlation_id, data=bytes(limit - 1000))
    command = book("order", root, what="none", correlation_id=correlation_id, data=bytes(limit - 1000 + limit - command.ByteSize()))
    assert command.ByteSize() == limit
    assert client.execute(command).events.next_sequence == 0
    client.refused("RESOURCE_EXHAUSTED", client.execute, book("order", root, what="none", data=bytes(limit - 20)))


def cover(root):
    return wire.put(1, wire.put(1, wire.put(1, root)) + wire.put(2, "order"))


def page(command=b"", sequence=b""):
    return wire.put(2, sequence + command)


def good():
    return cover(new_root()) + page(wire.put(3, pack(pb.test.Do()).SerializeToString()))


MALFORMED = [
    ("truncated", lambda: good()[:-3]),
    ("not protobuf", lambda: b"\xff" * 40),
    ("cover twice", lambda: cover(new_root()) + good()),
    ("domain twice", lambda: wire.put(1, wire.put(1, wire.put(1, new_root())) + wire.put(2, "order") + wire.put(2, "order"))),
    ("cover as a varint", lambda: wire.put(1, 7)),
    ("a group", lambda: good() + b"\x5b\x5c"),
    ("an overlong varint", lambda: good() + b"\x78" + b"\x80" * 10 + b"\x01"),
    ("field number 0", lambda: good() + b"\x02\x00"),
    ("invalid UTF-8 in the domain", lambda: wire.put(1, wire.put(1, wire.put(1, new_root())) + wire.put(2, b"\xff\xfe"))),
    ("invalid UTF-8 in a type_url", lambda: cover(new_root()) + page(wire.put(3, wire.put(1, b"\xc3\x28")))),
]


@pytest.mark.parametrize("data", [row[1] for row in MALFORMED], ids=[row[0] for row in MALFORMED])
def test_bytes_that_are_no_proper_message_are_refused(client, logic, data):
    before = logic.calls.total
    refused = client.refused("INVALID_ARGUMENT", client.raw, EXECUTE, data())
    assert refused.message
    assert logic.calls.total == before


def test_the_unmalformed_form_of_these_is_accepted(client):
    assert numbers(pb.CommandResponse.FromString(client.raw(EXECUTE, good()))) == [0]


def test_unknown_fields_reach_the_business_logic(client, logic):
    id = str(uuid.uuid4())
    root = new_root()
    command = wire.put(1, wire.put(1, wire.put(1, root)) + wire.put(2, "order")) + \
        page(wire.put(3, pack(pb.test.Do(id=id)).SerializeToString())) + wire.put(1000, "later")
    client.raw(EXECUTE, command)
    request, _ = logic.calls.last(id)
    assert wire.put(1000, "later") in request.command.SerializeToString()
