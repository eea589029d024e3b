"""Server reflection: clients that know an address, and nothing of the contract, find out what they can call and call it."""

import base64
import contextlib
import threading
import time

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_tools import protoc

from lib import angzarr, grpcurl
from lib.api import TYPE_URL, descriptors, pool
from lib.client import new_root, numbers
from lib.procs import SCALE, eventually, in_thread

V1, V1ALPHA = "grpc.reflection.v1", "grpc.reflection.v1alpha"
ALWAYS = ["grpc.health.v1.Health", f"{V1}.ServerReflection", f"{V1ALPHA}.ServerReflection"]
GATEWAY = sorted(["angzarr.AggregateCoordinator", "angzarr.BusinessCoordinator", "angzarr.CommandGateway", "angzarr.EventQuery",
                  "angzarr.EventStream", "angzarr.ext.EventTail", *ALWAYS])
STREAM = sorted(["angzarr.EventQuery", "angzarr.EventStream", "angzarr.ext.EventTail", *ALWAYS])
WORKER = sorted(["angzarr.EventQuery", "angzarr.ext.Worker", *ALWAYS])

ORDERS = """\
syntax = "proto3";
package shop;
import "google/protobuf/descriptor.proto";
import "shop/money.proto";
extend google.protobuf.MessageOptions { string owner = 50001; }
extend google.protobuf.FieldOptions { bool secret = 50002; int32 rank = 50003; }
message Order {
  option (owner) = "sales";
  message Line { string what = 1; Money price = 2; }
  enum State { OPEN = 0; PAID = 1; }
  repeated Line lines = 1;
  State state = 2;
  oneof by { string card = 3 [(secret) = true]; string cash = 4; }
}
service Checkout { rpc Pay(Order) returns (Money); }
"""
MONEY = """\
syntax = "proto3";
package shop;
message Money { int64 cents = 1; }
"""


def descriptor_set(folder, name, sources, *arguments, imports=True):
    """Compiles {path: text}; returns the path of the descriptor set."""
    for path, text in sources.items():
        (folder / "src" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "src" / path).write_text(text)
    out = folder / name
    well_known = f"{protoc.__file__.rpartition('/')[0]}/_proto"
    flags = ["--include_imports"] if imports else []
    assert protoc.main(["protoc", f"-I{folder}/src", f"-I{well_known}", *flags, f"--descriptor_set_out={out}", *arguments]) == 0
    return out


@pytest.fixture(scope="module")
def types(tmp_path_factory):
    """Two descriptor sets of a user: of the tests' business logic, and of a shop."""
    folder = tmp_path_factory.mktemp("types")
    logic = (angzarr.ROOT / "tests/lib/proto/angzarr_test.proto").read_text()
    return [str(descriptor_set(folder, "logic.pb", {"angzarr_test.proto": logic}, "angzarr_test.proto")),
            str(descriptor_set(folder, "shop.pb", {"shop/orders.proto": ORDERS, "shop/money.proto": MONEY}, "shop/orders.proto"))]


@pytest.fixture(scope="module")
def shop(log, logic, types):
    """A running `standalone` that knows the user's types."""
    system = angzarr.System(log, {"order": logic.address}, settings={"descriptors": types})
    try:
        system.up()
        yield system
    finally:
        system.close()


# ---- grpcurl

def test_grpcurl_lists_and_describes(shop):
    assert grpcurl.told(shop.address, "list").split() == GATEWAY
    assert grpcurl.told(shop.address, "list", "angzarr.CommandGateway").split() == [
        f"angzarr.CommandGateway.{name}"
        for name in ("Execute", "ExecuteStream", "ExecuteStreamResponseCount", "ExecuteStreamResponseTime", "ExecuteSync")]
    told = grpcurl.told(shop.address, "describe", "angzarr.CommandGateway.Execute")
    assert "rpc Execute ( .angzarr.CommandBook ) returns ( .angzarr.CommandResponse );" in told
    assert "repeated .angzarr.CommandPage pages = 2;" in grpcurl.told(shop.address, "describe", "angzarr.CommandBook")
    told = grpcurl.told(shop.address, "describe", "shop.Order")
    assert "repeated .shop.Order.Line lines = 1;" in told and 'option (.shop.owner) = "sales";' in told


