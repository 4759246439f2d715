"""This project's own server, at its best settings for one core."""

from __future__ import annotations

import dataclasses

from benchmark.peers.peer import Launch, Peer

_ADMITS_ALL = {"max_load": 100, "shed_after_s": 3600}


def _command(launch: Launch) -> list[str]:
    config = launch.folder / "service.toml"
    settings = {"max_sessions": launch.slots}
    if launch.admits_all:
        settings |= _ADMITS_ALL
    config.write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
    return [
        *(str(launch.python), "-m", "steerstream_service", "--model", str(launch.model)),
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
