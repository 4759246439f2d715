"""Runs `steerstream watch` beside what it shows."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

from benchmark.errors import BenchmarkError

_STOP_TIMEOUT_S = 10.0


class LivePage(NamedTuple):
    """The address of a page, and its process."""

    url: str
    pid: int


@contextlib.contextmanager
def live_page(*targets: str) -> Iterator[LivePage]:
    """Serve the live page of some servers at a free port of this machine for the time of a block.

    Raises:
        BenchmarkError: it did not start.
    """
    command = [sys.executable, "-m", "steerstream", "watch", "--listen=127.0.0.1:0"]
    command += [f"--target={target}" for target in targets]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        try:
            # `Watching HOST:PORT at URL`; nothing where it ends before.
            url = process.stdout.readline().strip().rpartition(" ")[2]
            if not url:
                raise BenchmarkError("`steerstream watch` did not start; its message stands above")
            yield LivePage(url, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
