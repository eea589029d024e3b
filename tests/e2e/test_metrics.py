"""/metrics of every role: what is counted, exactly; what is behind; that others can read it, and that the page tells all of it."""

import contextlib
import itertools
import re
import threading
import time
import urllib.request

import pytest

from lib.api import pb
from lib.client import OPEN, Status, book, new_root, numbers
from lib.metrics import ROOT, TYPE, Scrape, deltas, documented, promtool
from lib.procs import eventually, free_ports, in_thread
from rules_lib import everything_before_is_done, put, root_in, text


def http_of(role):
    return role.config[{"aggregate": "worker", "stream": "stream"}.get(role.role, "gateway")]["http"]


def by_code(scrape_before, scrape_after, name):
    """{(domain, code): difference}"""
    return {(dict(labels)["domain"], dict(labels)["code"]): n for labels, n in deltas(scrape_before, scrape_after, name).items()}


def counts(before, after):
    """All that is compared exactly."""
    return {
        "gateway": by_code(before, after, "angzarr_gateway_commands_total"),
        "gateway times": by_code(before, after, "angzarr_gateway_command_duration_seconds_count"),
        "worker": by_code(before, after, "angzarr_worker_commands_total"),
        "worker times": by_code(before, after, "angzarr_worker_command_duration_seconds_count"),
        "calls": by_code(before, after, "angzarr_business_call_duration_seconds_count"),
        **{name: after.sum(f"angzarr_{name}") - before.sum(f"angzarr_{name}") for name in (
            "worker_events_total", "worker_copies_total", "worker_snapshots_total", "batch_commands_sum", "gateway_resends_total",
            "gateway_full_total", "business_evicted_calls_total", "transactions_aborted_total")},
    }


def test_outcomes_are_counted_exactly(make_system, make_logic):
    system = make_system({"order": {"address": make_logic().address, "snapshots": {"every": 2}}},
                         settings={"gateway": {"deadline": "5s"}}).up()
    client = system.client()
    root = new_root()
    before = Scrape(system.http)
    assert numbers(client.do("order", root, key="first")) == [0]
    assert numbers(client.do("order", root, key="first")) == [0]  # the same once more: a copy
    assert numbers(client.do("order", root, 1, what="snapshot", n=3)) == [1, 2, 3]
    assert numbers(client.do("order", new_root(), what="none")) == []
    client.refused("FAILED_PRECONDITION", client.do, "order", root, 1)  # another sequence
    client.refused("FAILED_PRECONDITION", client.do, "order", root, 4, what="refuse", n=9)
    client.refused("PERMISSION_DENIED", client.do, "order", root, 4, what="refuse", n=7)
    client.refused("UNKNOWN", client.do, "order", root, 4, what="refuse", n=77)
    client.refused("INTERNAL", client.do, "order", root, 4, what="garbage", data=b"\xff")
    client.refused("INVALID_ARGUMENT", client.do, "order", b"short")
    client.refused("INVALID_ARGUMENT", client.do, "order", root, key="two words")
    client.refused("NOT_FOUND", client.do, "unheard-of", root)
    client.refused("INVALID_ARGUMENT", client.raw, "/angzarr.CommandGateway/Execute", b"\xff\xff")
    client.refused("DEADLINE_EXCEEDED", client.do, "order", new_root(), what="never", timeout=60)
    worker = {("order", "OK"): 4, ("order", "FAILED_PRECONDITION"): 2, ("order", "PERMISSION_DENIED"): 1, ("order", "UNKNOWN"): 1,
              ("order", "INTERNAL"): 1, ("order", "DEADLINE_EXCEEDED"): 1}
    gateway = {**worker, ("order", "INVALID_ARGUMENT"): 1, ("-", "INVALID_ARGUMENT"): 2, ("-", "NOT_FOUND"): 1}
    expected = {
        "gateway": gateway, "gateway times": gateway, "worker": worker, "worker times": worker,
        "calls": {("order", "OK"): 4, ("order", "FAILED_PRECONDITION"): 1, ("order", "PERMISSION_DENIED"): 1, ("order", "UNKNOWN"): 1,
                  ("order", "DEADLINE_EXCEEDED"): 1},
        "worker_events_total": 4, "worker_copies_total": 1, "worker_snapshots_total": 1, "batch_commands_sum": 10,
        "gateway_resends_total": 0, "gateway_full_total": 0, "business_evicted_calls_total": 0, "transactions_aborted_total": 0,
    }

    def equal():
        after = Scrape(system.http)
        assert counts(before, after) == expected
        return after
    after = eventually(equal, 10)  # an open status is told before it is committed
    assert after.sum("angzarr_gateway_commands_in_flight") == after.sum("angzarr_business_calls_in_flight") == 0
    assert after.sum("angzarr_gateway_command_duration_seconds_sum", code="DEADLINE_EXCEEDED") > 4
    batches = after.sum("angzarr_batch_commands_count") - before.sum("angzarr_batch_commands_count")
    assert 1 <= batches <= 10
    for name in ("transactions_committed_total", "commit_duration_seconds_count", "apply_duration_seconds_count", "batch_bytes_count",
                 "batch_records_count"):
        assert after.sum(f"angzarr_{name}") - before.sum(f"angzarr_{name}") == batches, name
    told = deltas(before, after, "angzarr_rpc_duration_seconds_count")
    assert {n for labels, n in told.items() if dict(labels)["code"] == "OK"} == {4} and sum(told.values()) == 14, told


