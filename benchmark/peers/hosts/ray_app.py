"""The network behind Ray Serve's gRPC proxy, with a stream and a state for each session."""

from __future__ import annotations

import argparse
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import ray
from ray import serve
from ray.serve.config import gRPCOptions
from ray.serve.grpc_util import gRPCInputStream

from benchmark.loadgen.transport import RAY_APPLICATION
from benchmark.peers.hosts.network import Network
from benchmark.peers.hosts.threads import opened, response, step
from steerstream.v1 import drive_service_pb2

_SERVICER = "steerstream.v1.drive_service_pb2_grpc.add_DriveServiceServicer_to_server"
_OBJECT_STORE_BYTES = 200 * 1024 * 1024


class Vehicles:
    """Drives each stream with a separate state.

    Args:
        model: the bundle's file.
    """

    def __init__(self, model: str) -> None:
        self._network = Network(Path(model))

    async def Drive(  # noqa: N802 - the name in the wire contract
        self, request_stream: gRPCInputStream[drive_service_pb2.DriveRequest]
    ) -> AsyncIterator[drive_service_pb2.DriveResponse]:
        """Answer each frame in its turn."""
        await anext(request_stream)
        yield opened()
        state = self._network.initial_state()
        async for request in request_stream:
            outputs, state = step(self._network, request.frame, state)
            yield response(request.frame, outputs[0])


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--http-port", type=int, required=True, help="its proxy insists on one")
    parser.add_argument("--streams", type=int, required=True)
    options = parser.parse_args()
    ray.init(include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES)
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": "127.0.0.1", "port": options.http_port},
        grpc_options=gRPCOptions(port=options.port, grpc_servicer_functions=[_SERVICER]),
    )
    deployment = serve.deployment(
        Vehicles, max_ongoing_requests=options.streams, ray_actor_options={"num_cpus": 0}
    )
    serve.run(deployment.bind(str(options.model.resolve())), name=RAY_APPLICATION)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    ray.shutdown()


if __name__ == "__main__":
    main()
