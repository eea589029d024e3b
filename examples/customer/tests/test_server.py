"""The server and the client as processes, on a socket of their own."""

import pathlib
import signal
import subprocess
import sys
from concurrent import futures

import grpc
import pytest

import gen  # noqa: F401
from angzarr import business_pb2, business_pb2_grpc, component_pb2, gateway_pb2_grpc, query_pb2_grpc, types_pb2
from examples import customer_pb2 as pb

HERE = pathlib.Path(__file__).resolve().parent.parent
READY = "customer logic ready on "


@pytest.fixture(params=["tcp", "unix"])
def served(request, tmp_path):
    """A running server: (process, address)."""
    address = "127.0.0.1:0" if request.param == "tcp" else f"unix:{tmp_path}/logic.sock"
    argv = [sys.executable, HERE / "server.py", "--address", address]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith(READY), line
        yield process, line[len(READY):].strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def contextual(command, history=None):
    made = business_pb2.ContextualCommand(events=history)
    made.command.pages.add().command.Pack(command)
    return made


def corrupt():
    made = types_pb2.EventBook()
    made.pages.add(num=0).event.Pack(pb.CreateCustomer())
    return made


def test_calls_statuses_and_a_clean_end(served):
    process, address = served
    with grpc.insecure_channel(address) as channel:
        stub = business_pb2_grpc.BusinessLogicStub(channel)
        answer = stub.Handle(contextual(pb.CreateCustomer(name="Ada", email="a@x")), timeout=10)
        assert answer.pages[0].event.TypeName() == "examples.CustomerCreated"
        assert stub.GetDescriptor(component_pb2.GetDescriptorRequest(), timeout=10).name == "customer"
        for request, code, text in [
            (contextual(pb.CreateCustomer()), "INVALID_ARGUMENT", "Customer name is required"),
            (contextual(pb.AddLoyaltyPoints(points=1)), "FAILED_PRECONDITION", "Customer does not exist"),
            (contextual(pb.CreateCustomer(name="A", email="e"), corrupt()), "INTERNAL",
             "History cannot be read: unknown event: examples.CreateCustomer"),
        ]:
            with pytest.raises(grpc.RpcError) as refusal:
                stub.Handle(request, timeout=10)
            assert (refusal.value.code().name, refusal.value.details()) == (code, text)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0


@pytest.mark.parametrize("served", ["tcp"], indirect=True)
def test_an_occupied_address_is_an_error(served):
    _, address = served
    argv = [sys.executable, HERE / "server.py", "--address", address]
    second = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert second.returncode != 0
    assert f"cannot listen on {address}" in second.stderr


class Gateway(gateway_pb2_grpc.CommandGatewayServicer, query_pb2_grpc.EventQueryServicer):
    """Enough of a gateway for one customer: hands commands to the logic and keeps the events in memory."""

    def __init__(self, logic_address):
        self.logic = business_pb2_grpc.BusinessLogicStub(grpc.insecure_channel(logic_address))
        self.book = types_pb2.EventBook()

    def Execute(self, request, context):
        if request.pages[0].sequence != self.book.next_sequence:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "Sequence mismatch")
        try:
            new = self.logic.Handle(business_pb2.ContextualCommand(events=self.book, command=request), timeout=10)
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())
        for page in new.pages:
            page.num = self.book.next_sequence
            page.created_at.GetCurrentTime()
            self.book.pages.append(page)
            self.book.next_sequence += 1
        new.next_sequence = self.book.next_sequence
        return types_pb2.CommandResponse(events=new)

    def GetEventBook(self, request, context):
        return self.book


def run_client(address):
    argv = [sys.executable, HERE / "client.py", "--address", address, "--timeout", "10"]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60)


def test_the_client_tells_the_story(served):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    gateway = Gateway(served[1])
    gateway_pb2_grpc.add_CommandGatewayServicer_to_server(gateway, server)
    query_pb2_grpc.add_EventQueryServicer_to_server(gateway, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        first, second = run_client(address), run_client(address)
    finally:
        server.stop(None).wait()
    assert first.returncode == 0, first.stderr
    for text in ("CustomerCreated(name='Ada', email='ada@example.com')",
                 "LoyaltyPointsRedeemed(points=30, new_balance=70",
                 "refused: FAILED_PRECONDITION: Insufficient points: have 70, need 500",
                 "history: 3 events, the next will be number 3"):
        assert text in first.stdout
    # The customer of this gateway exists by now: another answer than the story's is told, and fails.
    assert second.returncode != 0
    assert f"the gateway at {address} answered FAILED_PRECONDITION: Sequence mismatch" in second.stderr