def test_grpcurl_calls_with_a_users_type_in_an_any(shop):
    root = new_root()
    cover = {"domain": "order", "root": {"value": base64.b64encode(root).decode()}}
    command = {"@type": TYPE_URL + "angzarr_test.Do", "n": 2, "id": "by-grpcurl"}
    answer = grpcurl.answered(shop.address, "angzarr.CommandGateway/Execute", data={"cover": cover, "pages": [{"command": command}]})
    events = [page["event"] for page in answer["events"]["pages"]]
    assert [(e["@type"], e["id"], e.get("k", 0)) for e in events] == [(TYPE_URL + "angzarr_test.Done", "by-grpcurl", k) for k in (0, 1)]
    book = grpcurl.answered(shop.address, "angzarr.EventQuery/GetEventBook", data={"cover": cover})
    assert [page["event"] for page in book["pages"]] == events and book["nextSequence"] == 2
    # What it sent is what any client sends.
    assert numbers(shop.client().event_book("order", root)) == [0, 1]


def test_grpcurl_knows_no_type_that_nobody_named(system):
    command = {"@type": TYPE_URL + "angzarr_test.Do"}
    status, _, err = grpcurl.run(system.address, "angzarr.CommandGateway/Execute", data={"pages": [{"command": command}]})
    assert status != 0 and "angzarr_test.Do" in err, err


def test_health_through_grpcurl(shop):
    assert grpcurl.answered(shop.address, "grpc.health.v1.Health/Check") == {"status": "SERVING"}


# ---- grpcio

