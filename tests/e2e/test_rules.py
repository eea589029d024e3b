"""The rules of the lane, each proved on both logs: L2, L6, L7, L10, L13, L19.  What needs a real broker is in test_rules_kafka.py.

Business logic behind a gate, waiting for conditions instead of times, and counted calls: a rule that is taken out shows at once.
"""

import pathlib
import shutil
import time
import uuid

import pytest

from lib import checker
from lib.api import pb
from lib.client import Status, new_root, numbers
from lib.procs import SCALE, eventually, in_thread
from rules_lib import new_id

ABORTED = 10
STORE = "w0/store"  # below state.path


def ready_again(system):
    system.worker.up()
    return system.client()


# ---- L6: the key of an idempotency key is (domain, root, edition, key)

def test_L6_one_key_on_two_roots_is_two_commands(make_system, gated):
    logic = gated()
    system = make_system({"order": logic.address, "box": logic.address}, partitions=1).up()
    client = system.client()
    key = new_id()
    places = [("order", new_root(), ""), ("order", new_root(), "")]
    places += [("box", places[0][1], ""), ("order", places[0][1], "what-if")]
    for domain, root, edition in places:  # one after the other
        id = new_id()
        assert numbers(client.do(domain, root, key=key, edition=edition, id=id)) == [0]
        assert logic.calls.of(id) == 1
    key = new_id()
    logic.hold()
    jobs = []
    for domain, root, edition in places:  # all under way at once
        id = new_id()
        jobs.append((id, in_thread(lambda d=domain, r=root, e=edition, i=id: client.do(d, r, 1, key=key, edition=e, id=i))))
    eventually(lambda: logic.waiting == len(places), 10, what="all of them to be run")
    logic.let_go()
    for id, job in jobs:
        assert numbers(job.result()) == [1] and logic.calls.of(id) == 1


# ---- L7: the window is measured between the appends of two copies, whenever the later one is processed

@pytest.mark.alone
def test_L7_a_copy_appended_within_the_window_and_processed_after_it_is_a_duplicate(make_system, gated):
    window = 3 * SCALE
    logic = gated()
    system = make_system({"order": logic.address}, partitions=1, settings={"limits": {"dedupe_window": f"{int(window * 1000)}ms"}}).up()
    client = system.client()
    root, key, id = new_root(), new_id(), new_id()
    first = client.do("order", root, key=key, id=id)
    begun = time.monotonic()
    logic.hold()
    blocker = in_thread(lambda: client.do("order", root, 1))
    eventually(lambda: logic.waiting == 1, 10)
    copy = in_thread(lambda: client.do("order", root, 2, key=key, id=id))  # it would fit if it were run
    assert time.monotonic() - begun < window, "the machine is too slow for this window"
    eventually(lambda: time.monotonic() - begun > window + 0.3, 10, what="the window to pass")
    logic.let_go()
    assert numbers(blocker.result()) == [1]
    assert copy.result().events.pages == first.events.pages
    assert logic.calls.of(id) == 1
    assert numbers(client.do("order", root, 2, key=key, id=id)) == [2]  # appended after the window
    assert logic.calls.of(id) == 2


# ---- L10: a poisonous output ends its own command

BAD_OUTPUTS = [
    {"what": "big", "n": 300_000},
    {"what": "big", "n": 70_000},
    {"what": "wrong-cover"},
    {"what": "wrong-number", "value": 7},
    {"what": "garbage", "data": b"\xff\xff"},
]


