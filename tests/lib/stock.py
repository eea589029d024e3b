"""The stock tools: kcat and protoc, as a user would call them."""

import pathlib
import re
import subprocess
import tempfile

BETWEEN = re.compile(r",(?=[a-z][a-z-]*=)")  # the comma between two headers, not one inside a value

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _run(argv, stdin=None):
    done = subprocess.run([str(a) for a in argv], input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, f"{' '.join(map(str, argv))}: status {done.returncode}: {done.stderr.decode(errors='replace')}"
    return done.stdout


def kcat_produce(bootstrap, topic, value, key=None, partition=None, headers=(), murmur2=True):
    """One record; value None: no value at all.  Without murmur2: librdkafka's own default partitioner."""
    argv = ["kcat", "-P", "-b", bootstrap, "-t", topic]
    if murmur2:
        argv += ["-X", "topic.partitioner=murmur2_random"]
    if partition is not None:
        argv += ["-p", partition]
    for name, text in dict(headers).items():
        argv += ["-H", f"{name}={text}"]
    if not value:  # kcat leaves out an empty file, but not a line with a key
        _run([*argv, "-K", "\t", *(["-Z"] if value is None else [])], stdin=(key or "").encode() + b"\t\n")
        return
    if key is not None:
        argv += ["-k", key]
    with tempfile.NamedTemporaryFile() as f:  # a file is one record, whatever bytes it holds
        f.write(value)
        f.flush()
        _run([*argv, f.name])


def kcat_keys(bootstrap, topic):
    """[(partition, offset, key, {header: text}, size)] of a topic's committed records."""
    form = "%p\t%o\t%k\t%h\t%S\n"
    out = _run(["kcat", "-C", "-b", bootstrap, "-t", topic, "-e", "-q", "-X", "isolation.level=read_committed", "-f", form]).decode(errors="replace")
    rows = []
    for line in out.splitlines():
        partition, offset, key, headers, size = line.split("\t")
        rows.append((int(partition), int(offset), key, dict(h.split("=", 1) for h in BETWEEN.split(headers) if h), int(size)))
    return rows


def kcat_value(bootstrap, topic, partition, offset):
    """The bytes of one record."""
    return _run(["kcat", "-C", "-b", bootstrap, "-t", topic, "-p", partition, "-o", offset, "-c", "1", "-e", "-q", "-D", "", "-f", "%s"])


def protoc_decode(message, data):
    """What `protoc --decode` says, as text."""
    files = [str(p.relative_to(ROOT / "proto")) for p in (ROOT / "proto").rglob("*.proto")]
    return _run(["protoc", f"--decode={message}", f"-I{ROOT / 'proto'}", *files], stdin=data).decode()
