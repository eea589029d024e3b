"""Contract 11: what ExecuteStream hears while its command is under way, and that nothing of it is left when its caller has gone."""

import uuid

import pytest

from lib.client import book, new_root, numbers
from lib.metrics import Scrape
from lib.procs import eventually

PATH = "/angzarr.CommandGateway/ExecuteStream"


def where(message):
    return message.cover.domain, message.cover.root.value, *numbers(message)


def test_books_stored_while_its_command_runs_come_behind_its_own(make_system, make_logic, gated):
    """It has subscribed before it executes: what others store with that correlation id from then on is heard."""
    logic, id, root, other = gated(), "c-" + uuid.uuid4().hex, new_root(), new_root()
    client = make_system({"order": logic.address, "box": make_logic().address}, partitions=2).up().client()
    logic.hold()
    stream = client.stream(PATH, book("order", root, correlation_id=id))
    eventually(lambda: logic.waiting == 1)
    client.execute(book("box", other, n=2, correlation_id=id))
    client.execute(book("box", other, sequence=2, correlation_id="another"))
    client.execute(book("box", other, sequence=3, correlation_id=id))
    assert stream.messages == []
    logic.let_go()
    assert [where(b) for b in stream.wait(3)] == [("order", root, 0), ("box", other, 0, 1), ("box", other, 3)]
    stream.cancel()


@pytest.mark.parametrize("path", [PATH, "/angzarr.EventStream/Subscribe", "/angzarr.EventQuery/Synchronize"])
def test_a_stream_ends_here_when_its_caller_goes(system, client, path):
    """Seen from the server: the call is over and was counted."""
    def cancelled():
        return Scrape(system.http).sum("angzarr_rpc_duration_seconds_count", method=path, code="CANCELLED")
    root, id = new_root(), "c-" + uuid.uuid4().hex
    before = cancelled()
    if path == PATH:
        stream = client.stream(path, book("order", root, correlation_id=id))
        stream.wait(1)
    elif "Subscribe" in path:
        stream = client.subscribe(id).begun()
    else:
        stream = client.synchronize(client.query("order", root)).begun()
    assert cancelled() == before
    stream.call.cancel()
    eventually(lambda: cancelled() == before + 1, 10, what="the server to see that the caller has gone")