def test_L10_an_output_that_cannot_be_stored_ends_its_command_alone(make_system, gated):
    logic = gated()
    system = make_system({"order": logic.address}, partitions=1, settings={"limits": {"message": "64KiB"}}).up()
    client = system.client()
    logic.hold()
    bad = [(do, new_root()) for do in BAD_OUTPUTS]
    good = [new_root() for _ in range(20)]
    bad_jobs = [in_thread(lambda d=do, r=root: client.refused("INTERNAL", client.do, "order", r, timeout=15, **d)) for do, root in bad]
    good_jobs = [in_thread(lambda r=root: client.do("order", r, n=2, timeout=15)) for root in good]
    eventually(lambda: logic.waiting == len(bad) + len(good), 10, what="all of them to be run")
    logic.let_go()
    assert [job.result().name() for job in bad_jobs] == ["INTERNAL"] * len(bad)
    assert [numbers(job.result()) for job in good_jobs] == [[0, 1]] * len(good)
    for _, root in bad:
        assert client.event_book("order", root).next_sequence == 0
        assert numbers(client.do("order", root)) == [0]


def test_L10_a_book_larger_than_a_record_is_split_and_whole_again(make_system, gated):
    """A book that fits the message limit but not one record would be a poisonous output; here, the largest that fits the limit."""
    logic = gated()
    system = make_system({"order": logic.address}, partitions=1, settings={"limits": {"message": "64KiB"}}).up()
    client = system.client()
    root, key = new_root(), new_id()
    answer = client.do("order", root, n=60, data=bytes(1000), key=key)
    assert numbers(answer) == list(range(60))
    assert client.do("order", root, n=60, key=key).events.pages == answer.events.pages
    assert numbers(client.do("order", new_root(), what="big", n=65_000)) == [0]


# ---- L2: a refusal is answered after the commit that marks its input done

def refuse(client, root, id, timeout=30, key=None):
    return client.refused("ABORTED", client.do, "order", root, what="refuse", n=ABORTED, text="no", id=id, key=key, timeout=timeout)


def final(job):
    """The final status that a job ended with; None when it is open."""
    try:
        job.result()
    except Status as e:
        return None if e.name() in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED") else e.name()
    return "OK"


# On the embedded log nothing survives that was not written: there "after-offsets" is behind the point of no return.
@pytest.mark.parametrize("point", ["after-produce", "in-commit"])
def test_L2_killed_before_the_commit_is_known_no_refusal_was_told(make_system, gated, point):
    logic = gated()
    system = make_system({"order": logic.address}, partitions=1)
    system.worker.launch(kill=f"{point}:2")  # the first pass is the takeover's barrier
    system.worker.ready()
    client = system.client()
    roots = {new_root(): new_id() for _ in range(8)}
    logic.hold()
    jobs = [in_thread(lambda r=root, i=id: client.do("order", r, what="refuse", n=ABORTED, id=i)) for root, id in roots.items()]
    eventually(lambda: logic.waiting == len(roots), 10)
    logic.let_go()
    system.worker.died()
    assert [final(job) for job in jobs] == [None] * len(jobs)
    client = ready_again(system)
    if point == "after-produce":  # nothing was committed: all of them run again, nobody need ask
        eventually(lambda: all(logic.calls.of(id) == 2 for id in roots.values()), 20, what="each to run again")
    for root in roots:
        assert numbers(client.do("order", root)) == [0]
    assert all(logic.calls.of(id) <= 2 for id in roots.values())


@pytest.mark.parametrize("store", ["kept", "lost"])
def test_L2_what_was_refused_and_told_is_never_run_again(make_system, gated, store):
    """Also when a slow root holds the committed offset back below it: the set of done records says so."""
    logic = gated()
    system = make_system({"order": logic.address}, partitions=1).up()
    client = system.client()
    slow_id, done_id = new_id(), new_id()
    slow = in_thread(lambda: client.do("order", new_root(), what="never", id=slow_id, timeout=60))
    eventually(lambda: logic.calls.of(slow_id) == 1, 10)
    refused = [new_id() for _ in range(20)]
    for i, id in enumerate(refused):
        refuse(client, new_root(), id)
        if i == 10:
            client.do("order", new_root(), id=done_id)
    system.worker.kill()
    assert final(slow) is None
    if store == "lost":
        shutil.rmtree(pathlib.Path(system.config["state"]["path"], STORE))
    client = ready_again(system)
    eventually(lambda: logic.calls.of(slow_id) == 2, 20, what="the slow one to run again")
    assert numbers(client.do("order", new_root())) == [0]  # behind all of them in the log
    assert [logic.calls.of(id) for id in [done_id, *refused]] == [1] * (1 + len(refused))


