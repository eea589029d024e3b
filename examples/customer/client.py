"""Sends commands to one new customer through the gateway, then reads back what happened.

    python client.py --address 127.0.0.1:1316
"""

import argparse
import sys
import uuid

import grpc

import gen  # noqa: F401
from angzarr import gateway_pb2_grpc, query_pb2, query_pb2_grpc, types_pb2
from examples import customer_pb2 as pb

from state import EVENTS, unpack

DOMAIN = "customer"


class Unexpected(Exception):
    pass


def brief(message):
    """One line: the type and the fields that are set."""
    fields = ", ".join(f"{field.name}={value!r}" for field, value in message.ListFields())
    return f"{type(message).__name__}({fields})"


class Customer:
    """One customer as a client sees it: its root, and the number its next event will get."""

    def __init__(self, channel, root, timeout):
        self.gateway = gateway_pb2_grpc.CommandGatewayStub(channel)
        self.queries = query_pb2_grpc.EventQueryStub(channel)
        self.cover = types_pb2.Cover(domain=DOMAIN, root=types_pb2.UUID(value=root.bytes))
        self.timeout = timeout
        self.next = 0

    def send(self, command):
        book = types_pb2.CommandBook(cover=self.cover)
        page = book.pages.add(sequence=self.next)
        page.command.Pack(command)
        print(f"-> {brief(command)}")
        answer = self.gateway.Execute(book, timeout=self.timeout, wait_for_ready=True)
        self.next = answer.events.next_sequence
        self.show(answer.events)

    def send_refused(self, command, code):
        try:
            self.send(command)
        except grpc.RpcError as error:
            if error.code() != code:
                raise
            print(f"   refused: {error.code().name}: {error.details()}")
            return
        raise Unexpected(f"{brief(command)} was accepted; it should have been refused with {code.name}")

    def history(self):
        return self.queries.GetEventBook(query_pb2.Query(cover=self.cover), timeout=self.timeout)

    @staticmethod
    def show(book):
        for page in book.pages:
            when = page.created_at.ToDatetime().isoformat(sep=" ", timespec="milliseconds")
            print(f"   {page.num}  {when}  {brief(unpack(page.event, EVENTS, 'event'))}")


def run(channel, root, timeout):
    customer = Customer(channel, root, timeout)
    print(f"customer {root}")
    customer.send(pb.CreateCustomer(name="Ada", email="ada@example.com"))
    customer.send(pb.AddLoyaltyPoints(points=100, reason="welcome"))
    customer.send(pb.RedeemLoyaltyPoints(points=30, redemption_type="coffee"))
    too_much = pb.RedeemLoyaltyPoints(points=500, redemption_type="car")
    customer.send_refused(too_much, grpc.StatusCode.FAILED_PRECONDITION)
    book = customer.history()
    print(f"history: {len(book.pages)} events, the next will be number {book.next_sequence}")
    customer.show(book)
    if len(book.pages) != 3 or book.next_sequence != 3:
        raise Unexpected("the history should hold 3 events, numbered 0 to 2")


def main():
    parser = argparse.ArgumentParser(description="Customer example client")
    parser.add_argument("--address", default="127.0.0.1:1316", help="the gateway (default %(default)s)")
    parser.add_argument("--root", type=uuid.UUID, default=None, help="UUID of the customer (default: a new one)")
    parser.add_argument("--timeout", type=float, default=30, help="seconds per call (default %(default)s)")
    args = parser.parse_args()
    with grpc.insecure_channel(args.address) as channel:
        try:
            run(channel, args.root or uuid.uuid4(), args.timeout)
        except grpc.RpcError as error:
            sys.exit(f"the gateway at {args.address} answered {error.code().name}: {error.details()}")
        except Unexpected as error:
            sys.exit(f"unexpected: {error}")


if __name__ == "__main__":
    main()
