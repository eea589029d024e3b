"""The tools that ask a gateway: `angzarr send`, `query` and `tail`, run as a user runs them; what they did is judged by grpcio."""

import contextlib
import json
import re
import signal
import socket
import subprocess
import time
import uuid

import pytest
from google.protobuf import json_format

from lib import angzarr
from lib.api import descriptors, pb, pool
from lib.client import book, dones, new_root, numbers
from lib.procs import SCALE, eventually, free_ports

DO = "angzarr_test.Do"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Running:
    """A tool under way; its output is read while it runs."""

    def __init__(self, folder, argv):
        self.out_path, self.err_path = (str(folder / f"{uuid.uuid4().hex}.{kind}") for kind in ("out", "err"))
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            self.popen = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *argv], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                          cwd=folder)

    def out(self):
        with open(self.out_path) as f:
            return f.read()

    def err(self):
        with open(self.err_path) as f:
            return f.read()

    def books(self):
        """Of -o json: what was printed so far."""
        return [parsed(line, pb.EventBook) for line in self.out().split("\n")[:-1]]

    def says(self, words, times=1):
        def there():
            assert self.popen.poll() is None or self.err().count(words) >= times, f"ended: {self.popen.returncode}, {self.err()}"
            return self.err().count(words) >= times
        eventually(there, 30, what=f"{words!r} on stderr; there is {self.err()!r}")
        return self

    def signal(self, sig=signal.SIGINT):
        self.popen.send_signal(sig)
        return self

    def ended(self, timeout=30):
        return self.popen.wait(timeout * SCALE)


class Tools:
    def __init__(self, address, types, folder):
        self.address, self.types, self.folder = address, types, folder
        self.started = []

    def argv(self, *args, address=None, types=True):
        tool, *rest = map(str, args)
        with_types = ["--descriptors", self.types] if types else []
        return [angzarr.binary(), tool, "--address", address or self.address, *with_types, *rest]

    def run(self, *args, stdin=b"", timeout=30, **options):
        """(exit code, stdout, stderr)"""
        done = subprocess.run(self.argv(*args, **options), input=stdin, capture_output=True, cwd=self.folder, timeout=timeout * SCALE)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def ok(self, *args, **options):
        code, out, err = self.run(*args, **options)
        assert code == 0, f"{args}: {code}\n{out}{err}"
        return out

    def json(self, cls, *args, **options):
        """The one message that is printed."""
        [line] = self.ok(*args, "-o", "json", **options).splitlines()
        return parsed(line, cls)

    def fails(self, code, words, *args, **options):
        got, out, err = self.run(*args, **options)
        assert (got, out) == (code, ""), f"{args}: {got}\n{out}{err}"
        for word in [words] if isinstance(words, str) else words:
            assert word in err, f"{args}: expected {word!r} in {err!r}"
        return err

    def start(self, *args, **options):
        self.started.append(Running(self.folder, self.argv(*args, **options)))
        return self.started[-1]

    def close(self):
        for running in self.started:
            with contextlib.suppress(ProcessLookupError):
                running.popen.kill()
            running.popen.wait()


def parsed(line, cls):
    return json_format.Parse(line, cls(), descriptor_pool=pool)


def text(root):
    return str(uuid.UUID(bytes=root))


@pytest.fixture(scope="module")
def types(tmp_path_factory):
    """The tests' own types, as a user would compile them."""
    path = tmp_path_factory.mktemp("types") / "all.pb"
    path.write_bytes(descriptors.SerializeToString())
    return str(path)


@pytest.fixture(scope="module")
def system(log, logic):
    system = angzarr.System(log, {"order": logic.address, "box": logic.address})
    try:
        yield system.up()
    finally:
        system.close()


@pytest.fixture
def make_tools(types, tmp_path):
    made = []

    def make(address):
        made.append(Tools(address, types, tmp_path))
        return made[-1]
    yield make
    for tools in made:
        tools.close()


@pytest.fixture
def tools(system, make_tools):
    return make_tools(system.address)


# ---- send

