"""Ends a client's connection from below gRPC, which has no way to end one.

A stream whose client lets the server send nothing cannot be ended either: its status waits for as
long as the connection lives, and a client that answers pings keeps that alive.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path
from urllib.parse import unquote

_DESCRIPTORS = Path("/proc/self/fd")


def hang_up(peer: str) -> bool:
    """End the connection whose other end this is, with all its calls; gRPC then lets go of them.

    Args:
        peer: as gRPC names it, `ipv4:HOST:PORT` or `ipv6:[HOST]:PORT`.

    Returns:
        Whether there was such a connection. Those of a Unix socket have no names.
    """
    family, _, place = unquote(peer).partition(":")
    host, _, port = place.rpartition(":")
    if family not in {"ipv4", "ipv6"} or not port.isdecimal():
        return False
    end = (host.strip("[]").partition("%")[0], int(port))
    return any(_ends(number, end) for number in _sockets())


def _sockets() -> list[int]:
    numbers = []
    for path in _DESCRIPTORS.iterdir():
        with contextlib.suppress(OSError):  # It was closed since.
            if stat.S_ISSOCK(os.fstat(int(path.name)).st_mode):
                numbers.append(int(path.name))
    return numbers


def _ends(number: int, end: tuple[str, int]) -> bool:
    """End a socket if it leads to that end; gRPC keeps its descriptor."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as copy:
        if copy.family in {socket.AF_INET, socket.AF_INET6}:
            host, port = copy.getpeername()[:2]
            if (host.removeprefix("::ffff:"), port) == end:
                copy.shutdown(socket.SHUT_RDWR)
                return True
    return False