def test_commands_over_the_limit_are_counted(make_system, gated):
    logic = gated()
    system = make_system({"order": logic.address}, settings={"gateway": {"in_flight": 2}}).up()
    client = system.client()
    logic.hold()
    jobs = [in_thread(lambda: client.do("order", new_root(), timeout=60)) for _ in range(2)]
    eventually(lambda: Scrape(system.http).get("angzarr_gateway_commands_in_flight", domain="order") == 2)
    for _ in range(3):
        client.refused("RESOURCE_EXHAUSTED", client.do, "order", new_root())
    told = Scrape(system.http)
    assert told.get("angzarr_gateway_full_total", domain="order") == 3
    assert told.get("angzarr_gateway_commands_total", domain="order", code="RESOURCE_EXHAUSTED") == 3
    assert told.get("angzarr_gateway_commands_in_flight_limit") == 2
    logic.let_go()
    for job in jobs:
        job.result()
    assert Scrape(system.http).get("angzarr_gateway_commands_in_flight", domain="order") == 0


def test_a_caller_that_leaves_is_counted(make_system, gated):
    logic = gated()
    system = make_system({"order": logic.address}).up()
    client = system.client()
    logic.hold()
    method = client.channel.unary_unary("/angzarr.CommandGateway/Execute")
    call = method.future(book("order", new_root()).SerializeToString(), timeout=60)
    eventually(lambda: logic.waiting == 1)
    call.cancel()
    eventually(lambda: Scrape(system.http).get("angzarr_gateway_commands_total", domain="order", code="CANCELLED") == 1)
    assert Scrape(system.http).get("angzarr_gateway_commands_in_flight", domain="order") == 0
    logic.let_go()


