"""Every rpc of the contract answers; those that are not built yet say UNIMPLEMENTED and do nothing."""

import pytest

from lib.api import descriptors

BUILT = {
    "CommandGateway": {"Execute", "ExecuteSync", "ExecuteStream", "ExecuteStreamResponseCount", "ExecuteStreamResponseTime"},
    "BusinessCoordinator": {"Handle", "Record"},
    "AggregateCoordinator": {"Handle", "HandleSync"},
    "EventQuery": {"GetEventBook", "GetEvents", "Synchronize", "GetAggregateRoots"},
    "EventStream": {"Subscribe"},
}
USERS = {"BusinessLogic", "Aggregate", "Projector", "Saga", "ProcessManager", "Upcaster"}  # served by users, not by us

RPCS = [(service.name, method.name, method.server_streaming)
        for file in descriptors.file if file.package == "angzarr"
        for service in file.service if service.name not in USERS
        for method in service.method]
UNBUILT = [rpc for rpc in RPCS if rpc[1] not in BUILT.get(rpc[0], ())]


def test_the_contract_has_its_services():
    assert {rpc[0] for rpc in RPCS} == {
        "CommandGateway", "BusinessCoordinator", "AggregateCoordinator", "EventQuery", "EventStream", "ProjectorCoordinator",
        "SagaCoordinator", "ProcessManagerCoordinator", "SpeculativeService", "EditionService"}


@pytest.mark.parametrize("service, method, stream", UNBUILT, ids=[f"{s}.{m}" for s, m, _ in UNBUILT])
def test_an_rpc_that_is_not_built_is_unimplemented(client, service, method, stream):
    client.refused("UNIMPLEMENTED", client.raw, f"/angzarr.{service}/{method}", b"", stream=stream, timeout=5)


@pytest.mark.parametrize("path", ["/angzarr.CommandGateway/Nothing", "/angzarr.Nothing/Execute", "/other.Service/Call"])
def test_an_unknown_rpc_is_unimplemented(client, path):
    client.refused("UNIMPLEMENTED", client.raw, path, b"", timeout=5)
