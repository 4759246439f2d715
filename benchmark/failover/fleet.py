"""Two servers with a common key for tickets, of which one is broken and replaced at a time."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from steerstream.testing.server_process import Server, serve


class _Running(NamedTuple):
    server: Server
    stack: contextlib.ExitStack


class Fleet:
    """Two servers; a context manager that stops them.

    Args:
        model: the bundle.
        settings: of each server, by name.
    """

    def __init__(self, model: Path, settings: Mapping[str, float | str]) -> None:
        self._model = model
        self._settings = settings
        self._running: list[_Running] = []

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(self._end)
            for _ in range(2):
                self._running.append(self._start())
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @property
    def targets(self) -> list[str]:
        """The servers' addresses, the one to be broken first."""
        return [running.server.address for running in self._running]

    def signal_first(self, number: signal.Signals) -> None:
        """Send the first server a signal."""
        _signal(self._running[0].server, number)

    def replace_first(self) -> None:
        """Go on with the server that was left, and a new one behind it."""
        first = self._running.pop(0)
        _kill(first)
        self._running.append(self._start())

    def restart_each(self) -> None:
        """Drain one server after the other and start it again at its address."""
        for at, (server, stack) in enumerate(self._running):
            stack.close()
            self._running[at] = self._start(["--listen", server.address])

    def _start(self, options: Sequence[str] = ()) -> _Running:
        with contextlib.ExitStack() as stack:
            started = serve(self._model, settings=self._settings, options=options)
            return _Running(stack.enter_context(started), stack.pop_all())

    def _end(self) -> None:
        for running in self._running:
            _kill(running)


@contextlib.contextmanager
def keys_file() -> Iterator[str]:
    """Make a key for tickets that lives as long as the block; yields the file's path."""
    with tempfile.TemporaryDirectory(prefix="steerstream-") as name:
        path = Path(name) / "keys"
        path.touch(mode=0o600)
        path.write_text(f"fleet = {base64.b64encode(os.urandom(32)).decode()}\n")
        yield str(path)


def _kill(running: _Running) -> None:
    _signal(running.server, signal.SIGKILL)
    running.stack.close()


def _signal(server: Server, number: signal.Signals) -> None:
    assert server.pid is not None, "the fleet starts its servers itself"  # noqa: S101 - own process
    # A server that was drained has ended.
    with contextlib.suppress(ProcessLookupError):
        os.kill(server.pid, number)
