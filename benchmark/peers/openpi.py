"""openpi's websocket policy server."""

from __future__ import annotations

from benchmark.peers.peer import Launch, Peer


def _command(launch: Launch) -> list[str]:
    return [
        *(str(launch.python), "-m", "benchmark.peers.hosts.openpi"),
        *("--model", str(launch.model), "--port", str(launch.port)),
    ]


OPENPI = Peer(
    name="openpi",
    title="openpi-server",
    packages=("openpi-server", "websockets", "onnxruntime", "opencv-python-headless"),
    transport="openpi",
    command=_command,
    requirements="openpi",
)
