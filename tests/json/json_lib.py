"""The program under test as a function, the message classes, and random messages of them."""

import os
import pathlib
import struct
import subprocess

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/json"
URL = "type.googleapis.com/"


def program():
    binary = os.environ.get("ANGZARR_BINARY", str(ROOT / "build/dev/angzarr"))
    return pathlib.Path(binary).parent / "tests/json/ang_json_pipe"


class Pipe:
    """Converts items in one go; knows the classes of rich.proto and old.proto."""

    def __init__(self, descriptors):
        self.path = descriptors
        include = os.path.join(os.path.dirname(protoc.__file__), "_proto")
        args = ["protoc", f"-I{HERE}", f"-I{include}", "--include_imports", "--include_source_info",
                f"--descriptor_set_out={descriptors}", "rich.proto", "old.proto"]
        assert protoc.main(args) == 0
        self.pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes()).file:
            self.pool.Add(file)

    def cls(self, name):
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))

    def convert(self, items):
        """items: (letter, type name, bytes or str); answers (ok, bytes) for each, see json_pipe.c."""
        piece = lambda b: struct.pack(">I", len(b)) + b  # noqa: E731
        requests = b"".join(letter.encode() + piece(name.encode()) + piece(item.encode() if isinstance(item, str) else item)
                            for letter, name, item in items)
        run = subprocess.run([program(), self.path], input=requests, capture_output=True, timeout=280)
        assert run.returncode == 0, run.stderr.decode(errors="replace")
        answers, at = [], 0
        while at < len(run.stdout):
            n = struct.unpack_from(">I", run.stdout, at + 1)[0]
            answers.append((run.stdout[at:at + 1] == b"+", run.stdout[at + 5:at + 5 + n]))
            at += 5 + n
        assert len(answers) == len(items)
        return answers

    def one(self, letter, name, item):
        return self.convert([(letter, name, item)])[0]


# ---- random messages

TEXTS = ["", "a", "order-1", "é", "漢字", "\U0001f600", 'quote " and \\', "\t\n\r\b\f\x00\x1f\x7f", "</script>", "\u2028", "NaN", "1", "true"]
INTS = {
    "int32": (-2**31, 2**31 - 1), "int64": (-2**63, 2**63 - 1), "uint32": (0, 2**32 - 1), "uint64": (0, 2**64 - 1),
}


