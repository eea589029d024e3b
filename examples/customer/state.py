"""What a customer is now, from what has happened.  Pure: the same book gives the same state."""

import gen  # noqa: F401  (makes the generated code importable)
from examples import customer_pb2 as pb

EVENTS = {m.DESCRIPTOR.full_name: m for m in (pb.CustomerCreated, pb.LoyaltyPointsAdded, pb.LoyaltyPointsRedeemed)}


class CorruptHistory(Exception):
    """The stored history holds something this program cannot read: a defect, not a wrong command."""


def exists(state):
    return state.name != ""


def unpack(any_message, known, what):
    """The message in an Any, by its type.  ValueError when the type is not known or the bytes do not fit it."""
    name = any_message.TypeName()
    if name not in known:
        raise ValueError(f"unknown {what}: {name or 'no type'}")
    message = known[name]()
    try:
        message.ParseFromString(any_message.value)
    except Exception as error:
        raise ValueError(f"{what} {name} does not decode") from error
    return message


def apply(state, event):
    """The state after one more event."""
    after = pb.CustomerState()
    after.CopyFrom(state)
    if isinstance(event, pb.CustomerCreated):
        after.name = event.name
        after.email = event.email
    elif isinstance(event, pb.LoyaltyPointsAdded):
        after.loyalty_points = event.new_balance
        after.lifetime_points += event.points
    elif isinstance(event, pb.LoyaltyPointsRedeemed):
        after.loyalty_points = event.new_balance
    return after


def rebuild(book):
    """The state an EventBook amounts to: its snapshot, when it has one, and every event after that."""
    state = pb.CustomerState()
    try:
        if book.HasField("snapshot"):
            state = unpack(book.snapshot.state, {pb.CustomerState.DESCRIPTOR.full_name: pb.CustomerState}, "snapshot")
        for page in book.pages:
            if book.HasField("snapshot") and page.num <= book.snapshot.sequence:
                continue
            state = apply(state, unpack(page.event, EVENTS, "event"))
    except ValueError as error:
        raise CorruptHistory(str(error)) from error
    return state
