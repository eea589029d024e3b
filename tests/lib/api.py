"""The message classes of proto/, tests/lib/proto/ and examples/*/proto, compiled when first needed; nothing generated is left behind.

    from lib.api import pb
    pb.CommandBook(...), pb.test.Do(...), pb.examples.CreateCustomer(...)
"""

import os
import pathlib
import tempfile


from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]


class _Package:
    def __init__(self, pool, package):
        self._pool, self._package = pool, package

    def __getattr__(self, name):
        try:
            message = self._pool.FindMessageTypeByName(f"{self._package}.{name}")
        except KeyError:
            raise AttributeError(f"{self._package}.{name} is in no .proto file") from None
        cls = message_factory.GetMessageClass(message)
        setattr(self, name, cls)
        return cls


def _compile():
    folders = [ROOT / "proto", ROOT / "tests/lib/proto", *sorted(ROOT.glob("examples/*/proto"))]
    files = [str(p.relative_to(folder)) for folder in folders for p in sorted(folder.rglob("*.proto"))]
    with tempfile.TemporaryDirectory() as tmp:
        out = os.path.join(tmp, "all.pb")
        wkt = os.path.join(os.path.dirname(protoc.__file__), "_proto")
        args = ["protoc", *(f"-I{f}" for f in folders), f"-I{wkt}", "--include_imports", f"--descriptor_set_out={out}", *files]
        if protoc.main(args) != 0:
            raise RuntimeError("protoc refuses the .proto files, see above")
        with open(out, "rb") as f:
            return descriptor_pb2.FileDescriptorSet.FromString(f.read())


descriptors = _compile()
pool = descriptor_pool.DescriptorPool()
for _file in descriptors.file:
    pool.Add(_file) if hasattr(pool, "Add") else pool.AddSerializedFile(_file.SerializeToString())

pb = _Package(pool, "angzarr")
pb.test = _Package(pool, "angzarr_test")
pb.examples = _Package(pool, "examples")
pb.health = _Package(pool, "grpc.health.v1")
pb.wkt = _Package(pool, "google.protobuf")
pb.ext = _Package(pool, "angzarr.ext")

TYPE_URL = "type.googleapis.com/"
__all__ = ["pb", "pool", "descriptors", "TYPE_URL", "pack", "unpack"]


def pack(message):
    """The message in an Any."""
    return pb.wkt.Any(type_url=TYPE_URL + message.DESCRIPTOR.full_name, value=message.SerializeToString())


def unpack(any_message, cls):
    assert any_message.type_url == TYPE_URL + cls.DESCRIPTOR.full_name, any_message.type_url
    return cls.FromString(any_message.value)