def test_grpcio_finds_the_types_and_calls(shop):
    with grpc.insecure_channel(shop.address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert sorted(database.get_services()) == GATEWAY
        found = descriptor_pool.DescriptorPool(database)
        service = found.FindServiceByName("angzarr.CommandGateway")
        method = service.methods_by_name["Execute"]
        make = message_factory.GetMessageClass
        book = make(method.input_type)(cover={"domain": "order", "root": {"value": new_root()}})
        book.pages.add().command.Pack(make(found.FindMessageTypeByName("angzarr_test.Do"))(n=3, id="found"))
        call = channel.unary_unary(f"/{service.full_name}/{method.name}", request_serializer=lambda m: m.SerializeToString(),
                                   response_deserializer=make(method.output_type).FromString)
        answer = call(book, timeout=30 * SCALE)
        done = make(found.FindMessageTypeByName("angzarr_test.Done"))()
        assert len(answer.events.pages) == 3 and answer.events.pages[2].event.Unpack(done)
        assert (done.id, done.k) == ("found", 2)
        assert found.FindEnumTypeByName("shop.Order.State").values_by_name["PAID"].number == 1
        with pytest.raises(KeyError):
            found.FindMessageTypeByName("shop.None")


def test_every_file_is_the_one_that_protoc_wrote(shop, types):
    """Also what is not looked at here (options, json names) arrives as it was."""
    with grpc.insecure_channel(shop.address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        with open(types[1], "rb") as f:
            for file in descriptor_pb2.FileDescriptorSet.FromString(f.read()).file:
                if file.name.startswith("shop/"):
                    assert database.FindFileByName(file.name) == file
        for file in descriptors.file:
            if file.package == "angzarr":
                got = database.FindFileByName(file.name)
                assert [m.name for m in got.message_type] == [m.name for m in file.message_type]
                assert [s.name for s in got.service] == [s.name for s in file.service]


# ---- the protocol

class Stream:
    """One stream; requests are sent one by one.  Answers and requests are raw bytes where they must be."""

    def __init__(self, channel, package=V1):
        self.request = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.ServerReflectionRequest"))
        response = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.ServerReflectionResponse"))
        self._waiting, self._ready, self._over = [], threading.Condition(), False
        call = channel.stream_stream(f"/{package}.ServerReflection/ServerReflectionInfo", response_deserializer=response.FromString)
        self.call = call(self._requests(), timeout=60 * SCALE)

    def _requests(self):
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._waiting or self._over)
                if not self._waiting:
                    return
                request = self._waiting.pop(0)
            yield request

    def send(self, raw=None, **request):
        with self._ready:
            self._waiting.append(self.request(**request).SerializeToString() if raw is None else raw)
            self._ready.notify()
        return self

    def left(self):
        """How many requests are not sent yet."""
        return len(self._waiting)

    def ask(self, **request):
        self.send(**request)
        return next(self.call)

    def files(self, **request):
        answer = self.ask(**request)
        assert answer.WhichOneof("message_response") == "file_descriptor_response", answer
        return [descriptor_pb2.FileDescriptorProto.FromString(f).name for f in answer.file_descriptor_response.file_descriptor_proto]

    def end(self):
        """No more requests; the code of the status."""
        with self._ready:
            self._over = True
            self._ready.notify()
        return self.code()

    def code(self):
        with contextlib.suppress(grpc.RpcError):
            for _ in self.call:
                pass
        return self.call.code()


@pytest.fixture
def channel(shop):
    with grpc.insecure_channel(shop.address) as channel:
        yield channel


@pytest.mark.parametrize("package", [V1, V1ALPHA])
def test_the_five_questions(channel, package):
    stream = Stream(channel, package)
    answer = stream.ask(host="there", list_services="*")
    assert [s.name for s in answer.list_services_response.service] == GATEWAY
    assert answer.valid_host == "there" and answer.original_request == stream.request(host="there", list_services="*")
    assert stream.files(file_by_filename="shop/money.proto") == ["shop/money.proto"]
    assert stream.files(file_containing_symbol="shop.Money.cents") == ["shop/money.proto"]
    extension = {"containing_type": "google.protobuf.FieldOptions", "extension_number": 50003}
    assert stream.files(file_containing_extension=extension)[0] == "shop/orders.proto"
    answer = stream.ask(all_extension_numbers_of_type="google.protobuf.FieldOptions").all_extension_numbers_response
    assert answer.base_type_name == "google.protobuf.FieldOptions" and sorted(answer.extension_number) == [50002, 50003]
    answer = stream.ask(all_extension_numbers_of_type="shop.Money")
    assert answer.WhichOneof("message_response") == "all_extension_numbers_response"
    assert list(answer.all_extension_numbers_response.extension_number) == []
    assert stream.end() == grpc.StatusCode.OK


@pytest.mark.parametrize("symbol, file", [
    ("shop.Order", "shop/orders.proto"), ("shop.Order.Line", "shop/orders.proto"), ("shop.Order.Line.price", "shop/orders.proto"),
    ("shop.Order.by", "shop/orders.proto"), ("shop.Order.State", "shop/orders.proto"), ("shop.Order.PAID", "shop/orders.proto"),
    ("shop.Checkout", "shop/orders.proto"), ("shop.Checkout.Pay", "shop/orders.proto"), ("shop.owner", "shop/orders.proto"),
    ("angzarr.EventQuery", "angzarr/query.proto"), ("angzarr.ext.Worker", "angzarr/ext/worker.proto"),
    ("angzarr.ext.EventTail", "angzarr/ext/event_tail.proto"),
    ("angzarr.SYNC_MODE_CASCADE", "angzarr/types.proto"), ("google.protobuf.Timestamp", "google/protobuf/timestamp.proto"),
    (f"{V1}.ServerReflection", "grpc/reflection/v1/reflection.proto"),
    (f"{V1ALPHA}.ServerReflection", "grpc/reflection/v1alpha/reflection.proto"), ("grpc.health.v1.Health", "grpc/health/v1/health.proto"),
])
def test_a_symbol_leads_to_its_file(channel, symbol, file):
    assert Stream(channel).files(file_containing_symbol=symbol)[0] == file


def test_imports_come_along_each_once_per_stream(channel):
    stream = Stream(channel)
    first = stream.files(file_containing_symbol="shop.Order")
    assert first[0] == "shop/orders.proto" and sorted(first[1:]) == ["google/protobuf/descriptor.proto", "shop/money.proto"]
    gateway = stream.files(file_containing_symbol="angzarr.CommandGateway")
    assert gateway[0] == "angzarr/gateway.proto" and "angzarr/types.proto" in gateway and "google/protobuf/any.proto" in gateway
    assert len(set(gateway)) == len(gateway)
    assert stream.files(file_containing_symbol="angzarr.EventQuery")[0] == "angzarr/query.proto"
    # What is asked for is always in the answer, even again; what was sent along is not sent along again.
    assert stream.files(file_containing_symbol="shop.Order") == ["shop/orders.proto"]
    # Another stream begins anew.
    assert sorted(Stream(channel).files(file_containing_symbol="shop.Order")) == sorted(first)


@pytest.mark.parametrize("question", [
    {"file_by_filename": "shop/none.proto"}, {"file_by_filename": ""}, {"file_containing_symbol": "shop.None"}, {"file_containing_symbol": ""},
    {"file_containing_symbol": ".shop.Order"}, {"file_containing_symbol": "shop"}, {"file_containing_symbol": "x" * 100000},
    {"file_containing_symbol": "a\0b"}, {"file_containing_extension": {"containing_type": "shop.Money", "extension_number": 1}},
    {"file_containing_extension": {}}, {"all_extension_numbers_of_type": "shop.None"}, {"all_extension_numbers_of_type": "shop.Checkout"},
])
def test_what_is_not_there_is_an_answer_and_the_stream_goes_on(channel, question):
    stream = Stream(channel)
    answer = stream.ask(host="h", **question)
    assert answer.WhichOneof("message_response") == "error_response"
    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0] and answer.error_response.error_message
    assert answer.original_request == stream.request(host="h", **question)
    assert stream.files(file_by_filename="shop/money.proto") == ["shop/money.proto"]
    assert stream.end() == grpc.StatusCode.OK