def test_commands_of_streams_are_counted_like_all_others(make_system, gated):
    """Each once, when it is answered: how long its stream goes on, and how that ends, is another matter."""
    logic = gated()
    system = make_system({"order": logic.address}, settings={"stream": {"timeout": "60s"}}).up()
    client = system.client()
    root = new_root()
    before = Scrape(system.http)

    def execute(command, key=None, path="ExecuteStream"):
        return client.stream(f"/angzarr.CommandGateway/{path}", command, metadata=(("idempotency-key", key),) if key else ())

    def counted(expected, in_flight=0):
        after = Scrape(system.http)
        for name in ("commands_total", "command_duration_seconds_count"):
            assert by_code(before, after, f"angzarr_gateway_{name}") == expected, name
        assert after.get("angzarr_gateway_commands_in_flight", domain="order") == in_flight
        return True

    stream = execute(book("order", root))
    stream.wait(1)
    assert counted({("order", "OK"): 1})  # and the stream goes on
    assert stream.cancel() == "CANCELLED"
    one = pb.ExecuteStreamCountRequest(command=book("order", root, sequence=1), count=1)
    assert execute(one, path="ExecuteStreamResponseCount").ended() == "OK"
    assert execute(book("order", root)).ended() == "FAILED_PRECONDITION"  # another sequence
    assert execute(book("order", root), key="two words").ended() == "INVALID_ARGUMENT"
    assert execute(pb.CommandBook()).ended() == "INVALID_ARGUMENT"
    assert execute(pb.ExecuteStreamCountRequest(count=1), path="ExecuteStreamResponseCount").ended() == "INVALID_ARGUMENT"
    assert execute(book("unheard-of", root)).ended() == "NOT_FOUND"
    expected = {("order", "OK"): 2, ("order", "FAILED_PRECONDITION"): 1, ("order", "INVALID_ARGUMENT"): 1, ("-", "INVALID_ARGUMENT"): 2,
                ("-", "NOT_FOUND"): 1}
    assert counted(expected)
    logic.hold()
    going = execute(book("order", new_root()))
    eventually(lambda: logic.waiting == 1)
    assert counted(expected, in_flight=1)
    assert going.cancel() == "CANCELLED"
    eventually(lambda: counted({**expected, ("order", "CANCELLED"): 1}))
    logic.let_go()


def behind(scrape):
    return (scrape.sum("angzarr_partition_lag_records", domain="order"), scrape.sum("angzarr_partition_open_commands", domain="order"))


def test_lag_rises_while_the_logic_hangs_and_falls_again(make_system, gated):
    logic = gated()
    system = make_system({"order": logic.address, "cart": logic.address}).up()
    client = system.client()
    client.do("order", new_root())
    logic.hold()
    jobs = [in_thread(lambda: client.do("order", new_root(), timeout=60)) for _ in range(20)]

    def seen():
        told = Scrape(system.http)
        assert behind(told) == (20, 20)
        assert max(told.series("angzarr_partition_stalled_seconds").values()) > 0.5
        return told
    told = eventually(seen, 20)
    assert told.sum("angzarr_business_calls_in_flight", domain="order") == 20
    assert told.sum("angzarr_business_calls_in_flight", domain="cart") == told.sum("angzarr_partition_lag_records", domain="cart") == 0
    assert told.get("angzarr_gateway_commands_in_flight", domain="order") == 20
    assert told.get("angzarr_memory_used_bytes", share="records") > 0 < told.get("angzarr_memory_used_bytes", share="calls")
    logic.let_go()
    for job in jobs:
        job.result()

    def caught_up():
        told = Scrape(system.http)
        assert behind(told) == (0, 0)
        assert set(told.series("angzarr_partition_stalled_seconds").values()) == {0}
        return told.sum("angzarr_business_calls_in_flight") == 0
    eventually(caught_up, 20)


def test_a_stuck_root_does_not_count_those_that_are_done_behind_it(make_system, make_logic, folder):
    system = make_system({"order": make_logic().address}, partitions=1).up()
    client = system.client()
    gate = folder / "open"
    job = in_thread(lambda: client.do("order", new_root(), what="wait", text=str(gate), timeout=60))
    eventually(lambda: Scrape(system.http).sum("angzarr_business_calls_in_flight") == 1)
    for _ in range(5):
        client.do("order", new_root())

    def seen():
        told = Scrape(system.http)
        assert behind(told) == (1, 1)
        return told.get("angzarr_partition_done_ahead_records", domain="order", partition="0", input="commands") == 5
    eventually(seen, 20)
    gate.touch()
    job.result()
    eventually(lambda: Scrape(system.http).sum("angzarr_partition_done_ahead_records") == 0 == sum(behind(Scrape(system.http))), 20)


