"""The limit of gRPC: grpc.aio that gives each request's bytes back: `python grpc_bare.py PORT`."""

import sys

import grpc
import uvloop


async def hello(request, context):
    """What was sent."""
    return request


class Hello(grpc.GenericRpcHandler):
    """Every call is answered."""

    def service(self, handler_call_details):
        """What answers a call."""
        return grpc.unary_unary_rpc_method_handler(hello)


async def main(port):
    """Serve until killed."""
    server = grpc.aio.server(handlers=(Hello(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


uvloop.run(main(sys.argv[1]))
