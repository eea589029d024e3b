"""What every service does when it is called directly: the contract of a business service, whatever the language."""

import signal
import subprocess
import sys

import grpc
import pytest

from lib.angzarr import ROOT
from lib.api import pb
from lib.procs import SCALE
from services import SERVICES

ex = pb.examples

# domain: a first command and its event, a second one, the state after both, and a command that is wrong in itself
STORIES = {
    "customer": (ex.CreateCustomer(name="Ada", email="a@x"), ex.CustomerCreated(name="Ada", email="a@x"),
                 ex.AddLoyaltyPoints(points=7), ex.CustomerState(name="Ada", email="a@x", loyalty_points=7, lifetime_points=7),
                 ex.CreateCustomer(name="Ada"), "Customer email is required"),
    "inventory": (ex.CreateProduct(sku="L-1", name="Lamp"), ex.ProductCreated(sku="L-1", name="Lamp"),
                  ex.AdjustStock(delta=7, reason="r"), ex.InventoryState(sku="L-1", name="Lamp", on_hand=7),
                  ex.CreateProduct(sku="L-1"), "Product name is required"),
}


class Called:
    def __init__(self, service, address):
        self.service = service
        # What grpcio says by itself is the path of a socket, which some servers refuse as the name of a host.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.default_authority", "localhost")]
        self.channel = grpc.insecure_channel(address, options=options)

    def raw(self, rpc, request, contract=None):
        method = self.channel.unary_unary(f"/{contract or self.service.contract}/{rpc}")
        return method(request.SerializeToString(), timeout=20 * SCALE, wait_for_ready=True)

    def handle(self, *commands, events=None):
        """The EventBook, from either kind of answer."""
        request = pb.ContextualCommand(events=events)
        request.command.cover.domain = self.service.domain
        for command in commands:
            request.command.pages.add().command.CopyFrom(command if isinstance(command, pb.wkt.Any) else packed(command))
        answer = self.raw("Handle", request)
        return pb.BusinessResponse.FromString(answer).events if self.service.contract == "angzarr.Aggregate" else pb.EventBook.FromString(answer)

    def refused(self, *commands, events=None):
        with pytest.raises(grpc.RpcError) as refusal:
            self.handle(*commands, events=events)
        return refusal.value.code().name, refusal.value.details()


def packed(message):
    made = pb.wkt.Any()
    made.Pack(message)
    return made


@pytest.fixture(params=["tcp", "unix"])
def running(request, service, tmp_path):
    address = "127.0.0.1:0" if request.param == "tcp" else f"unix:{tmp_path}/logic.sock"
    process = service.start(tmp_path, address)
    yield process
    process.close()


@pytest.fixture
def called(service, running):
    called = Called(service, running.address)
    yield called
    called.channel.close()


def test_events_state_and_refusals(service, called):
    first, event, second, state, wrong, message = STORIES[service.domain]
    answer = called.handle(first, second)
    assert [page.WhichOneof("sequence") for page in answer.pages] == [None, None]
    assert answer.cover.domain == service.domain
    assert answer.pages[0].event == packed(event)
    assert type(state).FromString(answer.snapshot_state.value) == state
    assert called.refused(wrong) == ("INVALID_ARGUMENT", message)
    assert called.refused() == ("INVALID_ARGUMENT", "The command book has no page")
    assert called.refused(event) == ("INVALID_ARGUMENT", f"unknown command: {event.DESCRIPTOR.full_name}")
    assert called.refused(pb.wkt.Any()) == ("INVALID_ARGUMENT", "unknown command: no type")
    broken = pb.wkt.Any(type_url=packed(first).type_url, value=b"\xff")
    assert called.refused(broken) == ("INVALID_ARGUMENT", f"command {first.DESCRIPTOR.full_name} does not decode")
    descriptor = pb.ComponentDescriptor.FromString(called.raw("GetDescriptor", pb.GetDescriptorRequest()))
    assert (descriptor.name, descriptor.component_type) == (service.domain, "aggregate")


