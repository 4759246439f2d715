"""Helper processes beside a server: the bare loop and the echo server."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from benchmark.errors import BenchmarkError
from steerstream.testing.server_process import Server

_STOP_S = 10.0


class Bare:
    """A bare loop that waits for orders; `bare_loop` makes it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.provider: str = self._answer()["provider"]

    def run(self, **order: object) -> dict[str, Any]:
        """Run the loop as `benchmark.programs.bare_loop` says and return what it measured.

        Raises:
            BenchmarkError: it ended.
        """
        pipe = _pipe(self._process.stdin)
        with contextlib.suppress(BrokenPipeError):
            pipe.write(json.dumps(order) + "\n")
            pipe.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = _pipe(self._process.stdout).readline()
        if not line:
            raise BenchmarkError("the bare loop ended; what it said stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def bare_loop(model: Path, *, options: Sequence[str], cores: Sequence[int]) -> Iterator[Bare]:
    """Run `benchmark.programs.bare_loop` until the context ends.

    Raises:
        BenchmarkError: it did not start.
    """
    with _module(
        "benchmark.programs.bare_loop", ["--model", str(model), *options], cores
    ) as process:
        yield Bare(process)


@contextlib.contextmanager
def echo_server(*, cores: Sequence[int]) -> Iterator[Server]:
    """Run `benchmark.programs.echo` until the context ends.

    Raises:
        BenchmarkError: it did not start.
    """
    with _module("benchmark.programs.echo", [], cores) as process:
        address = _pipe(process.stdout).readline().strip()
        if not address:
            raise BenchmarkError("the echo server ended; what it said stands above")
        yield Server(address, process.pid)


@contextlib.contextmanager
def _module(
    name: str, arguments: Sequence[str], cores: Sequence[int]
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(  # noqa: S603 - our own modules
        [sys.executable, "-m", name, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        os.sched_setaffinity(process.pid, cores)
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(BrokenPipeError):
        _pipe(process.stdin).close()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _pipe(process.stdout).close()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise RuntimeError("the process was started without this pipe")
    return pipe
