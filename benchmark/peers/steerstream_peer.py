"""This project's own server, at its best settings for one core."""

from __future__ import annotations

import dataclasses

from benchmark.peers.peer import Launch, Peer


def _command(launch: Launch) -> list[str]:
    config = launch.folder / "service.toml"
    config.write_text(f"max_sessions = {launch.slots}\n")
    return [
        *(str(launch.python), "-m", "service", "--model", str(launch.model)),
        *("--listen", f"127.0.0.1:{launch.port}", "--config", str(config)),
        *("--log-level", "warning"),
    ]


STEERSTREAM = Peer(
    name="steerstream",
    title="steerstream",
    packages=("grpcio", "onnxruntime", "opencv-python-headless"),
    transport="drive",
    command=_command,
)
STEERSTREAM_OPENVINO = dataclasses.replace(
    STEERSTREAM,
    name="steerstream-openvino",
    title="steerstream, OpenVINO",
    packages=("grpcio", "onnxruntime-openvino", "opencv-python-headless"),
    requirements="steerstream-openvino",
)
