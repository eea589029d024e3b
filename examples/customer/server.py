"""Serves the customer logic over gRPC, for angzarr to call.

    python server.py --address 127.0.0.1:50051       or  --address unix:/tmp/customer.sock
"""

import argparse
import os
import signal
import sys
import threading
from concurrent import futures

import grpc

import gen  # noqa: F401
from angzarr import business_pb2_grpc, component_pb2

import logic
import state


class BusinessLogic(business_pb2_grpc.BusinessLogicServicer):
    def Handle(self, request, context):
        try:
            return logic.handle(request)
        except logic.InvalidArgument as refusal:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(refusal))
        except logic.FailedPrecondition as refusal:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(refusal))
        except state.CorruptHistory as defect:
            context.abort(grpc.StatusCode.INTERNAL, f"History cannot be read: {defect}")

    def GetDescriptor(self, request, context):
        return component_pb2.ComponentDescriptor(name="customer", component_type="aggregate")


def start(address):
    """A started server and the address it listens on (a port 0 is replaced by the one it got)."""
    # Two servers on one port would share the calls at random; an occupied port has to be an error.
    options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=options)
    business_pb2_grpc.add_BusinessLogicServicer_to_server(BusinessLogic(), server)
    port = server.add_insecure_port(address)
    server.start()
    if address.endswith(":0") and not address.startswith("unix:"):
        address = f"{address[:-2]}:{port}"
    return server, address


def main():
    parser = argparse.ArgumentParser(description="Customer business logic")
    parser.add_argument("--address", default=os.environ.get("ADDRESS", "127.0.0.1:50051"),
                        help="host:port or unix:path; also $ADDRESS (default %(default)s)")
    args = parser.parse_args()
    stop = threading.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sig, lambda *_: stop.set())
    try:
        server, address = start(args.address)
    except RuntimeError as error:
        sys.exit(f"cannot listen on {args.address}: {error}")
    print(f"customer logic ready on {address}", flush=True)
    stop.wait()
    server.stop(grace=5).wait()


if __name__ == "__main__":
    main()
