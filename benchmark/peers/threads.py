"""A plain grpc thread pool, one stream and one state a session: with ONNX Runtime, and torch."""

from __future__ import annotations

import dataclasses

from benchmark.peers.peer import Launch, Peer


def _command(launch: Launch) -> list[str]:
    return [
        *(str(launch.python), "-m", "benchmark.peers.hosts.threads"),
        *("--model", str(launch.model), "--port", str(launch.port)),
        *("--threads", str(launch.slots)),
    ]


def _eager_command(launch: Launch) -> list[str]:
    return [*_command(launch), "--eager"]


THREADS_ORT = Peer(
    name="threads-ort",
    title="thread pool + ONNX Runtime",
    packages=("grpcio", "onnxruntime", "opencv-python-headless"),
    transport="drive",
    command=_command,
)
THREADS_TORCH = dataclasses.replace(
    THREADS_ORT,
    name="threads-torch",
    title="thread pool + torch eager",
    packages=("grpcio", "torch", "opencv-python-headless"),
    command=_eager_command,
    requirements="threads-torch",
    # Off this project's index torch brings CUDA's libraries, which differ by platform.
    resolve=True,
)