class Random:
    def __init__(self, pipe, rng):
        self.pipe, self.rng = pipe, rng
        d = descriptor_pb2.FieldDescriptorProto
        self.makers = {
            d.TYPE_DOUBLE: self.double, d.TYPE_FLOAT: self.float, d.TYPE_BOOL: lambda: rng.random() < 0.5,
            d.TYPE_STRING: self.text, d.TYPE_BYTES: lambda: rng.randbytes(rng.choice([0, 1, 2, 3, 16, 100])),
            d.TYPE_INT32: self.int("int32"), d.TYPE_SINT32: self.int("int32"), d.TYPE_SFIXED32: self.int("int32"),
            d.TYPE_INT64: self.int("int64"), d.TYPE_SINT64: self.int("int64"), d.TYPE_SFIXED64: self.int("int64"),
            d.TYPE_UINT32: self.int("uint32"), d.TYPE_FIXED32: self.int("uint32"),
            d.TYPE_UINT64: self.int("uint64"), d.TYPE_FIXED64: self.int("uint64"),
        }
        self.special = {
            "google.protobuf.Any": self.any, "google.protobuf.Timestamp": self.timestamp, "google.protobuf.Duration": self.duration,
            "google.protobuf.FieldMask": self.mask, "google.protobuf.Value": self.value, "google.protobuf.Struct": self.struct,
            "google.protobuf.ListValue": self.list_value,
        }

    def int(self, kind):
        low, high = INTS[kind]

        def make():
            if self.rng.random() < 0.3:
                return self.rng.choice([v for v in (0, 1, -1, low, high, low + 1, high - 1) if low <= v <= high])
            return max(low, min(high, self.rng.randint(-1 if low else 0, 1) * self.rng.getrandbits(self.rng.randint(1, 64))))
        return make

    def double(self):
        if self.rng.random() < 0.3:
            return self.rng.choice([0.0, -0.0, 1.0, -1.5, 0.1, 1e300, 5e-324, 1e15, 123456789012345680.0, float("inf"), float("-inf"), float("nan")])
        return self.finite()

    def finite(self):
        v = struct.unpack("<d", self.rng.randbytes(8))[0]
        return v if v == v and abs(v) != float("inf") else 1.25

    def float(self):
        if self.rng.random() < 0.3:
            return self.rng.choice([0.0, -0.0, 1.0, 0.1, 16777216.0, 3.3e38, 1e-45, float("inf"), float("nan")])
        v = struct.unpack("<f", self.rng.randbytes(4))[0]
        return v if v == v else float("nan")  # JSON has one NaN only

    def text(self):
        return "".join(self.rng.choice(TEXTS) for _ in range(self.rng.randint(0, 4)))

    def enum(self, enum):
        value = self.rng.choice(enum.values).number
        return value if enum.is_closed or enum.name == "NullValue" or self.rng.random() < 0.8 else self.rng.randint(-2**31, 2**31 - 1)

    # ---- well-known types

    def any(self, m, depth):
        if self.rng.random() < 0.1:
            return
        name = self.rng.choice(["rich.Scalars", "rich.Tree", "rich.WellKnown", "old.Item", "google.protobuf.Any", "google.protobuf.Duration",
                                "google.protobuf.Struct", "google.protobuf.Int64Value", "google.protobuf.Empty", "google.protobuf.Value"])
        inner = self.pipe.cls(name)()
        self.fill(inner, depth + 1)
        m.type_url = self.rng.choice([URL, "example.com/a/b/"]) + name
        m.value = inner.SerializePartialToString()

    def timestamp(self, m, depth):
        m.seconds = self.rng.choice([0, -1, -62135596800, 253402300799, self.rng.randint(-62135596800, 253402300799)])
        m.nanos = self.rng.choice([0, 1, 999999999, 120000000, 120000, self.rng.randint(0, 999999999)])

    def duration(self, m, depth):
        m.seconds = self.rng.choice([0, 1, 315576000000, self.rng.randint(0, 315576000000)])
        m.nanos = self.rng.choice([0, 1, 999999999, 120000000, 120000, self.rng.randint(0, 999999999)])
        if self.rng.random() < 0.5:
            m.seconds, m.nanos = -m.seconds, -m.nanos

    def mask(self, m, depth):
        for _ in range(self.rng.randint(0, 3)):
            m.paths.append(self.rng.choice(["a", "foo_bar", "a.b_c.d", "x1.y_z"]))

    def value(self, m, depth):
        kind = self.rng.randint(0, 5 if depth < 6 else 3)
        if kind == 0:
            m.null_value = 0
        elif kind == 1:
            m.number_value = self.finite()
        elif kind == 2:
            m.string_value = self.text()
        elif kind == 3:
            m.bool_value = self.rng.random() < 0.5
        elif kind == 4:
            m.struct_value.SetInParent()
            self.struct(m.struct_value, depth + 1)
        else:
            m.list_value.SetInParent()
            self.list_value(m.list_value, depth + 1)

    def struct(self, m, depth):
        for _ in range(self.rng.randint(0, 3)):
            self.value(m.fields[self.text()], depth + 1)

    def list_value(self, m, depth):
        for _ in range(self.rng.randint(0, 3)):
            self.value(m.values.add(), depth + 1)

    # ---- any message

    def scalar(self, field):
        return self.enum(field.enum_type) if field.enum_type is not None else self.makers[field.type]()

    def fill_map(self, m, field, depth):
        key, value = field.message_type.fields
        for _ in range(self.rng.randint(1, 4)):
            k = self.scalar(key)
            if value.message_type is not None:
                self.fill(getattr(m, field.name)[k], depth + 1)
            else:
                getattr(m, field.name)[k] = self.scalar(value)

    def fill_field(self, m, field, depth):
        message = field.message_type
        if message is not None and message.GetOptions().map_entry:
            self.fill_map(m, field, depth)
        elif field.is_repeated and message is not None:
            for _ in range(self.rng.randint(1, 3)):
                self.fill(getattr(m, field.name).add(), depth + 1)
        elif field.is_repeated:
            getattr(m, field.name).extend(self.scalar(field) for _ in range(self.rng.randint(1, 4)))
        elif message is not None:
            getattr(m, field.name).SetInParent()
            self.fill(getattr(m, field.name), depth + 1)
        else:
            setattr(m, field.name, self.scalar(field))

    def fill(self, m, depth=0):
        special = self.special.get(m.DESCRIPTOR.full_name)
        if special is not None:
            special(m, depth)
            return
        chance = 0.6 if depth < 2 else 0.3 if depth < 5 else 0.05
        for field in m.DESCRIPTOR.fields:
            if field.is_required or self.rng.random() < chance:
                self.fill_field(m, field, depth)

    def message(self, name):
        m = self.pipe.cls(name)()
        self.fill(m)
        return m