def test_a_process_that_was_killed_counts_anew(make_system, make_logic):
    system = make_system({"order": make_logic().address}).up()
    client = system.client()
    root = new_root()
    for i in range(3):
        client.do("order", root, i)
    first = Scrape(system.http)
    assert first.get("angzarr_worker_commands_total", domain="order", code="OK") == 3
    system.worker.kill()
    with pytest.raises(OSError):
        Scrape(system.http)
    system.worker.up()
    again = Scrape(system.http)
    assert again.get("angzarr_ready") == 1 and again.get("angzarr_process_uptime_seconds") < 120
    assert again.get("angzarr_process_start_time_seconds") > first.get("angzarr_process_start_time_seconds")
    assert again.get("angzarr_worker_commands_total", domain="order", code="OK") == 0
    assert again.get("angzarr_takeovers_total", domain="order") == 2 == again.get("angzarr_partitions", domain="order", lane="0", phase="serving")
    assert again.get("angzarr_takeover_duration_seconds_count", domain="order") == 2
    assert again.get("angzarr_restored_records_total", domain="order") > 0
    assert {v for v in again.series("angzarr_partition_restored_ratio").values()} == {1}
    assert behind(again) == (0, 0)
    assert numbers(client.do("order", root, 3)) == [3]
    eventually(lambda: Scrape(system.http).get("angzarr_worker_commands_total", domain="order", code="OK") == 1)


@pytest.mark.kafka_only
def test_lag_of_a_worker_that_was_away(broker, make_system, gated):
    logic = gated()
    system = make_system({"order": logic.address}, two=True, partitions=2).up()
    client = system.client()
    client.do("order", new_root())

    def gateway():
        told = Scrape(system.http)
        return told.get("angzarr_gateway_workers_attached"), told.get("angzarr_gateway_partitions_unreachable", domain="order")
    assert gateway() == (1, 0)
    system.worker.kill()
    eventually(lambda: gateway() == (0, 2), 20)
    for i in range(10):
        root = root_in(i % 2, 2)
        put(broker, system.topic("order.commands"), text(root), book("order", root).SerializeToString(), i % 2)
    logic.hold()
    system.worker.up()
    eventually(lambda: behind(Scrape(http_of(system.worker))) == (10, 10), 20)
    assert Scrape(http_of(system.worker)).get("angzarr_worker_commands_total", domain="order", code="OK") == 0
    logic.let_go()
    eventually(lambda: behind(Scrape(http_of(system.worker))) == (0, 0), 20)
    assert Scrape(http_of(system.worker)).get("angzarr_worker_commands_total", domain="order", code="OK") == 10
    eventually(lambda: gateway() == (1, 0), 20)


@pytest.mark.kafka_only
def test_what_is_no_command_is_counted_by_its_reason(broker, make_system, make_logic):
    system = make_system({"order": make_logic().address}, two=True, partitions=2).up()
    client = system.client()
    commands = system.topic("order.commands")
    root = root_in(0, 2)
    before = Scrape(http_of(system.worker))
    put(broker, commands, text(root), book("order", root).SerializeToString(), 1)  # belongs into the other one
    put(broker, commands, "no book", b"\xff", 1)
    put(broker, commands, text(root), book("cart", root).SerializeToString(), 0)
    put(broker, commands, text(root), book("order", root).SerializeToString(), 0, headers=[("deadline", b"1"), ("start", b"yesterday")])
    put(broker, commands, "nothing", None, 1)
    everything_before_is_done(broker, system, client)

    def counted():
        after = Scrape(http_of(system.worker))
        dead = {dict(labels)["reason"]: n for labels, n in deltas(before, after, "angzarr_worker_dead_letters_total").items()}
        assert dead == {"unreadable": 1, "invalid": 1, "expired": 1}, dead
        for name in ("forwarded", "skipped", "bad_headers"):
            assert after.sum(f"angzarr_worker_{name}_total") - before.sum(f"angzarr_worker_{name}_total") == 1, name
        # the forwarded one, the one that came too late, and a marker in either input of either partition
        assert by_code(before, after, "angzarr_worker_commands_total") == {("order", "OK"): 5, ("order", "DEADLINE_EXCEEDED"): 1}
        return True
    eventually(counted, 20)