def test_a_question_of_tomorrow_is_an_answer_too(channel):
    stream = Stream(channel).send(raw=b"\x0a\x01h\x42\x03new")
    answer = next(stream.call)
    assert answer.error_response.error_code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert stream.files(file_by_filename="shop/money.proto") == ["shop/money.proto"]


@pytest.mark.parametrize("raw", [b"\xff\xff", b"\x22\x7fshort", b"\x22\x01\xff", b"\x20\x01", b"\x2a\x03\x0a\x01\xff", b"\x2a\x02\x0a\x05", b"\x0b"],
                         ids=["no varint", "cut off", "no UTF-8", "a number for a text", "no UTF-8 inside", "cut off inside", "a group"])
def test_bad_bytes_end_the_stream(channel, raw):
    stream = Stream(channel)
    assert stream.files(file_by_filename="shop/money.proto") == ["shop/money.proto"]
    stream.send(raw=raw)
    assert stream.code() == grpc.StatusCode.INVALID_ARGUMENT and "ServerReflectionRequest" in stream.call.details()


def test_a_request_over_the_limit(channel):
    for size in (1 << 20) + 1000, 3 << 20:  # a little over limits.message, and far over it
        stream = Stream(channel).send(file_containing_symbol="x" * size)
        assert stream.end() == grpc.StatusCode.RESOURCE_EXHAUSTED, stream.call.details()
    assert Stream(channel).files(file_by_filename="shop/money.proto") == ["shop/money.proto"]


