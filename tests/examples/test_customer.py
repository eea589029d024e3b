"""examples/features/customer.feature against every service of the domain."""

import pytest
from pytest_bdd import given, parsers, scenarios, when

from lib.api import pb
from steps import words

DOMAIN = "customer"
pytestmark = [pytest.mark.usefixtures("it"), pytest.mark.xdist_group("features")]  # one process: one system per log
scenarios("../../examples/features/customer.feature")


@given(parsers.parse('a customer "{name}"'))
def a_customer(it, name):
    it.send(pb.examples.CreateCustomer(name=name, email=f"{name.lower()}@example.com"))
    it.no_surprise()


@when(words(r'a customer "(?P<name>[^"]*)" with the email "(?P<email>[^"]*)" is created'))
def create(it, name, email, sequence, key, times):
    it.send(pb.examples.CreateCustomer(name=name, email=email), sequence, key, times)


@when(words(r'(?P<points>-?\d+) points are added for "(?P<reason>[^"]*)"'))
def add(it, points, reason, sequence, key, times):
    it.send(pb.examples.AddLoyaltyPoints(points=int(points), reason=reason), sequence, key, times)


@when(words(r'(?P<points>-?\d+) points are redeemed for "(?P<what>[^"]*)"'))
def redeem(it, points, what, sequence, key, times):
    it.send(pb.examples.RedeemLoyaltyPoints(points=int(points), redemption_type=what), sequence, key, times)
