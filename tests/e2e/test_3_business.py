"""Contract 3 and 16: what the business logic answers, and what comes of it."""

import json
import re
import time
import urllib.request
import uuid

import grpc
import pytest

from lib.api import pb
from lib.client import DETAILS, Status, book, dones, new_root, numbers
from lib.procs import SCALE, eventually, free_ports, in_thread

FINAL = [c for c in grpc.StatusCode if c.value[0] not in (0, 8, 14)]  # not OK, RESOURCE_EXHAUSTED, UNAVAILABLE


@pytest.mark.parametrize("code", FINAL, ids=lambda c: c.name)
def test_a_refusal_reaches_the_caller_unchanged_and_is_never_retried(client, logic, code):
    root, id = new_root(), str(uuid.uuid4())
    details = pb.test.Status(code=code.value[0], message="why").SerializeToString()
    start = time.monotonic()
    refused = client.refused(code.name, client.do, "order", root, what="refuse", n=code.value[0], text="not so: ü €", data=details, id=id)
    assert time.monotonic() - start < 5 * SCALE, "it was held back until the caller's deadline"
    assert refused.message == "not so: ü €"
    assert refused.trailers[DETAILS] == details
    assert logic.calls.of(id) == 1
    assert client.event_book("order", root).next_sequence == 0


@pytest.mark.parametrize("size", [3000, 60_000])
def test_details_over_4_KiB_are_dropped_and_code_and_message_kept(client, size):
    """3,000 bytes are 4,000 characters, and 4 KiB with their name and message."""
    refused = client.refused("ABORTED", client.do, "order", new_root(), what="refuse", n=10, text="no", data=bytes(size))
    assert refused.message == "no" and DETAILS not in refused.trailers


def test_a_message_over_1_KiB_is_cut_on_a_character_border(client):
    refused = client.refused("ABORTED", client.do, "order", new_root(), what="refuse", n=10, text="ü" * 1500)
    assert 1000 <= len(refused.message.encode()) <= 1024 and set(refused.message) == {"ü"}


@pytest.mark.parametrize("what, deadline", [({"what": "revoke"}, "30s"), ({"what": "flaky", "n": 1_000_000}, "1s")],
                         ids=["a revocation", "what is not available"])
def test_no_message_ends_inside_a_character(make_system, make_logic, what, deadline):
    """Two bytes each: with one letter before them or none, one of the two texts would be cut in the middle of one."""
    logic = make_logic(contracts=("Aggregate",))
    client = make_system({"order": logic.address}, partitions=1, settings={"gateway": {"deadline": deadline}}).up().client()

    def cut(text):
        with pytest.raises(Status) as refused:
            client.do("order", new_root(), text=text + "ü" * 2000, id=str(uuid.uuid4()), **what)
        head, found, rest = refused.value.message.partition(text + "ü")
        assert found and set(rest) == {"ü"}, refused.value
        assert 1023 <= len(refused.value.message.encode()) <= 1024
        return True
    for text in ("", "a"):
        eventually(lambda: cut(text), what="a call within the deadline")