def test_a_caller_that_does_not_read_is_not_read(channel):
    """Requests sent all at once, and no answer taken: the server stops reading.  Then every answer comes, in the order of the requests."""
    stream = Stream(channel)
    names = ["angzarr/types.proto", "shop/orders.proto"] * 1000
    for name in names:
        stream.send(host="h" * 10000, file_by_filename=name)
    seen = {"left": None, "since": 0.0}

    def stands():
        if stream.left() != seen["left"]:
            seen.update(left=stream.left(), since=time.monotonic())
        return time.monotonic() > seen["since"] + 0.5 * SCALE
    eventually(stands, 30)
    assert 0 < stream.left() < len(names)
    for name in names:
        answer = next(stream.call)
        assert answer.original_request.file_by_filename == name
        assert descriptor_pb2.FileDescriptorProto.FromString(answer.file_descriptor_response.file_descriptor_proto[0]).name == name
    assert stream.end() == grpc.StatusCode.OK


def test_streams_that_are_left_and_streams_that_say_nothing(shop, channel):
    """Cancelled, closed with the connection, or open to the end: others are served meanwhile, and the end is not held up."""
    for i in range(50):
        stream = Stream(channel)
        stream.ask(list_services="")
        for _ in range(i):
            stream.send(file_by_filename="angzarr/types.proto")
        stream.call.cancel()
    with grpc.insecure_channel(shop.address, options=[("grpc.use_local_subchannel_pool", 1)]) as other:
        left = [Stream(other) for _ in range(20)]
        for stream in left:
            stream.ask(list_services="")
    assert Stream(channel).files(file_by_filename="shop/money.proto") == ["shop/money.proto"]
    assert numbers(shop.client().do("order", new_root())) == [0]


def test_an_open_stream_does_not_hold_up_the_end(make_system, logic):
    system = make_system({"order": logic.address}).up()
    with grpc.insecure_channel(system.address) as channel:
        stream = Stream(channel)
        assert stream.ask(list_services="")
        code = in_thread(stream.code)
        assert system.gateway.terminate(5) == 0
        assert code.result() == grpc.StatusCode.UNAVAILABLE


# ---- roles

def ports(system):
    """(address, what is served there) of every role."""
    return (system.address, GATEWAY), (system.worker.config["worker"]["address"], WORKER), (system.stream_address, STREAM)


@pytest.mark.kafka_only
def test_each_role_lists_what_its_port_serves(make_system, logic, types):
    system = make_system({"order": logic.address}, two=True, stream=True, settings={"descriptors": types}).up()
    for address, services in ports(system):
        assert grpcurl.told(address, "list").split() == services
        assert "message Order" in grpcurl.told(address, "describe", "shop.Order")


@pytest.mark.kafka_only
def test_reflection_is_there_before_the_log_is(make_system, logic, types):
    system = make_system({"order": logic.address}, two=True, stream=True,
                         settings={"descriptors": types, "log": {"kafka": {"bootstrap.servers": "127.0.0.1:1"}}})
    for role in system.roles:
        role.launch()
    for address, services in ports(system):
        def listed():
            status, out, err = grpcurl.run(address, "list")
            assert status == 0, err
            return out.split()
        assert eventually(listed) == services


# ---- the setting

def config(folder, *rows):
    text = ["state: { path: ./data }", 'gateway: { address: "127.0.0.1:0", http: "" }', "descriptors:", *(f"  - {row}" for row in rows)]
    (folder / "angzarr.yaml").write_text("\n".join(text) + "\n")


def refused(folder, *rows, env=None, path="angzarr.yaml", cwd=None):
    config(folder, *rows)
    status, out = angzarr.run("standalone", "--config", path, cwd=cwd or folder, env=env)
    assert status == 2, out
    return out


