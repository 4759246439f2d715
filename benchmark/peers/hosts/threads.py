"""The plain baseline: gRPC's thread pool, one thread and one state a stream, nothing else.

It serves the stubs of steerstream, so that the client's side is the same. It has no budgets, no
batches and no admission beyond its number of threads.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from benchmark.peers.hosts.network import Array, Network, State
from steerstream.v1 import (
    command_pb2,
    drive_service_pb2,
    drive_service_pb2_grpc,
    frame_pb2,
    session_pb2,
)


class Vehicles(drive_service_pb2_grpc.DriveServiceServicer):
    """Drives each stream with a separate state.

    Args:
        network: shared by all threads; a step keeps nothing in it.
    """

    def __init__(self, network: Network) -> None:
        self._network = network

    def Drive(  # noqa: N802 - the name in the wire contract
        self,
        request_iterator: Iterator[drive_service_pb2.DriveRequest],
        context: Any,  # noqa: ANN401, ARG002 - grpc's signature
    ) -> Iterator[drive_service_pb2.DriveResponse]:
        """Answer each frame in its turn."""
        next(request_iterator)
        yield opened()
        state = self._network.initial_state()
        for request in request_iterator:
            outputs, state = step(self._network, request.frame, state)
            yield response(request.frame, outputs[0])

    def DescribeModels(  # noqa: N802 - the name in the wire contract
        self,
        request: drive_service_pb2.DescribeModelsRequest,  # noqa: ARG002
        context: Any,  # noqa: ANN401, ARG002 - grpc's signature
    ) -> drive_service_pb2.DescribeModelsResponse:
        """Describe nothing: the contract of the wire asks for an answer, the loads never do."""
        return drive_service_pb2.DescribeModelsResponse()


def opened() -> drive_service_pb2.DriveResponse:
    """Return the message that answers the opening."""
    return drive_service_pb2.DriveResponse(opened=session_pb2.SessionOpened())


def step(network: Network, frame: frame_pb2.Frame, state: State) -> tuple[Array, State]:
    """Decode a frame and step the network.

    Args:
        network: what steps.
        frame: of a request.
        state: before the frame.

    Returns:
        The outputs [1, 3], and the state after the frame.
    """
    image = frame.rgb8
    data = image.pixels if frame.HasField("rgb8") else frame.jpeg
    picture = network.picture(image.width_px, image.height_px, data)
    return network.step(picture[None], state)


def response(frame: frame_pb2.Frame, outputs: Array) -> drive_service_pb2.DriveResponse:
    """Return the message that answers a frame with outputs [3]."""
    angle, speed, torque = outputs.tolist()
    raw = command_pb2.ControlValues(
        steering_wheel_angle_rad=angle, speed_mps=speed, steering_torque_nm=torque
    )
    command = command_pb2.Command(
        sequence_number=frame.sequence_number,
        capture_time_ns=frame.capture_time_ns,
        raw=raw,
        validity=command_pb2.VALIDITY_VALID,
    )
    return drive_service_pb2.DriveResponse(command=command)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--eager", action="store_true", help="run the network in torch")
    options = parser.parse_args()
    server = grpc.server(
        ThreadPoolExecutor(options.threads), options=[("grpc.max_receive_message_length", -1)]
    )
    drive_service_pb2_grpc.add_DriveServiceServicer_to_server(
        Vehicles(_network(options.model, eager=options.eager)), server
    )
    server.add_insecure_port(f"127.0.0.1:{options.port}")
    server.start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.stop(None)


def _network(model: Path, *, eager: bool) -> Network:
    if not eager:
        return Network(model)
    # Torch is not in the environment of `threads-ort`.
    from benchmark.peers.hosts.torch_network import TorchNetwork  # noqa: PLC0415

    return TorchNetwork(model)


if __name__ == "__main__":
    main()
