"""All peers, in the order of tables."""

from __future__ import annotations

from benchmark.peers.openpi import OPENPI
from benchmark.peers.peer import Peer
from benchmark.peers.ray_serve import RAY
from benchmark.peers.steerstream_peer import STEERSTREAM, STEERSTREAM_OPENVINO
from benchmark.peers.threads import THREADS_ORT, THREADS_TORCH
from benchmark.peers.triton import TRITON, TRITON_OPENVINO

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        STEERSTREAM,
        STEERSTREAM_OPENVINO,
        TRITON,
        TRITON_OPENVINO,
        THREADS_ORT,
        THREADS_TORCH,
        OPENPI,
        RAY,
    )
}


def chosen(names: list[str], also: list[str]) -> list[Peer]:
    """Return peers by name, in the order of tables.

    Args:
        names: those to compare; empty for all that are not optional.
        also: optional ones to add.
    """
    wanted = set(names) or {peer.name for peer in PEERS.values() if not peer.optional}
    return [peer for peer in PEERS.values() if peer.name in wanted | set(also)]
