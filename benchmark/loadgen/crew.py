"""The processes of the load generator, on cores that the server does not use.

A generator that shared a core with the server would slow down what it measures. The processes live
as long as the crew, so that a search that runs many loads pays for their start once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmark.host.jobs import Helper, helper
from benchmark.loadgen.closed_loop import ClosedLoop
from benchmark.loadgen.flood import Flood
from benchmark.loadgen.open_loop import Load
from benchmark.loadgen.picture_set import PictureSet
from benchmark.loadgen.tally import Tally, total

Job = Load | ClosedLoop | Flood


class Crew:
    """Processes that generate load; `crew` makes it.

    Args:
        helpers: the processes.
        folder: for files of pictures.
    """

    def __init__(self, helpers: Sequence[Helper], folder: Path) -> None:
        self._helpers = helpers
        self._folder = folder
        self._files: dict[PictureSet, Path] = {}

    @property
    def pids(self) -> list[int]:
        """The processes' numbers."""
        return [each.pid for each in self._helpers]

    def run(self, address: str, load: Load, *, ca_file: Path | None = None) -> Tally:
        """Run one load, its vehicles shared out among the processes.

        Args:
            address: the server, HOST:PORT.
            load: what the vehicles do.
            ca_file: the authority of the server's certificate; None for plain text.

        Raises:
            JobError: a process could not do its part.
        """
        return total(self.run_all(address, _shares(load, len(self._helpers)), ca_file=ca_file))

    def run_all(
        self,
        address: str,
        jobs: Sequence[Job],
        *,
        transport: str = "drive",
        ca_file: Path | None = None,
    ) -> list[Tally]:
        """Run several loads at once, one in each process.

        Args:
            address: the server, HOST:PORT.
            jobs: at most as many as there are processes.
            transport: how the server is spoken to; see `transport.make`.
            ca_file: the authority of the server's certificate; None for plain text.

        Raises:
            JobError: a process could not do its part.
        """
        busy = self._helpers[: len(jobs)]
        for each, job in zip(busy, jobs, strict=True):
            values = {field.name: getattr(job, field.name) for field in dataclasses.fields(job)}
            place = self._place(address, values.pop("pictures"), transport)
            if ca_file is not None:
                place["server"]["ca_file"] = str(ca_file)
            each.begin("load", kind=type(job).__name__, **place, **values)
        return [Tally.from_json(each.result()) for each in busy]

    def probe(
        self, what: str, address: str, pictures: PictureSet, *, transport: str, **values: object
    ) -> Any:  # noqa: ANN401 - values of JSON
        """Run one of the small loads of `probes` in the first process.

        Args:
            what: `outputs`, `hold` or `reopen`.
            address: the server, HOST:PORT.
            pictures: what its vehicles see.
            transport: how the server is spoken to.
            **values: further arguments of the function.

        Raises:
            JobError: it failed.
        """
        return self._helpers[0].do(what, **self._place(address, pictures, transport), **values)

    def file(self, pictures: PictureSet) -> Path:
        """Return a file with some pictures, for other processes; it lives as long as the crew."""
        if pictures not in self._files:
            self._files[pictures] = self._folder / f"{len(self._files)}.npz"
            pictures.save(self._files[pictures])
        return self._files[pictures]

    def _place(self, address: str, pictures: PictureSet, transport: str) -> dict[str, Any]:
        server = {"address": address, "transport": transport}
        return {"server": server, "pictures": str(self.file(pictures))}


@contextlib.contextmanager
def crew(
    processes: int,
    cores: Sequence[int],
    *,
    niceness: Sequence[int] = (),
    python: Path | str = sys.executable,
) -> Iterator[Crew]:
    """Start processes that generate load and end them with the context.

    Args:
        processes: how many.
        cores: where they run.
        niceness: one for each process; 0 where there are fewer.
        python: their interpreter, of this or another environment.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="loadgen-"))
        nice = [*niceness, *[0] * processes][:processes]
        started = [
            helper("benchmark.loadgen", cores=cores, python=python, niceness=each) for each in nice
        ]
        yield Crew([stack.enter_context(each) for each in started], Path(folder))


def _shares(load: Load, processes: int) -> list[Load]:
    """Split a load's vehicles evenly; the shares differ in name and seed."""
    counts = [
        load.vehicles // processes + (index < load.vehicles % processes)
        for index in range(processes)
    ]
    return [
        dataclasses.replace(
            load, vehicles=count, name=f"{load.name}-{index}", seed=load.seed * processes + index
        )
        for index, count in enumerate(counts)
        if count
    ]
