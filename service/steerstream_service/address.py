"""Reads the address to listen on, checks that it is free, and holds it for several processes."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from steerstream import whole_file
from steerstream_service.errors import ConfigError, ListenError

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]/\s]+):(?P<port>[0-9]{1,5})")
_MAX_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Place:
    """A TCP address. An IPv6 host is in brackets; port 0 stands for any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return `HOST:PORT`."""
        return f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        host = self.host.strip("[]")
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def for_worker(self, number: int | None) -> Place:
        """Return the place of a worker that shares no port: this one for the first, then the next.

        Args:
            number: of the worker; None for a server alone.

        Raises:
            ListenError: there is no such port.
        """
        if not self.port or not number:
            return self
        if self.port + number > _MAX_PORT:
            raise ListenError(f"worker {number} has no port after {self}; the last is {_MAX_PORT}")
        return Place(self.host, self.port + number)


def parse(text: str) -> Place | None:
    """Read `HOST:PORT`; return None for `unix:PATH`.

    Raises:
        ListenError: the text is neither.
    """
    if re.fullmatch(r"unix:.+", text):
        return None
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > _MAX_PORT:
        raise ListenError(f"cannot listen on {text!r}; give HOST:PORT or unix:PATH")
    return Place(match["host"], int(match["port"]))


def check_free(place: Place) -> None:
    """Check that an address is free: gRPC says why it is not only in its debug log.

    Raises:
        ListenError: the address cannot be used.
    """
    with _bound(place) as probe, _explained(place):
        probe.listen()


def check_socket_free(listen: str) -> None:
    """Check that a Unix socket can be listened on, and that no server does so already.

    gRPC would take its path away from that server, and tells only its own log why it cannot listen.

    Args:
        listen: `unix:PATH`. A socket that a server left when it was killed is free.

    Raises:
        ListenError: a server listens there, the path is something else than a socket, or none can
            be made there.
    """
    path = Path(listen.removeprefix("unix:"))
    try:
        if not path.exists():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.bind(str(path))
            path.unlink()
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            # A server whose queue of connections is full holds the socket all the same.
            probe.setblocking(False)  # noqa: FBT003 - the name of the standard library
            with contextlib.suppress(BlockingIOError):
                probe.connect(str(path))
    except ConnectionRefusedError:
        if path.is_socket():
            return
        raise ListenError(f"cannot listen on {listen}: the path exists, and is no socket") from None
    except OSError as error:
        raise ListenError(f"cannot listen on {listen}: {error.strerror or error}") from None
    raise ListenError(f"cannot listen on {listen}: Address already in use")


@contextlib.contextmanager
def hold(place: Place) -> Iterator[Place]:
    """Reserve a TCP port for processes that share it, so that no other process can take it.

    The socket never listens, so no vehicle is ever connected to it.

    Yields:
        The place, with the port that was taken.

    Raises:
        ListenError: the address cannot be used.
    """
    check_free(place)
    with _bound(place) as held:
        # Set after the bind, so that the bind fails if another server's workers share this port.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        yield Place(place.host, held.getsockname()[1])


def write_address(path: Path | None, address: str) -> None:
    """Write an address to a file, for scripts that gave port 0; do nothing without a path.

    Raises:
        ConfigError: the file cannot be written.
    """
    if path is None:
        return
    try:
        whole_file.write_text(path, f"{address}\n")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


@contextlib.contextmanager
def _bound(place: Place) -> Iterator[socket.socket]:
    with _explained(place):
        found = socket.getaddrinfo(place.host.strip("[]"), place.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        taken = socket.socket(family, kind, protocol)
    with taken:
        with _explained(place):
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(address)
        yield taken


@contextlib.contextmanager
def _explained(place: Place) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ListenError(f"cannot listen on {place}: {error.strerror}") from None