def test_a_command_is_sent_and_its_events_are_shown(client, tools, logic):
    root, id = new_root(), uuid.uuid4().hex
    answer = tools.json(pb.CommandResponse, "send", "order", text(root), DO, json.dumps({"n": 2, "id": id, "data": "AAE="}),
                        "--correlation", "c-" + id)
    assert numbers(answer) == [0, 1] and answer.events.next_sequence == 2
    assert [(d.id, d.data) for d in dones(answer)] == [(id, b"\0\1")] * 2
    stored = client.event_book("order", root)
    assert stored.pages == answer.events.pages and answer.events.cover.correlation_id == "c-" + id
    request, metadata = logic.calls.last(id)
    assert request.command.pages[0].sequence == 0 and UUID.fullmatch(metadata.get("idempotency-key", text(root)))

    out = tools.ok("send", "order", text(root), f"type.googleapis.com/{DO}", json.dumps({"id": id}))  # the sequence is asked for
    assert re.search(rf"^root +{text(root)}\ncorrelation +\S+\nkey +{UUID.pattern}\n\nSEQ +TIME +TYPE +PAYLOAD\n"
                     r" +2 +\S+Z +angzarr_test.Done +\{.*\}\nnext sequence 3\n$", out), out
    assert logic.calls.last(id)[0].command.pages[0].sequence == 2


def test_payloads_from_files_standard_input_and_none(client, tools, tmp_path):
    do = pb.test.Do(n=3)
    (tmp_path / "do.json").write_text(json_format.MessageToJson(do))
    (tmp_path / "do.bin").write_bytes(do.SerializeToString())
    ways = [(["@do.json"], b""), (["-"], b'{"n": 3}'), (["--raw-file", "do.bin"], b""), (["--raw-file", "-"], do.SerializeToString())]
    for args, stdin in ways:
        assert numbers(tools.json(pb.CommandResponse, "send", "order", "new", DO, *args, stdin=stdin)) == [0, 1, 2], args
    made = tools.json(pb.CommandResponse, "send", "order", "new", DO)
    assert numbers(made) == [0] and client.event_book("order", made.events.cover.root.value).next_sequence == 1
    # the bytes need no types, to show their event does: its size is shown, and how to get the rest
    code, out, err = tools.run("send", "order", "new", DO, "--raw-file", "do.bin", types=False)
    assert code == 0 and re.search(r"angzarr_test.Done +\(\d+ bytes\)\n", out) and "nobody knows the type angzarr_test.Done" in err
    assert "no events were stored" in tools.ok("send", "order", "new", DO, '{"what": "none"}')


def test_the_same_key_is_not_done_twice(client, tools, logic):
    root, id, key = new_root(), uuid.uuid4().hex, uuid.uuid4().hex
    answers = [tools.json(pb.CommandResponse, "send", "order", text(root), DO, json.dumps({"id": id}), "--key", key) for _ in range(2)]
    assert answers[0].events.pages == answers[1].events.pages
    assert logic.calls.of(id) == 1 and client.event_book("order", root).next_sequence == 1


def test_a_refusal_is_shown_and_the_sequence_it_should_have_been(client, tools):
    root = new_root()
    client.do("order", root, n=5)
    tools.fails(1, ["FAILED_PRECONDITION: Sequence mismatch", "the next sequence of the aggregate is 5", "--sequence 5"],
                "send", "order", text(root), DO, "--sequence", 3)
    err = tools.fails(1, ["ABORTED: no ", "[31m"], "send", "order", text(root), DO, json.dumps({"what": "refuse", "n": 10, "text": "no \x1b[31m"}))
    assert "\x1b" not in err, "what comes from outside does not reach the terminal"
    tools.fails(1, "NOT_FOUND", "send", "nosuch", text(root), DO)
    tools.fails(1, "INVALID_ARGUMENT", "send", "Order!", text(root), DO)
    assert client.event_book("order", root).next_sequence == 5