def test_a_missing_file(folder):
    out = refused(folder, "none.pb")
    assert "angzarr.yaml:4: descriptors: none.pb: cannot be read: No such file or directory" in out


def test_a_path_is_relative_to_the_configuration(folder):
    out = refused(folder, "types/none.pb", path=f"{folder}/angzarr.yaml", cwd="/")
    assert f"angzarr.yaml:4: descriptors: {folder}/types/none.pb: cannot be read" in out


def test_a_file_that_is_something_else(folder):
    descriptor_set(folder, "shop.pb", {"shop/money.proto": MONEY}, "shop/money.proto")
    (folder / "cut.pb").write_bytes((folder / "shop.pb").read_bytes()[:-1])
    (folder / "empty.pb").write_bytes(b"")
    for other in ("src/shop/money.proto", "angzarr.yaml", "cut.pb", "empty.pb"):
        out = refused(folder, "shop.pb", other)
        assert f"angzarr.yaml:5: descriptors: {other}: expected what protoc --include_imports --descriptor_set_out writes" in out, out
    out = refused(folder, "src")
    assert "angzarr.yaml:4: descriptors: src: cannot be read: Is a directory" in out


def test_imports_that_were_left_out(folder):
    descriptor_set(folder, "shop.pb", {"shop/orders.proto": ORDERS, "shop/money.proto": MONEY}, "shop/orders.proto", imports=False)
    out = refused(folder, "shop.pb")
    assert "angzarr.yaml:4: descriptors: shop.pb: shop/orders.proto imports" in out and "--include_imports" in out


def test_one_symbol_defined_twice(folder):
    descriptor_set(folder, "a.pb", {"shop/money.proto": MONEY}, "shop/money.proto")
    descriptor_set(folder, "b.pb", {"money.proto": MONEY}, "money.proto")
    out = refused(folder, "a.pb", "b.pb")
    assert "angzarr.yaml:5: descriptors: b.pb: shop.Money is defined twice, in " in out
    assert "shop/money.proto" in out


def test_one_file_in_two_versions(folder):
    descriptor_set(folder, "a.pb", {"shop/money.proto": MONEY}, "shop/money.proto")
    descriptor_set(folder, "b.pb", {"shop/money.proto": MONEY.replace("int64 cents", "int32 cents")}, "shop/money.proto")
    out = refused(folder, "a.pb", "b.pb")
    assert "angzarr.yaml:5: descriptors: b.pb: shop/money.proto: differs" in out and "shop.Money.cents" in out


def test_the_environment_names_them_too(folder):
    out = refused(folder, env={"ANGZARR__DESCRIPTORS": "[none.pb]"})
    assert "environment ANGZARR__DESCRIPTORS:1: descriptors: none.pb: cannot be read" in out


@pytest.mark.embedded_only
def test_the_contract_may_be_in_a_set_and_a_file_in_two(folder, log, logic):
    """Types that use the contract's, compiled against the user's copy of it; money.proto is in both sets."""
    notes = 'syntax = "proto3"; package notes; import "angzarr/types.proto"; import "shop/money.proto";\n' \
            "message Note { angzarr.Cover about = 1; shop.Money worth = 2; }\n"
    own = angzarr.ROOT / "proto/angzarr/types.proto"
    sources = {"shop/orders.proto": ORDERS, "shop/money.proto": MONEY, "notes.proto": notes, "angzarr/types.proto": own.read_text()}
    sets = [str(descriptor_set(folder, "a.pb", sources, "shop/orders.proto")), str(descriptor_set(folder, "b.pb", sources, "notes.proto"))]
    system = angzarr.System(log, {"order": logic.address}, settings={"descriptors": sets})
    try:
        system.up()
        told = grpcurl.told(system.address, "describe", "notes.Note")
        assert ".angzarr.Cover about = 1;" in told and ".shop.Money worth = 2;" in told
    finally:
        system.close()