def test_snapshots_and_histories(service, called):
    first, event, second, state, *_ = STORIES[service.domain]
    history = pb.EventBook()
    history.pages.add(num=0, event=packed(event))
    whole = called.handle(second, events=history)
    assert len(whole.pages) == 1 and type(state).FromString(whole.snapshot_state.value) == state
    # The snapshot stands for the event that it holds, whether that is sent too or not.
    at_first = type(state).FromString(called.handle(first).snapshot_state.value)
    history.snapshot.sequence = 0
    history.snapshot.state.CopyFrom(packed(at_first))
    assert called.handle(second, events=history).snapshot_state == whole.snapshot_state
    del history.pages[:]
    assert called.handle(second, events=history).snapshot_state == whole.snapshot_state
    # What is not a history of this domain is a defect, and named.
    history.snapshot.state.CopyFrom(packed(event))
    name = event.DESCRIPTOR.full_name
    assert called.refused(second, events=history) == ("INTERNAL", f"History cannot be read: unknown snapshot: {name}")
    history = pb.EventBook(pages=[pb.EventPage(num=0, event=packed(first))])
    name = first.DESCRIPTOR.full_name
    assert called.refused(second, events=history) == ("INTERNAL", f"History cannot be read: unknown event: {name}")
    history.pages[0].event.CopyFrom(pb.wkt.Any(type_url=packed(event).type_url, value=b"\xff"))
    name = event.DESCRIPTOR.full_name
    assert called.refused(second, events=history) == ("INTERNAL", f"History cannot be read: event {name} does not decode")


def test_a_long_history_is_taken(service, called):
    """More than the 4 MiB that gRPC libraries take when nothing is said."""
    first, event, second, *_ = STORIES[service.domain]
    last = {"customer": ex.LoyaltyPointsAdded(reason="x" * 10000), "inventory": ex.StockAdjusted(reason="x" * 10000)}[service.domain]
    history = pb.EventBook()
    history.pages.add(num=0, event=packed(event))
    for number in range(1, 601):
        history.pages.add(num=number, event=packed(last))
    assert history.ByteSize() > 6_000_000
    assert len(called.handle(second, events=history).pages) == 1


def test_the_other_shape_is_unimplemented(service, called):
    """By this angzarr finds out which one is served."""
    other = {"angzarr.BusinessLogic": "angzarr.Aggregate", "angzarr.Aggregate": "angzarr.BusinessLogic"}[service.contract]
    with pytest.raises(grpc.RpcError) as refusal:
        called.raw("Handle", pb.ContextualCommand(), contract=other)
    assert refusal.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_reflection_names_the_service(service, called):
    if not service.reflection:
        return
    method = called.channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    # ServerReflectionRequest { string list_services = 7 }: the answer names every service in it
    [answer] = method(iter([b"\x3a\x00"]), timeout=20 * SCALE, wait_for_ready=True)
    assert service.contract.encode() in answer


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT], ids=lambda sig: sig.name)
def test_a_signal_ends_it_in_peace(service, running, called, sig):
    called.handle(STORIES[service.domain][0])  # a connection is open
    running.signal(sig)
    assert running.wait(30) == 0


@pytest.mark.parametrize("running", ["tcp"], indirect=True)
def test_an_occupied_address_is_an_error(service, running):
    second = subprocess.run([*service.argv(), "--address", running.address], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            timeout=60 * SCALE)
    assert second.returncode != 0
    assert f"cannot listen on {running.address}" in second.stderr


def test_the_address_may_stand_in_the_environment(service, tmp_path):
    process = service.start(tmp_path, address=None, env={"ADDRESS": f"unix:{tmp_path}/named.sock"})
    try:
        assert process.address == f"unix:{tmp_path}/named.sock"
    finally:
        process.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("folder", sorted({s.folder for s in SERVICES}))
def test_its_own_tests_pass(folder):
    """`make test`: the pure functions, each in its language.  Python's are counted one by one, beside these."""
    argv = ["make", "-C", ROOT / "examples" / folder, "test", f"PYTHON={sys.executable}"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
