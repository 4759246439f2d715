"""Ray Serve: a replica behind its gRPC proxy. Slow to start, so it runs only where asked for."""

from __future__ import annotations

from collections.abc import Mapping

from benchmark.peers.peer import Launch, Peer, free_port


def _command(launch: Launch) -> list[str]:
    return [
        *(str(launch.python), "-m", "benchmark.peers.hosts.ray_app"),
        *("--model", str(launch.model), "--port", str(launch.port)),
        *("--http-port", str(free_port()), "--streams", str(launch.slots)),
    ]


def _variables(launch: Launch) -> Mapping[str, str]:
    return {
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TMPDIR": str(launch.folder),
        # Ray's own address, where a machine has several.
        "RAY_NODE_IP_ADDRESS": "127.0.0.1",
    }


RAY = Peer(
    name="ray",
    title="Ray Serve",
    packages=("ray", "grpcio", "onnxruntime", "opencv-python-headless"),
    transport="ray",
    command=_command,
    requirements="ray",
    variables=_variables,
    optional=True,
    start_limit_s=120.0,
)
