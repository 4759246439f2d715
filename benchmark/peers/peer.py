"""The description of a peer: how it is installed and started, and which transport it speaks."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """The values with which a peer's server is started.

    Attributes:
        python: the interpreter of the peer's environment.
        model: the bundle.
        port: to listen on, on the loopback interface.
        slots: sessions at once, where the peer has such a bound.
        folder: an empty folder for the server's files.
        admits_all: whether a peer that forecasts its load shall admit sessions regardless: how many
            it carries is another question than how many it promises to carry.
    """

    python: Path
    model: Path
    port: int
    slots: int
    folder: Path
    admits_all: bool


def no_variables(launch: Launch) -> Mapping[str, str]:
    """Return the variables of a server that needs none."""
    del launch
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One way to serve the bundle.

    Attributes:
        name: on the command line and in results.
        title: in tables.
        packages: whose versions a result states.
        transport: how it is spoken to; see `benchmark.loadgen.transport.make`.
        command: makes the server's command line, and its files.
        requirements: name of its list of packages; None runs it in this environment.
        resolve: let pip add what the listed packages ask for; where a package asks for versions
            that it does not need, the list is installed as it stands.
        variables: makes environment variables for the server.
        is_reduced: serves the 8-bit bundle beside the other, which steerstream chooses by itself.
        sees_view: gets the view that it declares, where the others get whole pictures.
        optional: runs only where it is asked for.
        model: the bundle that it serves; None for the one that is compared. An earlier revision may
            not read today's.
        start_limit_s: from its start to its first answered frame, at most.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    transport: str
    command: Callable[[Launch], list[str]]
    requirements: str | None = None
    resolve: bool = False
    variables: Callable[[Launch], Mapping[str, str]] = field(default=no_variables)
    is_reduced: bool = False
    sees_view: bool = False
    optional: bool = False
    model: Path | None = None
    start_limit_s: float = 60.0


def free_port() -> int:
    """Return a port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
