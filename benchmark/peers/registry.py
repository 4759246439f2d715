"""All peers, in the order of tables, and how each is started."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from benchmark.peers import triton_server
from benchmark.peers.peer import Launch, Peer, free_port

EARLIER = "steerstream-earlier"
"""Name of an earlier revision among the peers."""
_ADMITS_ALL = {"max_load": 100, "shed_after_s": 3600}


def _steerstream(launch: Launch) -> list[str]:
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


def earlier(revision: str, checkout: Path) -> Peer:
    """Return an earlier revision of steerstream as a peer; it runs in this environment.

    It serves the bundle that it shipped with.

    Args:
        revision: its name in git; one whose server is the package `service`.
        checkout: where its files are.
    """

    def command(launch: Launch) -> list[str]:
        python, _, _, *rest = _steerstream(launch)
        return [python, "-m", "service", *rest]

    def variables(launch: Launch) -> Mapping[str, str]:
        del launch
        return {"PYTHONPATH": str(checkout)}

    return dataclasses.replace(
        _STEERSTREAM,
        name=EARLIER,
        title=f"steerstream, revision {revision}",
        command=command,
        variables=variables,
        model=checkout / "models" / "pilotnet_lstm.onnx",
    )


def _host(launch: Launch, name: str) -> list[str]:
    return [
        *(str(launch.python), "-m", f"benchmark.peers.hosts.{name}"),
        *("--model", str(launch.model), "--port", str(launch.port)),
    ]


def _threads(launch: Launch) -> list[str]:
    return [*_host(launch, "threads"), "--threads", str(launch.slots)]


def _eager_threads(launch: Launch) -> list[str]:
    return [*_threads(launch), "--eager"]


def _openpi(launch: Launch) -> list[str]:
    return _host(launch, "openpi")


def _ray(launch: Launch) -> list[str]:
    http_port = str(free_port())
    return [*_host(launch, "ray_app"), "--http-port", http_port, "--streams", str(launch.slots)]


def _ray_variables(launch: Launch) -> Mapping[str, str]:
    return {
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        # HAProxy in place of the proxy in Python: a third of the median at eight vehicles.
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_TMPDIR": str(launch.folder),
        # Ray's own address, where a machine has several.
        "RAY_NODE_IP_ADDRESS": "127.0.0.1",
    }


_STEERSTREAM = Peer(
    name="steerstream",
    title="steerstream",
    packages=("grpcio", "onnxruntime", "opencv-python-headless"),
    transport="drive",
    command=_steerstream,
)
_TRITON = Peer(
    name="triton",
    title="NVIDIA Triton",
    packages=("nvidia-pytriton", "onnxruntime", "opencv-python-headless", "numpy"),
    transport="triton",
    command=triton_server.command,
    requirements="triton",
    variables=triton_server.variables,
)
_THREADS = Peer(
    name="threads-ort",
    title="thread pool + ONNX Runtime",
    packages=("grpcio", "onnxruntime", "opencv-python-headless"),
    transport="drive",
    command=_threads,
)
_OPENPI = Peer(
    name="openpi",
    title="openpi-server",
    packages=("openpi-server", "websockets", "onnxruntime", "opencv-python-headless"),
    transport="openpi",
    command=_openpi,
    requirements="openpi",
)
_ALL = (
    _STEERSTREAM,
    dataclasses.replace(
        _STEERSTREAM, name="steerstream-view", title="steerstream, its view", sees_view=True
    ),
    dataclasses.replace(
        _STEERSTREAM,
        name="steerstream-openvino",
        title="steerstream, OpenVINO",
        packages=("grpcio", "onnxruntime-openvino", "opencv-python-headless"),
        requirements="steerstream-openvino",
        optional=True,
    ),
    _TRITON,
    dataclasses.replace(
        _TRITON, name="triton-int8", title="NVIDIA Triton, our 8 bits", is_reduced=True
    ),
    dataclasses.replace(
        _TRITON,
        name="triton-openvino",
        title="NVIDIA Triton, OpenVINO",
        packages=("nvidia-pytriton", "onnxruntime-openvino", "opencv-python-headless", "numpy"),
        requirements="triton-openvino",
        optional=True,
    ),
    _THREADS,
    dataclasses.replace(
        _THREADS, name="threads-int8", title="thread pool, our 8 bits", is_reduced=True
    ),
    dataclasses.replace(
        _THREADS,
        name="threads-torch",
        title="thread pool + torch eager",
        packages=("grpcio", "torch", "opencv-python-headless"),
        command=_eager_threads,
        requirements="threads-torch",
        optional=True,
        # Torch needs CUDA's libraries, which differ by platform, so pip chooses them.
        resolve=True,
    ),
    _OPENPI,
    dataclasses.replace(
        _OPENPI, name="openpi-int8", title="openpi-server, our 8 bits", is_reduced=True
    ),
    Peer(
        name="ray",
        title="Ray Serve",
        packages=("ray", "grpcio", "onnxruntime", "opencv-python-headless"),
        transport="ray",
        command=_ray,
        requirements="ray",
        variables=_ray_variables,
        optional=True,
        start_limit_s=120.0,
    ),
)
PEERS: dict[str, Peer] = {peer.name: peer for peer in _ALL}


def chosen(names: list[str], also: list[str]) -> list[Peer]:
    """Return peers by name, in the order of tables.

    Args:
        names: those to compare; empty for all that are not optional.
        also: optional ones to add.
    """
    wanted = set(names) or {peer.name for peer in _ALL if not peer.optional}
    return [peer for peer in _ALL if peer.name in wanted | set(also)]
