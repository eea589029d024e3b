"""examples/features/inventory.feature against every service of the domain."""

import pytest
from pytest_bdd import given, parsers, scenarios, when

from lib.api import pb
from steps import words

DOMAIN = "inventory"
pytestmark = [pytest.mark.usefixtures("it"), pytest.mark.xdist_group("features")]  # one process: one system per log
scenarios("../../examples/features/inventory.feature")


@given(parsers.re(r'a product "(?P<name>\w+)"( with (?P<stock>\d+) in stock)?'))
def a_product(it, name, stock):
    it.send(pb.examples.CreateProduct(sku=f"{name[0]}-1", name=name))
    if stock is not None:
        it.send(pb.examples.AdjustStock(delta=int(stock), reason="delivery"))
    it.no_surprise()


@when(words(r'a product "(?P<name>[^"]*)" with the SKU "(?P<sku>[^"]*)" is created'))
def create(it, name, sku, sequence, key, times):
    it.send(pb.examples.CreateProduct(sku=sku, name=name), sequence, key, times)


@when(words(r'the stock changes by (?P<delta>-?\d+) for "(?P<reason>[^"]*)"'))
def adjust(it, delta, reason, sequence, key, times):
    it.send(pb.examples.AdjustStock(delta=int(delta), reason=reason), sequence, key, times)


@when(words(r'(?P<quantity>-?\d+) are reserved for the order "(?P<order>[^"]*)"'))
def reserve(it, quantity, order, sequence, key, times):
    it.send(pb.examples.ReserveStock(order_id=order, quantity=int(quantity)), sequence, key, times)


@when(words(r'the order "(?P<order>[^"]*)" is released'))
def release(it, order, sequence, key, times):
    it.send(pb.examples.ReleaseReservation(order_id=order), sequence, key, times)
