"""`python -m benchmark.loadgen`: one process of the load generator, started by `crew`."""

from __future__ import annotations

import asyncio
import functools
import gc
import selectors
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmark.host.jobs import serve
from benchmark.loadgen import closed_loop, flood, open_loop, probes, transport
from benchmark.loadgen.picture_set import PictureSet

_LOADS: dict[str, tuple[Any, Callable[..., Any]]] = {
    "Load": (open_loop.Load, open_loop.run),
    "ClosedLoop": (closed_loop.ClosedLoop, closed_loop.run),
    "Flood": (flood.Flood, flood.run),
}


class Generator:
    """Runs loads in one event loop.

    Args:
        runner: of the event loop.
    """

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._pictures = functools.cache(PictureSet.load)

    def load(
        self, *, kind: str, server: Mapping[str, str], pictures: str, **values: object
    ) -> dict[str, Any]:
        """Run a load and return its tally.

        Args:
            kind: of load, by the name of its class.
            server: `transport`, `address`, and `ca_file` where it speaks TLS.
            pictures: the file of a `PictureSet`.
            **values: the load's other attributes.
        """
        make, run = _LOADS[kind]
        load = make(pictures=self._pictures(Path(pictures)), **values)
        tally: dict[str, Any] = self._run(run(self._transport(server, pictures), load)).to_json()
        return tally

    def probe(
        self,
        what: Callable[..., Any],
        *,
        server: Mapping[str, str],
        pictures: str,
        **values: object,
    ) -> Any:  # noqa: ANN401 - values of JSON
        """Run one of the small loads of `probes` and return what it found.

        Args:
            what: the function.
            server: `transport`, `address`, and `ca_file` where it speaks TLS.
            pictures: the file of a `PictureSet`.
            **values: the function's other arguments.
        """
        return self._run(what(self._transport(server, pictures), **values))

    def _transport(self, server: Mapping[str, str], pictures: str) -> transport.Transport:
        images = self._pictures(Path(pictures))
        return transport.make(pictures=images, **server)

    def _run(self, work: Any) -> Any:  # noqa: ANN401 - whatever the work returns
        # A collection in the middle of a run would make the client late.
        gc.collect()
        gc.disable()
        try:
            return self._runner.run(work)
        finally:
            gc.enable()


def _precise_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop that keeps time to microseconds; epoll's rounds up to milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def main() -> None:
    """Run loads until standard input ends."""
    with asyncio.Runner(loop_factory=_precise_loop) as runner:
        generator = Generator(runner)
        held = probes.Held()
        small: dict[str, Callable[..., Any]] = {
            "outputs": probes.outputs,
            "hold": held.hold,
            "reopen": probes.reopen,
        }
        serve(
            {
                "load": generator.load,
                **{name: functools.partial(generator.probe, what) for name, what in small.items()},
            }
        )
        runner.run(held.release())


if __name__ == "__main__":
    main()
