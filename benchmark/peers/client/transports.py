"""Transports by name. Each needs packages that not every environment has."""

from __future__ import annotations

import importlib

from benchmark.peers.client.links import Transport
from benchmark.peers.frameset import FrameSet

RAY_APPLICATION = "peers"
"""Ray Serve routes a gRPC call by this name in its metadata."""

_PLACES = {
    "drive": ("benchmark.peers.client.drive", "DriveTransport"),
    "ray": ("benchmark.peers.client.drive", "DriveTransport"),
    "triton": ("benchmark.peers.client.triton", "TritonTransport"),
    "openpi": ("benchmark.peers.client.openpi", "OpenpiTransport"),
}
_OPTIONS = {"ray": {"metadata": (("application", RAY_APPLICATION),)}}


def transport(name: str, target: str, frames: FrameSet) -> Transport:
    """Return the transport of a name to one server."""
    module, kind = _PLACES[name]
    made: Transport = getattr(importlib.import_module(module), kind)(
        target, frames, **_OPTIONS.get(name, {})
    )
    return made
