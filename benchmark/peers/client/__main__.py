"""`python -m benchmark.peers.client`: the load generator's process; jobs come as JSON lines."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from benchmark.peers import worker
from benchmark.peers.client import loads
from benchmark.peers.client.links import Link, Transport
from benchmark.peers.client.transports import transport
from benchmark.peers.frameset import FrameSet


class Client:
    """Runs loads in one event loop; sessions get numbers that are never used again."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._numbers = itertools.count(step=10_000)
        self._frames: dict[str, FrameSet] = {}
        self._held: list[Link] = []

    def outputs(self, *, sequences: list[list[int]], **job: Any) -> Any:  # noqa: ANN401 - JSON
        """See `loads.outputs`."""
        there, _, _ = self._prepare(job)
        return self._run(loads.outputs(there, next(self._numbers), sequences))

    def closed(self, **job: Any) -> Any:  # noqa: ANN401 - JSON
        """See `loads.closed`."""
        there, pictures, rest = self._prepare(job)
        return self._run(loads.closed(there, next(self._numbers), pictures, **rest))

    def paced(self, **job: Any) -> Any:  # noqa: ANN401 - JSON
        """See `loads.paced`."""
        there, pictures, rest = self._prepare(job)
        return self._run(loads.paced(there, next(self._numbers), pictures, **rest))

    def hold(self, **job: Any) -> None:  # noqa: ANN401 - JSON
        """See `loads.hold`; the sessions stay open until this process ends."""
        there, _, rest = self._prepare(job)
        self._held += self._run(loads.hold(there, next(self._numbers), **rest))

    def reopen(self, **job: Any) -> Any:  # noqa: ANN401 - JSON
        """See `loads.reopen`."""
        there, _, rest = self._prepare(job)
        return self._run(loads.reopen(there, next(self._numbers), **rest))

    def _prepare(self, job: dict[str, Any]) -> tuple[Transport, int, dict[str, Any]]:
        """Return the job's transport, its number of pictures, and its other arguments."""
        rest = dict(job)
        path = rest.pop("frames")
        if path not in self._frames:
            self._frames[path] = FrameSet.load(Path(path))
        frames = self._frames[path]
        there = transport(rest.pop("transport"), rest.pop("target"), frames)
        return there, len(frames.frames), rest

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - JSON
        gc.collect()
        gc.freeze()
        return self._loop.run_until_complete(work)


def main() -> None:
    """Serve jobs until standard input ends."""
    client = Client()
    names = ("outputs", "closed", "paced", "hold", "reopen")
    worker.serve({name: getattr(client, name) for name in names})


if __name__ == "__main__":
    main()