# ---- L13: copies of one call share its refusal

def test_L13_copies_under_way_get_the_one_refusal(make_system, gated):
    """It would succeed at the second try; what the caller sends after the refusal is a command of its own, and does."""
    logic = gated()
    system = make_system({"order": logic.address}, partitions=1).up()
    client = system.client()
    root, key, id = new_root(), new_id(), new_id()
    logic.hold()

    def call():
        return client.refused("FAILED_PRECONDITION", client.do, "order", root, what="flaky", n=1, value=9, id=id, key=key)
    first = in_thread(call)
    eventually(lambda: logic.waiting == 1, 10)
    copies = [in_thread(call) for _ in range(5)]
    other = in_thread(lambda: client.do("order", new_root()))  # appended behind the copies
    eventually(lambda: logic.waiting == 2, 10)
    logic.let_go()
    assert numbers(other.result()) == [0]
    assert {job.result().message for job in [first, *copies]} == {"not yet: call 1 of 1"}
    assert logic.calls.of(id) == 1
    assert numbers(client.do("order", root, what="flaky", n=1, value=9, id=id, key=key)) == [0]
    assert logic.calls.of(id) == 2


# ---- L19: a damaged store is no answer

def tables(system):
    return sorted(pathlib.Path(system.config["state"]["path"], STORE).rglob("*.sst"))


def damage_blocks(path):
    """One bit in every 512 bytes of the part that holds the rows; index and footer stay as they are."""
    data = bytearray(path.read_bytes())
    for at in range(100, len(data) * 3 // 5, 512):
        data[at] ^= 0x10
    path.write_bytes(data)


def damage_footer(path):
    data = bytearray(path.read_bytes())
    data[-4] ^= 0xFF
    path.write_bytes(data)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize("damage", [damage_blocks, damage_footer, truncate])
def test_L19_a_damaged_store_is_rebuilt_and_never_believed(make_system, gated, damage):
    logic = gated()
    system = make_system({"order": {"address": logic.address, "snapshots": "off"}}, partitions=1).up()
    client = system.client()
    roots = [new_root() for _ in range(60)]
    jobs = [in_thread(lambda r=root: [numbers(client.do("order", r, i * 2, n=2, data=uuid.uuid4().bytes * 40, key=f"{r.hex()}-{i}"))
                                      for i in range(3)]) for root in roots]
    for job in jobs:
        job.result()
    before = {root: client.raw("/angzarr.EventQuery/GetEventBook", client.query("order", root).SerializeToString()) for root in roots}
    assert system.worker.terminate() == 0
    files = tables(system)
    assert files, "the store was not flushed when the worker ended"
    for path in files:
        damage(path)
    client = ready_again(system)
    for i, root in enumerate(roots):
        path = "/angzarr.EventQuery/GetEventBook"
        query = client.query("order", root).SerializeToString()
        if i % 3 == 0:  # the first to meet the damage: a command, a query, a copy
            assert numbers(client.do("order", root, 6)) == [6]
        elif i % 3 == 1:
            assert client.raw(path, query) == before[root]
        else:
            assert numbers(client.do("order", root, 0, key=f"{root.hex()}-0")) == [0, 1]
    said = [line for line in system.worker.log_lines() if line["level"] in ("warn", "error")]
    assert [line for line in said if "STORE" in line["id"] or "store" in line["msg"]], "nothing was said about the damage"
    records = system.reader().stored("order", roots)
    checker.no_complaint(checker.gaps(records))
    checker.no_complaint(checker.agree(client, "order", records))
    assert sum(len(r.pages) for r in records) == 60 * 6 + 20
