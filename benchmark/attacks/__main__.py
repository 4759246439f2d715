"""`python -m benchmark.attacks`: a process that attacks, or watches, on request."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path
from typing import Any

from benchmark.attacks import attacks, witnesses
from benchmark.attacks.neighbours import be_busy
from benchmark.host.jobs import serve
from benchmark.loadgen.drive_rpc import DriveTransport
from benchmark.loadgen.picture_set import PictureSet


def _attack(**values: Any) -> int:  # noqa: ANN401 - values of JSON
    return asyncio.run(attacks.run(**values))


def _watch(*, address: str, pictures: str, seconds: float) -> dict[str, Any]:
    return asyncio.run(witnesses.watch(_transport(address, pictures), seconds=seconds))


def _room(*, address: str, pictures: str, **values: Any) -> int:  # noqa: ANN401
    return asyncio.run(witnesses.room(_transport(address, pictures), **values))


def _transport(address: str, pictures: str) -> DriveTransport:
    return DriveTransport(address, PictureSet.load(Path(pictures)))


def main() -> None:
    """Do jobs until standard input ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    serve(
        {
            "ready": lambda: True,
            "attack": _attack,
            "watch": _watch,
            "room": _room,
            "be_busy": be_busy,
        }
    )


if __name__ == "__main__":
    main()