@pytest.mark.kafka_only
def test_partitions_that_move_leave_no_figures_behind(make_system, make_logic):
    system = make_system({"order": make_logic().address}, two=True, partitions=2, workers=2).up()

    def told():
        return [Scrape(http_of(w)) for w in system.workers]

    def shared():
        both = told()
        assert [t.sum("angzarr_partitions", phase="serving") for t in both] == [1, 1]
        shown = [{dict(labels)["partition"] for labels in t.series("angzarr_partition_lag_records")} for t in both]
        assert shown[0] | shown[1] == {"0", "1"} and not shown[0] & shown[1], shown
        return Scrape(system.http).get("angzarr_gateway_workers_attached") == 2
    eventually(shared, 30)
    system.workers[1].kill()

    def moved():
        [t] = [Scrape(http_of(system.workers[0]))]
        assert t.sum("angzarr_partitions", phase="serving") == 2
        return len(t.series("angzarr_partition_lag_records")) == 4
    eventually(moved, 40)
    left = Scrape(http_of(system.workers[0]))
    assert left.get("angzarr_fences_total", domain="order", result="done") == 2, left.series("angzarr_fences_total")
    assert left.get("angzarr_fences_total", domain="order", result="failed") == 0


@pytest.mark.kafka_only
def test_a_broker_that_hangs_does_not_hold_up_a_scrape(own_broker, make_logic):
    from lib import angzarr
    system = angzarr.System(own_broker, {"order": make_logic().address})
    try:
        client = system.up().client()
        client.do("order", new_root())
        own_broker.pause()
        try:
            job = in_thread(lambda: client.do("order", new_root(), timeout=60))
            eventually(lambda: Scrape(system.http).get("angzarr_gateway_commands_in_flight", domain="order") == 1)
            for _ in range(50):
                began = time.monotonic()
                Scrape(system.http)
                assert time.monotonic() - began < 3
        finally:
            own_broker.resume()
        with contextlib.suppress(Status):
            job.result()
    finally:
        system.close()


# ---- that others can read it