def test_what_is_wrong_is_said_and_nothing_is_sent(client, tools, tmp_path, logic):
    root, before = text(new_root()), logic.calls.total
    (tmp_path / "noise").write_bytes(b"\xff\xfe noise")
    rows = [
        (["send", "order", "0c1f", DO], "expected a UUID"),
        (["send", "order", root], "too few operands: expected DOMAIN ROOT TYPE"),
        (["send", "order", root, DO, "{}", "{}"], "too many operands"),
        (["send", "order", root, DO, '{"n": 2'], "JSON: "),
        (["send", "order", root, DO, '{"nosuch": 2}'], "nosuch: angzarr_test.Do has no such field"),
        (["send", "order", root, DO, '{"n": "many"}'], "JSON: n: "),
        (["send", "order", root, DO, "@nosuch.json"], "nosuch.json: cannot be read"),
        (["send", "order", root, DO, "@noise"], "noise: "),
        (["send", "order", root, "shop.Nosuch"], ["nobody knows the type shop.Nosuch", f"reflection of {tools.address}", "--descriptors FILE"]),
        (["send", "order", root, DO, "--key", "a b"], "--key: expected 1 to 128 visible ASCII characters"),
        (["send", "order", root, DO, "--key", "k" * 129], "--key: expected"),
        (["send", "order", root, DO, "{}", "--raw-file", "noise"], "either JSON or --raw-file"),
        (["send", "order", root, DO, "--descriptors", "nosuch.pb"], "nosuch.pb: cannot be read"),
        (["send", "order", root, DO, "--descriptors", "noise"], "noise: "),
        (["query", "order", root, "--descriptors", "noise"], "noise: "),
        (["query", "order"], "expected DOMAIN ROOT, or --correlation ID, or --roots"),
        (["query", "order", "x"], "expected a UUID"),
        (["query", "order", root, "--from", "2", "--as-of", "3"], "expected one of --from/--to, --sequences, --as-of"),
        (["query", "order", root, "--roots"], "--roots goes with DOMAIN and nothing else"),
        (["query", "order", root, "--timeout", "soon"], "--timeout: expected a time"),
        (["tail", "order", "x"], "expected a UUID"),
        (["tail", "--from-start"], "--from-start needs ROOT or --correlation"),
        (["tail", "order", "--count", "0"], "--count: expected at least 1"),
    ]
    for args, words in rows:
        tools.fails(2, words, *args)
    assert logic.calls.total == before and client.event_book("order", uuid.UUID(root).bytes).next_sequence == 0


def test_the_types_come_from_the_configuration_or_by_reflection(make_system, make_tools, logic, types, tmp_path):
    system = make_system({"order": logic.address}, settings={"descriptors": [types]}).up()
    tools = make_tools(system.address)
    assert "angzarr_test.Done" in tools.ok("send", "order", "new", DO, '{"n": 1}', types=False)
    config = [angzarr.binary(), "send", "--config", system.gateway.config_path, "order", "new", DO, '{"n": 1}', "-o", "json"]
    done = subprocess.run(config, capture_output=True, cwd=tmp_path, timeout=30 * SCALE)
    assert (done.returncode, done.stderr) == (0, b"") and numbers(parsed(done.stdout, pb.CommandResponse)) == [0]


# ---- nobody answers

