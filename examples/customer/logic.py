"""The decisions: a command and a state become events, or a refusal.  Pure: no clock, no network, no storage."""

import gen  # noqa: F401
from angzarr import types_pb2
from examples import customer_pb2 as pb

from state import apply, exists, rebuild, unpack


class InvalidArgument(Exception):
    """The command itself is wrong; sending it again cannot help."""


class FailedPrecondition(Exception):
    """The command is fine, but not for this customer as it is now."""


def create(command, state):
    if exists(state):
        raise FailedPrecondition("Customer already exists")
    if not command.name.strip():
        raise InvalidArgument("Customer name is required")
    if not command.email.strip():
        raise InvalidArgument("Customer email is required")
    return [pb.CustomerCreated(name=command.name, email=command.email)]


def check_points(command, state):
    if not exists(state):
        raise FailedPrecondition("Customer does not exist")
    if command.points <= 0:
        raise InvalidArgument("Points must be positive")


def add_points(command, state):
    check_points(command, state)
    balance = state.loyalty_points + command.points
    return [pb.LoyaltyPointsAdded(points=command.points, new_balance=balance, reason=command.reason)]


def redeem_points(command, state):
    check_points(command, state)
    if command.points > state.loyalty_points:
        raise FailedPrecondition(f"Insufficient points: have {state.loyalty_points}, need {command.points}")
    balance = state.loyalty_points - command.points
    event = pb.LoyaltyPointsRedeemed(points=command.points, new_balance=balance)
    event.redemption_type = command.redemption_type
    return [event]


DECISIONS = {pb.CreateCustomer: create, pb.AddLoyaltyPoints: add_points, pb.RedeemLoyaltyPoints: redeem_points}
COMMANDS = {command.DESCRIPTOR.full_name: command for command in DECISIONS}


def decide(command, state):
    """The events that follow from a command, in order."""
    return DECISIONS[type(command)](command, state)


def handle(request):
    """ContextualCommand -> EventBook.  The pages carry no numbers: they are given them when they are stored."""
    if not request.command.pages:
        raise InvalidArgument("The command book has no page")
    state = rebuild(request.events)
    answer = types_pb2.EventBook(cover=request.command.cover)
    for page in request.command.pages:
        try:
            command = unpack(page.command, COMMANDS, "command")
        except ValueError as error:
            raise InvalidArgument(str(error)) from error
        for event in decide(command, state):
            state = apply(state, event)
            answer.pages.add().event.Pack(event)
    answer.snapshot_state.Pack(state)
    return answer