class Load:
    """Commands in some threads, most of them good, until it is left."""

    def __init__(self, system):
        self.system, self.over, self.sent = system, threading.Event(), itertools.count()

    def run(self):
        client = self.system.client()
        while not self.over.is_set():
            n = next(self.sent)
            try:
                client.do("order", new_root(), n % 7 // 6, what="refuse" if n % 5 == 0 else "emit", n=9 if n % 5 == 0 else 1)
            except Status as e:
                assert e.name() in ("FAILED_PRECONDITION", *OPEN), e

    def __enter__(self):
        self.jobs = [in_thread(self.run) for _ in range(8)]
        eventually(lambda: next(self.sent) > 50)
        return self

    def __exit__(self, *error):
        self.over.set()
        for job in self.jobs:
            job.result()


def check_under_load(system):
    scrapes = {role: Scrape(http_of(role)) for role in system.roles}
    with Load(system):
        for _ in range(20):
            for role, last in list(scrapes.items()):
                scrapes[role] = now = Scrape(http_of(role))
                now.rises_from(last)
        for scrape in scrapes.values():
            scrape.check()


def test_promtool_reads_a_standalone_under_load(make_system, make_logic):
    check_under_load(make_system({"order": make_logic().address}).up())


@pytest.mark.kafka_only
def test_promtool_reads_the_roles_of_a_cluster_under_load(make_system, make_logic):
    check_under_load(make_system({"order": make_logic().address}, two=True, stream=True).up())


def test_head_has_the_type_and_no_body(system):
    request = urllib.request.Request(f"http://{system.http}/metrics", method="HEAD")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.headers["Content-Type"] == TYPE and int(answer.headers["Content-Length"]) > 10000 and answer.read() == b""


# ---- the page

LOG_MESSAGES = "angzarr_log_messages_total"  # begins with the first warning


def check_page(scrape, role):
    rows, labels = documented()
    expected = {row.name: row for row in rows.values() if role in row.roles}
    assert set(scrape.types) | {LOG_MESSAGES} == set(expected)
    for name, type in scrape.types.items():
        assert type == expected[name].type, name
        parts = ("_bucket", "_sum", "_count") if type == "histogram" else ("",)
        for part in parts:
            for series in scrape.series(name + part):
                have = dict(series)
                assert set(have) == expected[name].labels | ({"le"} if part == "_bucket" else set()), (name, have)
                for label, value in have.items():
                    assert label == "le" or labels[label] is None or value in labels[label], (name, label, value)
    return True


def test_the_page_has_all_that_a_standalone_tells(make_system):
    [port] = free_ports(1)
    system = make_system({"order": f"127.0.0.1:{port}"}, settings={"gateway": {"deadline": "300ms"}}).up()
    client = system.client()

    def retried():
        """A command may be too old by the time that its worker gets it."""
        client.refused_open(client.do, "order", new_root())
        told = Scrape(system.http)
        return LOG_MESSAGES in told.types and told.get(LOG_MESSAGES, level="warn", id="BUSINESS-UNAVAILABLE") > 0 and \
            told.sum("angzarr_business_retries_total") > 0
    eventually(retried, 20)
    eventually(lambda: check_page(Scrape(system.http), "standalone"))


@pytest.mark.kafka_only
def test_the_page_has_all_that_the_roles_of_a_cluster_tell(make_system, make_logic):
    system = make_system({"order": make_logic().address}, two=True, stream=True).up()
    for role in system.roles:  # lag is known after the first fetch
        eventually(lambda: check_page(Scrape(http_of(role)), role.role))
    eventually(lambda: Scrape(http_of(system.stream)).get("angzarr_gateway_workers_attached") == 1)
    told = Scrape(http_of(system.stream))
    assert told.get("angzarr_ready") == 1 and told.get("angzarr_gateway_partitions_unreachable", domain="order") == 0
    methods = {dict(labels)["method"].split("/")[1] for labels in told.series("angzarr_rpc_duration_seconds_count")}
    assert {"angzarr.EventQuery", "angzarr.EventStream", "angzarr.ext.EventTail"} == {m for m in methods if m.startswith("angzarr.")}


def test_callers_cannot_make_series(make_system, make_logic):
    """Whatever they send: values of labels come from the configuration and from the page."""
    system = make_system({"order": make_logic().address, "cart": make_logic().address}).up()
    client = system.client()

    def odd(i):
        root = new_root()
        for fn in (
            lambda: client.do(f"domain-{i}", root), lambda: client.do("order", root, key=f"key-{i}"),
            lambda: client.execute(book("cart", root, edition=f"edition-{i}", correlation_id=f"correlation-{i}")),
            lambda: client.do("order", root, what="refuse", n=i, text=f"text {i}"), lambda: client.raw(f"/angzarr.Nothing/Method{i}", b""),
            lambda: client.raw("/angzarr.CommandGateway/Execute", bytes([i]) * i), lambda: client.event_book(f"domain-{i}", root),
        ):
            with contextlib.suppress(Status):
                fn()
    for i in range(1, 20):
        odd(i)
    first = Scrape(system.http)
    for i in range(20, 60):
        odd(i)
    second = Scrape(system.http)
    check_page(second, "standalone")
    known = {"domain": {"order", "cart", "-"}, "partition": {"0", "1"}, "lane": {"0"}, "role": {"standalone"}, "method": {
        dict(labels)["method"] for labels in first.series("angzarr_rpc_duration_seconds_count")}}
    for (name, labels), _ in second.samples.items():
        for label, value in labels:
            assert label not in known or value in known[label], (name, label, value)
    assert len(known["method"]) < 25
    new = {key for key in second.samples if key not in first.samples}
    assert all(name == LOG_MESSAGES or "code" in dict(labels) for name, labels in new), new
    _, labels = documented()
    assert len(first.series("angzarr_gateway_commands_total")) == 3 * len(labels["code"])


# ---- rules to begin with

def test_the_alert_rules_are_valid_and_name_what_there_is():
    path = ROOT / "docs/alerts.yml"
    promtool("check", "rules", path)
    rows, labels = documented()
    source = path.read_text()
    for name in re.findall(r"angzarr_\w+", source):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        assert name in rows or rows[base].type == "histogram", name
    for label, value in re.findall(r'(\w+)=~?"([^"]+)"', source):
        assert set(value.split("|")) <= set(labels[label]), (label, value)