@contextlib.contextmanager
def silence():
    """A server that takes connections and says nothing."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", free_ports(1)[0]))
        s.listen()
        yield f"127.0.0.1:{s.getsockname()[1]}"


def calls(root):
    return [["send", "order", root, DO, "--sequence", "0"], ["send", "order", root, DO], ["query", "order", root], ["query", "--roots"],
            ["query", "order", root, "--book"], ["tail", "order", root, "--from-start"], ["tail"]]


def test_where_nobody_is(tools):
    address = f"127.0.0.1:{free_ports(1)[0]}"
    for args in calls(text(new_root())):
        began = time.monotonic()
        err = tools.fails(4, [f"nobody answers at {address}", "Connection refused", "gateway.address"], *args, address=address)
        assert "may have been stored" not in err and time.monotonic() - began < 10 * SCALE


def test_a_server_that_says_nothing(tools):
    with silence() as address:
        for args in calls(text(new_root())):
            err = tools.fails(4, [address, "DEADLINE_EXCEEDED"], *args, "--timeout", "300ms", address=address)
            assert ("it may have been stored" in err) == ("--sequence" in args), err


def test_without_an_answer_the_key_finds_out(client, tools, logic, tmp_path):
    """The time is over, or Ctrl-C comes, while the business logic has the command: the words say how to send it again."""
    for ending, code in (("time", 4), ("signal", 130)):
        root, id, gate = new_root(), uuid.uuid4().hex, tmp_path / f"gate-{ending}"
        command = ["send", "order", text(root), DO, json.dumps({"what": "wait", "text": str(gate), "id": id})]
        waiting = tools.start(*command, "--timeout", "500ms" if ending == "time" else "20s")
        if ending == "signal":
            eventually(lambda: logic.calls.of(id) == 1, what="the command at the business logic")
            waiting.signal()
        assert waiting.ended() == code, waiting.err()
        [key] = re.findall(rf"it may have been stored: send it again to root {text(root)} with --key (\S+)", waiting.err())
        assert waiting.out() == ""
        gate.touch()
        answer = tools.json(pb.CommandResponse, *command, "--key", key)
        assert numbers(answer) == [0] and client.event_book("order", root).next_sequence == 1


# ---- query

@pytest.fixture(scope="module")
def ten(system):
    """An aggregate of ten events in five records, three of which have a correlation id."""
    client, root, id = system.client(), new_root(), "c-" + uuid.uuid4().hex
    for i in range(5):
        client.execute(book("order", root, sequence=2 * i, n=2, value=i, correlation_id=id if i % 2 == 0 else ""))
    client.execute(book("box", root, n=1, correlation_id=id))
    return root, id


def test_a_history_as_it_is_stored(client, tools, ten):
    root, _ = ten
    lines = tools.ok("query", "order", text(root), "-o", "json").splitlines()
    assert [parsed(line, pb.EventBook) for line in lines] == client.events("order", root), "a line for each stored record"
    assert tools.json(pb.EventBook, "query", "order", text(root), "--book") == client.event_book("order", root)
    out = tools.ok("query", "order", text(root))
    rows = re.findall(r"^ +(\d+)  (\S+Z)  angzarr_test.Done  (\{.*\})$", out, re.M)
    assert [int(num) for num, _, _ in rows] == list(range(10)) and out.endswith("\nnext sequence 10\n")
    assert [json.loads(payload).get("value", "0") for _, _, payload in rows] == [str(i // 2) for i in range(10)]


def test_selections(client, tools, ten):
    root, id = ten
    pages = client.event_book("order", root).pages
    shown = re.findall(r"^ +\d+  (\S+Z) ", tools.ok("query", "order", text(root)), re.M)
    upto = [p.num for p in pages if p.created_at.ToNanoseconds() // 10**6 <= pages[5].created_at.ToNanoseconds() // 10**6]
    rows = [(["--from", 3, "--to", 5], [3, 4, 5]), (["--from", 8], [8, 9]), (["--to", 0], [0]), (["--sequences", "9,1,1"], [1, 9]),
            (["--as-of", 2], [0, 1, 2]), (["--as-of", shown[5]], upto), (["--as-of", "2001-01-01T00:00:00Z"], []),
            (["--correlation", id], [0, 1, 4, 5, 8, 9]), (["--correlation", id, "--from", 5], [5, 8, 9])]
    for args, expected in rows:
        for book in ([], ["--book"]) if "--correlation" not in args else ([],):
            lines = tools.ok("query", "order", text(root), *args, *book, "-o", "json").splitlines()
            assert [n for line in lines for n in numbers(parsed(line, pb.EventBook))] == expected, args


def test_a_correlation_id_over_all_domains(tools, ten):
    root, id = ten
    lines = tools.ok("query", "--correlation", id, "-o", "json").splitlines()
    found = sorted((b.cover.domain, n) for b in (parsed(line, pb.EventBook) for line in lines) for n in numbers(b))
    assert found == [("box", 0)] + [("order", n) for n in (0, 1, 4, 5, 8, 9)]
    out = tools.ok("query", "box", "--correlation", id)
    assert out.startswith(f"box/{text(root)}\nSEQ ") and "order/" not in out


def test_what_is_not_there_is_no_error(tools):
    for args in (["order", text(new_root())], ["--correlation", "nobody"], ["order", text(new_root()), "--book"]):
        code, out, err = tools.run("query", *args)
        assert (code, err) == (0, "angzarr query: no events\n") and out in ("", "next sequence 0\n"), args
    tools.fails(1, "NOT_FOUND", "query", "nosuch", text(new_root()))
    tools.fails(1, "NOT_FOUND", "tail", "nosuch")


def test_roots(tools, ten):
    root, _ = ten
    out = tools.ok("query", "--roots")
    assert f"{text(root)}  order\n" in out and f"{text(root)}  box\n" in out and out.startswith("ROOT ")
    out = tools.ok("query", "--roots", "box")
    assert f"{text(root)}  box\n" in out and "order" not in out
    roots = [parsed(line, pb.AggregateRoot) for line in tools.ok("query", "--roots", "box", "-o", "json").splitlines()]
    assert pb.AggregateRoot(domain="box", root=pb.UUID(value=root)) in roots


def test_a_long_history_and_a_reader_who_has_seen_enough(client, tools):
    root = new_root()
    for i in range(2):
        client.do("order", root, 700 * i, n=700, data=b"x" * 1000)
    tools.fails(1, "RESOURCE_EXHAUSTED", "query", "order", text(root), "--book")
    assert len(re.findall(r"^ *\d+  \S+Z ", tools.ok("query", "order", text(root)), re.M)) == 1400
    for args in (["query", "order", text(root)], ["tail", "order", text(root), "--from-start"]):
        process = subprocess.Popen(tools.argv(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read().decode()
        assert process.wait(30 * SCALE) == 0 and err in ("", f"angzarr tail: waiting for events of {tools.address}\n"), args
    # a reader who does not read, and stays: the first signal cannot end it properly, another one ends it
    process = subprocess.Popen(tools.argv("query", "order", text(root)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    eventually(lambda: process.send_signal(signal.SIGTERM) or process.poll() is not None, every=0.2, what="the end")
    assert process.returncode in (130, -signal.SIGTERM)
    process.stdout.close()


# ---- tail

def where(books):
    return [(b.cover.domain, b.cover.root.value, n) for b in books for n in numbers(b)]


def test_history_first_and_then_what_comes(client, tools):
    root, id = new_root(), "c-" + uuid.uuid4().hex
    client.execute(book("order", root, n=2, correlation_id=id))
    of_root = tools.start("tail", "order", text(root), "--from-start", "-o", "json", "--count", 4)
    of_id = tools.start("tail", "--correlation", id, "--from-start", "-o", "json")
    both = tools.start("tail", "order", text(root), "--correlation", id, "--from-start", "-o", "json")
    for tail in (of_root, of_id, both):
        eventually(lambda: len(tail.books()) == 1, what="the history")
    client.execute(book("order", root, sequence=2))
    client.execute(book("box", root, correlation_id=id))
    client.execute(book("order", root, sequence=3, n=3, correlation_id=id))
    assert of_root.ended() == 0 and where(of_root.books()) == [("order", root, n) for n in range(4)], "four, and not all of the last record"
    eventually(lambda: len(where(of_id.books())) == 6 and len(where(both.books())) == 5, what="what came")
    assert sorted(where(of_id.books())) == [("box", root, 0), *(("order", root, n) for n in (0, 1, 3, 4, 5))]
    assert where(both.books()) == [("order", root, n) for n in (0, 1, 3, 4, 5)]
    assert of_id.signal().ended() == 0 and both.signal(signal.SIGTERM).ended() == 0


def test_live_events_of_a_domain_an_aggregate_or_all(client, tools):
    root, other, id = new_root(), new_root(), "c-" + uuid.uuid4().hex
    client.do("order", root)
    all, order, one, correlated = tails = [tools.start("tail", *args, "-o", "json").says("waiting for events") for args in (
        [], ["order"], ["order", text(root)], ["--correlation", id])]
    lines = tools.start("tail", "order", "--count", 1, "--for", "1h").says("waiting for events")
    client.do("order", root, 1)
    client.execute(book("order", other, correlation_id=id))
    client.do("box", root)
    expected = [[("order", root, 1), ("order", other, 0), ("box", root, 0)], [("order", root, 1), ("order", other, 0)], [("order", root, 1)],
                [("order", other, 0)]]
    for tail, events in zip(tails, expected):
        eventually(lambda: sorted(where(tail.books())) == sorted(events), what=f"{events}: {tail.out()}")
        assert tail.signal().ended() == 0
    assert lines.ended() == 0 and re.fullmatch(rf"\S+Z  order/{text(root)}    1  angzarr_test.Done  \{{.*\}}\n", lines.out())
    assert tools.start("tail", "--for", "300ms").ended() == 0


def test_a_stream_of_ones_own(client, tools):
    id, root = "c-" + uuid.uuid4().hex, new_root()
    stream = tools.start("send", "order", text(root), DO, '{"n": 2}', "--stream", "--correlation", id)
    eventually(lambda: stream.out().count("angzarr_test.Done") == 2, what="its own events")
    client.execute(book("box", root, correlation_id=id))
    eventually(lambda: f"box/{text(root)}" in stream.out(), what="what follows")
    assert re.match(rf"root +{text(root)}\ncorrelation +{id}\nkey ", stream.out())
    assert stream.signal().ended() == 0
    tools.fails(1, "ABORTED: no", "send", "order", "new", DO, '{"what": "refuse", "n": 10, "text": "no"}', "--stream")


def test_a_server_that_dies(make_system, make_tools, logic, tmp_path):
    """A command under way is not lost sight of; a tail from the start loses nothing and prints nothing twice, a live one says what it missed."""
    system = make_system({"order": logic.address, "box": logic.address}).up()
    tools, client = make_tools(system.address), system.client()
    root, id, gate, name = new_root(), uuid.uuid4().hex, tmp_path / "gate", "c-" + uuid.uuid4().hex
    for i in range(3):
        client.execute(book("order", root, sequence=i, correlation_id=name))
    of_root = tools.start("tail", "order", text(root), "--from-start", "-o", "json")
    of_id = tools.start("tail", "--correlation", name, "--from-start", "-o", "json")
    live = tools.start("tail", "order", "-o", "json")
    for tail in (of_root, of_id, live):
        tail.says("waiting for events")
    eventually(lambda: len(of_root.books()) == len(of_id.books()) == 3, what="the history")
    command = ["send", "order", text(root), DO, json.dumps({"what": "wait", "text": str(gate), "id": id})]
    sending = tools.start(*command, "--timeout", "60s", "--correlation", name)
    eventually(lambda: logic.calls.of(id) == 1, what="the command at the business logic")
    system.gateway.kill()
    assert sending.ended() == 4, sending.err()
    [key] = re.findall(r"it may have been stored: .* --key (\S+)", sending.err())
    gate.touch()
    system.gateway.up()
    assert numbers(tools.json(pb.CommandResponse, *command, "--key", key, "--correlation", name)) == [3]
    client = system.client()
    for tail in (of_root, of_id, live):
        tail.says("connected again")
    client.execute(book("order", root, sequence=4, correlation_id=name))
    client.execute(book("box", root, correlation_id=name))
    eventually(lambda: len(where(of_root.books())) >= 5 and len(where(of_id.books())) >= 6 and ("order", root, 4) in where(live.books()),
               what=f"what came after: {of_root.err()} {of_id.err()} {live.err()}")
    assert where(of_root.books()) == [("order", root, n) for n in range(5)]
    assert sorted(where(of_id.books())) == [("box", root, 0), *(("order", root, n) for n in range(5))]
    assert "what was stored meanwhile is not shown" in live.err() and "not shown" not in of_root.err()
    for tail in (of_root, of_id, live):
        assert len(tail.err().splitlines()) < 20, tail.err()
        assert tail.signal().ended() == 0


# ---- the documentation

@pytest.mark.parametrize("tool", ["send", "query", "tail"])
def test_the_documentation_names_the_options_there_are(tool):
    code, help = angzarr.run(tool, "--help")
    assert code == 0
    page = (angzarr.ROOT / "docs/tools.md").read_text()
    [section] = re.findall(rf"^## {tool}\n(.*?)(?=^## |\Z)", page, re.M | re.S)
    own = set(re.findall(r"^  (?:-\w, |    )(--[a-z-]+)", help, re.M)) - {"--help", "--config", "--address", "--descriptors", "--output"}
    table = set(re.findall(r"^\| `(--[a-z-]+)", section, re.M))
    assert table == own
    common = set(re.findall(r"^\| `(?:-\w, )?(--[a-z-]+)", page.split("\n## ")[0], re.M))
    assert {"--config", "--address", "--descriptors", "--output"} <= common