@pytest.mark.parametrize("code", [14, 8], ids=["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_a_status_that_asks_for_patience_is_retried_until_it_works(client, logic, code):
    id = str(uuid.uuid4())
    assert numbers(client.do("order", new_root(), what="flaky", n=3, value=code, id=id)) == [0]
    assert logic.calls.of(id) == 4


def test_cancelled_by_a_server_that_is_overloaded_is_retried(client, logic):
    """gRPC's C core rejects calls so, of which no handler knows: with the bare status."""
    id = str(uuid.uuid4())
    assert numbers(client.do("order", new_root(), what="flaky", n=2, value=1, text="CANCELLED", id=id)) == [0]
    assert logic.calls.of(id) == 3


def test_cancelled_by_the_business_reaches_the_caller(client, logic):
    id = str(uuid.uuid4())
    refused = client.refused("CANCELLED", client.do, "order", new_root(), what="refuse", n=1, text="not today", id=id)
    assert refused.message == "not today" and logic.calls.of(id) == 1


def test_unavailable_up_to_the_deadline_is_open(client):
    start = time.monotonic()
    root = new_root()
    with pytest.raises(Exception) as e:
        client.do("order", root, what="flaky", n=1_000_000, id=str(uuid.uuid4()), timeout=1)
    assert e.value.name() in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
    assert time.monotonic() - start >= 0.7 * SCALE
    assert client.event_book("order", root).next_sequence == 0


@pytest.mark.alone
@pytest.mark.parametrize("code", [14, 8, None], ids=["UNAVAILABLE", "RESOURCE_EXHAUSTED", "nobody there"])
def test_what_is_retried_is_retried_with_pauses_and_ends_unavailable(make_system, make_logic, code):
    """The deadline is the gateway's: the caller has more time, and hears what was left to say."""
    logic = make_logic()
    system = make_system({"order": logic.address}, partitions=1, settings={"gateway": {"deadline": "3s"}}).up()
    client = system.client()
    root, id = new_root(), str(uuid.uuid4())
    if code is None:
        logic.stop()
    start = time.monotonic()
    refused = client.refused("UNAVAILABLE", client.do, "order", root, what="flaky", n=1_000_000, value=code or 14, id=id, timeout=30,
                             correlation_id="c-7")
    assert time.monotonic() - start >= 1.5
    assert logic.address in refused.message
    assert (3 <= logic.calls.of(id) <= 30) if code else logic.calls.of(id) == 0
    assert "c-7" in [line.get("correlation_id") for line in system.worker.log_lines() if line["id"] == "BUSINESS-UNAVAILABLE"]
    if code is None:
        logic.start()
    assert numbers(client.do("order", root)) == [0]  # nothing was stored


def test_a_connection_that_breaks_is_retried(make_system, make_logic):
    logic = make_logic()
    client = make_system({"order": logic.address}, partitions=1).up().client()
    job = in_thread(lambda: client.do("order", new_root(), what="hang", n=int(3000 * SCALE), id="a"))
    eventually(lambda: logic.calls.of("a") == 1)
    logic.stop()
    logic.start()
    assert numbers(job.result()) == [0] and logic.calls.of("a") == 2


def test_a_logic_that_comes_back_is_used_at_once(make_system, make_logic):
    """The pause between two attempts to connect is one second at most."""
    logic = make_logic()
    client = make_system({"order": logic.address}, partitions=1).up().client()
    logic.stop()
    client.refused_open(client.do, "order", new_root(), timeout=5)  # long enough for pauses to have grown
    waiting = in_thread(lambda: client.do("order", new_root(), timeout=30))
    start = time.monotonic()
    logic.start()
    assert numbers(waiting.result()) == [0]
    assert time.monotonic() - start < 4 * SCALE


def test_a_flaky_root_does_not_delay_another(client):
    stuck = in_thread(lambda: client.refused("DEADLINE_EXCEEDED", client.do, "order", new_root(), what="never", timeout=10))
    for _ in range(20):
        client.do("order", new_root())
    assert stuck.is_alive(), "the others waited for it"
    stuck.result()


def test_business_logic_that_is_down_leaves_commands_waiting_for_it(make_system, make_logic):
    logic = make_logic()
    other = make_logic()
    port = int(logic.address.rsplit(":", 1)[1])
    system = make_system({"order": f"127.0.0.1:{port}", "other": other.address}, partitions=1).up()
    client = system.client()
    client.do("order", new_root())
    logic.stop()
    waiting = in_thread(lambda: client.do("order", new_root(), id="waits", timeout=30))
    assert numbers(client.do("other", new_root(), timeout=5)) == [0]
    refused = client.refused_open(client.do, "order", new_root(), timeout=1)
    assert refused.name() in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
    logic.start()
    assert numbers(waiting.result()) == [0]


def test_a_domain_whose_logic_never_ran_starts_working_when_it_comes(make_system, make_logic):
    [port] = free_ports(1)
    system = make_system({"order": f"127.0.0.1:{port}"}, partitions=1).up()
    client = system.client()
    waiting = in_thread(lambda: client.do("order", new_root(), timeout=30))
    make_logic(port=port)
    assert numbers(waiting.result()) == [0]


def test_an_answer_over_the_limit_is_internal_at_once_and_names_sizes(client, logic):
    root, id = new_root(), str(uuid.uuid4())
    refused = client.refused("INTERNAL", client.do, "order", root, what="big", n=5_000_000, id=id)
    assert re.search(r"\b50\d{5}\b", refused.message) and "1048576" in refused.message
    assert logic.calls.of(id) == 1
    assert client.event_book("order", root).next_sequence == 0


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\x1a\x7f\x01", b"\x0b\x0c"], ids=["no protobuf", "truncated", "a group"])
def test_an_answer_that_does_not_decode_is_internal_at_once(client, logic, data):
    root, id = new_root(), str(uuid.uuid4())
    refused = client.refused("INTERNAL", client.do, "order", root, what="garbage", data=data, id=id)
    assert refused.message
    assert logic.calls.of(id) == 1
    assert numbers(client.do("order", root)) == [0]


def test_an_event_with_invalid_utf8_in_its_type_is_internal(client):
    root = new_root()
    bad = bytes.fromhex("1a06") + bytes.fromhex("22040a02c328")  # pages { event { type_url: "\xc3\x28" } }
    refused = client.refused("INTERNAL", client.do, "order", root, what="garbage", data=bad)
    assert "EventBook.pages[0].event.type_url" in refused.message
    assert client.event_book("order", root).next_sequence == 0


def test_the_cover_of_another_aggregate_is_internal_and_stores_nothing(client):
    root = new_root()
    client.refused("INTERNAL", client.do, "order", root, what="wrong-cover")
    assert client.event_book("order", root).next_sequence == 0


@pytest.mark.parametrize("timeout", [60, None], ids=["a later deadline", "no deadline"])
def test_every_call_has_a_time_limit_of_its_own(make_system, make_logic, timeout):
    logic = make_logic()
    system = make_system({"order": logic.address}, partitions=1, settings={"limits": {"call_timeout": "300ms"}}).up()
    client = system.client()
    job = in_thread(lambda: client.execute(book("order", new_root(), what="never", id="a"), timeout=timeout))
    eventually(lambda: logic.calls.of("a") == 1)
    eventually(lambda: logic.calls.open == 0, 10, what="the call to be given up")
    assert job.is_alive() and logic.calls.of("a") == 1  # whether it was done is open, and may still turn out
    assert numbers(client.do("order", new_root())) == [0]


def test_the_business_is_told_how_much_time_is_left(client, logic):
    id = str(uuid.uuid4())
    client.do("order", new_root(), id=id, timeout=7)
    assert 0 < logic.calls.left[id] <= 7 * SCALE
    client.execute(book("order", new_root(), id=id), timeout=None)
    assert 0 < logic.calls.left[id] <= 30


def test_pauses_between_retries_grow_and_are_not_alike(client, logic):
    """Commands that fail together do not come back together."""
    ids = [str(uuid.uuid4()) for _ in range(12)]
    jobs = [in_thread(lambda i=id: client.do("order", new_root(), what="flaky", n=3, id=i)) for id in ids]
    for job in jobs:
        job.result()
    first, _, third = zip(*(logic.calls.pauses(id) for id in ids))
    assert min(third) > 2 * min(first)
    assert max(third) - min(third) > 0.03


def test_a_caller_that_goes_away_leaves_nothing_behind(client):
    root = new_root()
    client.refused("DEADLINE_EXCEEDED", client.do, "order", root, what="hang", n=int(1500 * SCALE), timeout=0.3)
    # Whether the first one was done is open; the aggregate must be usable and its history whole.
    def again():
        upcoming = client.event_book("order", root).next_sequence
        assert upcoming in (0, 1)
        return numbers(client.do("order", root, upcoming, timeout=10)) == [upcoming]
    try:
        assert again()
    except Exception:
        assert again()


def health_of(system, domain):
    with urllib.request.urlopen(f"http://{system.http}/healthz", timeout=10) as answer:
        return next(lane for lane in json.loads(answer.read())["lanes"] if lane["domain"] == domain)


@pytest.mark.parametrize("flags, dead_letters, escalations", [(0, 0, 0), (2, 1, 0), (4, 0, 1), (8, 0, 0)],
                         ids=["no flag", "send_to_dead_letter_queue", "escalate", "abort"])
def test_a_revocation_does_what_its_flags_say(make_system, make_logic, flags, dead_letters, escalations):
    logic = make_logic(contracts=("Aggregate",))
    system = make_system({"cart": logic.address}, partitions=1).up()
    client = system.client()
    command = book("cart", new_root(), what="revoke", n=flags, text="too late", correlation_id="c-9")
    refused = client.refused("FAILED_PRECONDITION", client.execute, command)
    assert refused.message == "Command revoked: too late"
    said = [line for line in system.worker.log_lines() if line["id"] == "ESCALATE"]
    assert [(line["level"], line["msg"], line["correlation_id"]) for line in said] == [("error", refused.message, "c-9")] * escalations
    eventually(lambda: health_of(system, "cart")["age_ms"] < 900 and
               (health_of(system, "cart")["dead_lettered"], health_of(system, "cart")["escalated"]) == (dead_letters, escalations))


@pytest.mark.parametrize("domain, settings", [("system", {}), ("audit", {"compensation": {"domain": "audit"}})], ids=["default", "set"])
def test_a_revocation_can_be_an_event_of_the_system_domain(make_system, make_logic, domain, settings):
    logic = make_logic(contracts=("Aggregate",))
    system = make_system({"cart": logic.address, domain: make_logic().address}, partitions=2, settings=settings).up()
    client = system.client()
    command = book("cart", new_root(), what="revoke", n=1, text="gone", correlation_id="c-8")
    client.refused("FAILED_PRECONDITION", client.execute, command)
    root = command.cover.root.value
    eventually(lambda: client.event_book(domain, root).next_sequence == 1)
    [page] = client.event_book(domain, root).pages
    failed = pb.SagaCompensationFailed.FromString(page.event.value)
    assert page.event.type_url.endswith("/angzarr.SagaCompensationFailed") and page.HasField("created_at")
    assert failed.compensation_failure_reason == "gone" and failed.rejected_command == command
    assert client.events(domain, root)[0].cover.correlation_id == "c-8"
    assert client.event_book("cart", root).next_sequence == 0


@pytest.mark.parametrize("point, calls", [("after-produce", 2), ("after-commit", 1)])
def test_what_a_revocation_asks_for_is_in_the_transaction_that_makes_it_final(make_system, make_logic, point, calls):
    """Killed before the commit, nothing of it is there and the command runs again; killed behind it, all of it is, and it does not."""
    logic = make_logic(contracts=("Aggregate",))
    system = make_system({"cart": logic.address}, partitions=1, settings={"compensation": {"domain": "cart"}})
    system.worker.launch(kill=f"{point}:2")  # the first pass is the takeover's barrier
    system.worker.ready()
    client, root = system.client(), new_root()
    client.refused_open(client.do, "cart", root, what="revoke", n=3, text="gone", id="a")
    system.worker.died()
    client = system.up().client()
    eventually(lambda: client.event_book("cart", root).next_sequence == 1, what="the system event")
    for sequence in (1, 2):  # what could still come of it lies before one of these
        assert numbers(client.do("cart", root, sequence)) == [sequence]
    assert logic.calls.of("a") == calls


@pytest.mark.parametrize("dlq", [False, True])
def test_a_revocation_is_failed_precondition_with_its_reason(client, aggregate_logic, dlq):
    root, id = new_root(), str(uuid.uuid4())
    refused = client.refused("FAILED_PRECONDITION", client.do, "cart", root, what="revoke", n=2 if dlq else 0, text="too late", id=id)
    assert refused.message == "Command revoked: too late"
    assert aggregate_logic.calls.of(id) == 1
    assert client.event_book("cart", root).next_sequence == 0


def test_the_aggregate_contract_is_found_when_the_plain_one_is_unimplemented(client):
    root = new_root()
    assert numbers(client.do("cart", root, n=2)) == [0, 1]
    assert numbers(client.do("cart", root, 2)) == [2]


def test_a_variant_that_has_answered_is_remembered(make_system, make_logic):
    logic = make_logic(contracts=("Aggregate",))
    client = make_system({"order": logic.address}, partitions=1).up().client()
    for _ in range(5):
        assert numbers(client.do("order", new_root())) == [0]
    assert logic.calls.paths == {"/angzarr.BusinessLogic/Handle": 1, "/angzarr.Aggregate/Handle": 5}


def test_a_rich_refusal_reaches_the_caller_unchanged(client):
    refused = client.refused("OUT_OF_RANGE", client.do, "cart", new_root(), what="refuse", n=11, text="no")
    assert refused.message == "no"


def test_unimplemented_of_a_variant_that_answered_before_is_the_businesses_own(client, logic):
    client.do("order", new_root())
    id = str(uuid.uuid4())
    refused = client.refused("UNIMPLEMENTED", client.do, "order", new_root(), what="refuse", n=12, text="mine", id=id)
    assert refused.message == "mine" and logic.calls.of(id) == 1


def test_when_both_variants_are_unimplemented_the_caller_gets_it_and_nothing_is_remembered(make_system, make_logic):
    logic = make_logic(contracts=())
    system = make_system({"order": logic.address}, partitions=1).up()
    client = system.client()
    client.refused("UNIMPLEMENTED", client.do, "order", new_root())
    logic.stop()
    logic.contracts = ("Aggregate",)
    logic.start()
    eventually(lambda: works(client), 20)


def test_a_variant_is_remembered_of_a_connection(make_system, make_logic):
    """The program that comes back on the address may serve the other one."""
    logic = make_logic()
    client = make_system({"order": logic.address}, partitions=1).up().client()
    for contracts in (("Aggregate",), ("BusinessLogic",), ("Aggregate",)):
        assert numbers(client.do("order", new_root())) == [0]
        logic.stop()
        logic.contracts = contracts
        logic.start()
    assert numbers(client.do("order", new_root())) == [0]


def test_a_variant_that_was_busy_is_still_the_one_that_answered(client, logic):
    """UNAVAILABLE is an answer, too: the UNIMPLEMENTED after it is the business's own."""
    busy = str(uuid.uuid4())
    client.do("order", new_root())
    waiting = in_thread(lambda: client.refused_open(client.do, "order", new_root(), what="flaky", n=1_000_000, id=busy, timeout=3))
    for nth in range(1, 6):
        eventually(lambda: logic.calls.of(busy) >= nth)
        id = str(uuid.uuid4())
        refused = client.refused("UNIMPLEMENTED", client.do, "order", new_root(), what="refuse", n=12, text="mine", id=id)
        assert refused.message == "mine" and logic.calls.of(id) == 1
    waiting.result()


def works(client):
    try:
        return numbers(client.do("order", new_root(), timeout=5)) == [0]
    except Exception:
        return False


def test_a_pinned_contract_is_the_only_one_tried(make_system, make_logic):
    logic = make_logic(contracts=("Aggregate",))
    system = make_system({"pinned": {"address": logic.address, "contract": "business_logic"},
                          "rich": {"address": logic.address, "contract": "aggregate"}}, partitions=1).up()
    client = system.client()
    client.refused("UNIMPLEMENTED", client.do, "pinned", new_root())
    assert numbers(client.do("rich", new_root())) == [0]


def test_the_logic_is_given_the_history_and_the_command_as_sent(client, logic):
    root, id = new_root(), str(uuid.uuid4())
    client.do("order", root, n=2, id="before")
    command = book("order", root, sequence=2, id=id, text="as sent", correlation_id="corr-7")
    client.execute(command)
    request, metadata = logic.calls.last(id)
    assert request.command == command
    assert numbers(request.events) == [0, 1] and [d.id for d in dones(request.events)] == ["before"] * 2
    assert request.events.next_sequence == 2
    assert request.events.cover.root.value == root and request.events.cover.domain == "order"
    assert metadata["x-correlation-id"] == "corr-7"
    assert "traceparent" not in metadata


def test_a_trace_goes_on_to_the_business(client, logic):
    id, trace = str(uuid.uuid4()), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    client.execute(book("order", new_root(), id=id), metadata=(("traceparent", trace),))
    assert logic.calls.last(id)[1]["traceparent"] == trace
