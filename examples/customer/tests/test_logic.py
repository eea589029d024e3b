"""The pure part: tables of state, command and outcome."""

import pytest

import gen  # noqa: F401
from angzarr import business_pb2, types_pb2
from examples import customer_pb2 as pb

import logic
import state

NOBODY = pb.CustomerState()
ADA = pb.CustomerState(name="Ada", email="a@x", loyalty_points=100, lifetime_points=150)
CREATE = pb.CreateCustomer(name="Ada", email="a@x")

ACCEPTED = [
    ("create", NOBODY, CREATE, pb.CustomerCreated(name="Ada", email="a@x")),
    ("add", ADA, pb.AddLoyaltyPoints(points=5, reason="r"),
     pb.LoyaltyPointsAdded(points=5, new_balance=105, reason="r")),
    ("redeem", ADA, pb.RedeemLoyaltyPoints(points=30, redemption_type="t"),
     pb.LoyaltyPointsRedeemed(points=30, new_balance=70, redemption_type="t")),
    ("redeem all", ADA, pb.RedeemLoyaltyPoints(points=100), pb.LoyaltyPointsRedeemed(points=100)),
]

REFUSED = [
    ("no name", NOBODY, pb.CreateCustomer(email="a@x"), logic.InvalidArgument, "Customer name is required"),
    ("blank name", NOBODY, pb.CreateCustomer(name=" ", email="a@x"), logic.InvalidArgument,
     "Customer name is required"),
    ("no email", NOBODY, pb.CreateCustomer(name="Ada"), logic.InvalidArgument, "Customer email is required"),
    ("twice", ADA, CREATE, logic.FailedPrecondition, "Customer already exists"),
    ("add to nobody", NOBODY, pb.AddLoyaltyPoints(points=1), logic.FailedPrecondition, "Customer does not exist"),
    ("redeem from nobody", NOBODY, pb.RedeemLoyaltyPoints(points=1), logic.FailedPrecondition,
     "Customer does not exist"),
    ("add nothing", ADA, pb.AddLoyaltyPoints(), logic.InvalidArgument, "Points must be positive"),
    ("add less than nothing", ADA, pb.AddLoyaltyPoints(points=-1), logic.InvalidArgument, "Points must be positive"),
    ("redeem nothing", ADA, pb.RedeemLoyaltyPoints(points=0), logic.InvalidArgument, "Points must be positive"),
    ("redeem too much", ADA, pb.RedeemLoyaltyPoints(points=101), logic.FailedPrecondition,
     "Insufficient points: have 100, need 101"),
]


@pytest.mark.parametrize("before, command, event", [row[1:] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_accepted(before, command, event):
    assert logic.decide(command, before) == [event]


@pytest.mark.parametrize("before, command, kind, text", [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused(before, command, kind, text):
    with pytest.raises(kind) as refusal:
        logic.decide(command, before)
    assert str(refusal.value) == text


def book(*events, first=0, snapshot=None, at=0):
    made = types_pb2.EventBook()
    for num, event in enumerate(events, first):
        made.pages.add(num=num).event.Pack(event)
    if snapshot is not None:
        made.snapshot.sequence = at
        made.snapshot.state.Pack(snapshot)
    return made


CREATED = pb.CustomerCreated(name="Ada", email="a@x")
ADDED = pb.LoyaltyPointsAdded(points=150, new_balance=150)
REDEEMED = pb.LoyaltyPointsRedeemed(points=50, new_balance=100)
BEFORE = pb.CustomerState(name="Ada", email="a@x", loyalty_points=150, lifetime_points=150)

HISTORIES = [
    ("nothing", book(), NOBODY),
    ("all events", book(CREATED, ADDED, REDEEMED), ADA),
    ("a snapshot alone", book(snapshot=ADA, at=2), ADA),
    ("a snapshot and events after it", book(REDEEMED, first=2, at=1, snapshot=BEFORE), ADA),
    ("events that the snapshot already holds", book(CREATED, ADDED, REDEEMED, snapshot=ADA, at=2), ADA),
]


@pytest.mark.parametrize("history, want", [row[1:] for row in HISTORIES], ids=[row[0] for row in HISTORIES])
def test_rebuild(history, want):
    assert state.rebuild(history) == want


@pytest.mark.parametrize("history", [book(pb.CreateCustomer()), book(snapshot=CREATED)], ids=["event", "snapshot"])
def test_a_history_of_something_else_is_named(history):
    with pytest.raises(state.CorruptHistory, match="unknown (event|snapshot): examples"):
        state.rebuild(history)


def request(*commands, history=None):
    made = business_pb2.ContextualCommand(events=history)
    made.command.cover.domain = "customer"
    for command in commands:
        made.command.pages.add().command.Pack(command)
    return made


def test_the_answer_has_new_pages_without_numbers_and_the_state():
    answer = logic.handle(request(CREATE, pb.AddLoyaltyPoints(points=7)))
    assert [state.unpack(page.event, state.EVENTS, "event") for page in answer.pages] == [
        CREATED, pb.LoyaltyPointsAdded(points=7, new_balance=7)]
    assert [page.WhichOneof("sequence") for page in answer.pages] == [None, None]
    assert answer.cover.domain == "customer"
    after = pb.CustomerState()
    assert answer.snapshot_state.Unpack(after)
    assert after == pb.CustomerState(name="Ada", email="a@x", loyalty_points=7, lifetime_points=7)


def broken():
    made = request(CREATE)
    made.command.pages[0].command.value = b"\xff"
    return made


@pytest.mark.parametrize("wrong, text", [
    (request(), "The command book has no page"),
    (request(CREATED), "unknown command: examples.CustomerCreated"),
    (broken(), "command examples.CreateCustomer does not decode"),
], ids=["no page", "an event", "broken bytes"])
def test_a_wrong_book_is_refused(wrong, text):
    with pytest.raises(logic.InvalidArgument) as refusal:
        logic.handle(wrong)
    assert str(refusal.value) == text
