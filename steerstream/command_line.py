"""Shared by all command lines of this project: one parser, number types, and exit codes.

A mistake on the command line is one line on stderr that begins with the command's name, and exit
code 2. Options cannot be abbreviated: `--port 5` would be taken for `--port-file 5`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from steerstream import whole_file
from steerstream.errors import (
    AccessDenied,
    AnswerTimeout,
    ErrorReason,
    OutputLost,
    SessionEnded,
    SessionLost,
    SessionTakenOver,
)

CANNOT_START = 2
"""Exit code: something is wrong with the options, the files or the server; nothing was done."""

BROKE_OFF = 1
"""Exit code: the session, or a file of results, was lost on the way."""

INTERRUPTED = 130
"""Exit code: Ctrl-C or SIGTERM ended the program."""

UNREAD = 141
"""Exit code: nobody reads the output any more; a shell says so of a program that SIGPIPE ended."""

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


class Parser(argparse.ArgumentParser):
    """A parser that reports a mistake in one line; the usage is behind `--help`.

    Parsers of subcommands are of the same class.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of ArgumentParser
        super().__init__(**options, allow_abbrev=False)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401
        """Refuse unknown arguments here, where a subcommand's own help is named."""
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return options, unknown

    def error(self, message: str) -> NoReturn:
        """End the program with one line on stderr and exit code 2."""
        name = self.prog.removeprefix("python -m ")
        self.exit(CANNOT_START, f"{name}: {message}; see {self.prog} --help\n")


def positive(text: str) -> float:
    """Read a number above 0."""
    value = _number(text)
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"needs a number above 0, not {text!r}")
    return value


def not_negative(text: str) -> float:
    """Read a number from 0."""
    value = _number(text)
    if not 0.0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"needs a number from 0, not {text!r}")
    return value


def share(text: str) -> float:
    """Read a number from 0 to 1."""
    value = _number(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"needs a number from 0 to 1, not {text!r}")
    return value


def count(text: str) -> int:
    """Read a whole number from 1."""
    value = whole(text)
    if not value:
        raise argparse.ArgumentTypeError(f"needs a whole number from 1, not {text!r}")
    return value


def whole(text: str) -> int:
    """Read a whole number from 0."""
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"needs a whole number from 0, not {text!r}")
    return int(text)


def _number(text: str) -> float:
    """Read a number; what is none becomes NaN, which fails every comparison."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def output_file(text: str) -> Path:
    """Read the path of a file of results, and find out before the work that it can be written."""
    path = Path(text)
    try:
        whole_file.check_writable(path)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot write {text}: {error.strerror}") from None
    return path


def write_result(path: Path, content: object) -> None:
    """Write a result as JSON, to a file that `output_file` checked.

    Raises:
        OutputLost: it cannot be written any more.
    """
    try:
        whole_file.write_json(path, content)
    except OSError as error:
        raise OutputLost(f"cannot write {path}: {error.strerror}") from error


def png_file(text: str) -> Path:
    """Read the path of a picture, as `output_file` does; its name ends in .png."""
    path = output_file(text)
    if path.suffix.lower() != ".png":
        raise argparse.ArgumentTypeError(f"needs a name that ends in .png, not {text!r}")
    return path


def default_vehicle_id(program: str) -> str:
    """Return a vehicle's name that no other process has: two of one name end each other.

    Args:
        program: the part of steerstream that drives.
    """
    host = "".join(c if c.isascii() and c.isalnum() else "-" for c in socket.gethostname()[:32])
    return f"steerstream-{program}-{host}-{os.getpid()}"


def error_text(error: Exception, options: Mapping[str, object]) -> str:
    """Return an error for the terminal, with the option that helps where one does.

    Args:
        error: what ended the command.
        options: of the command, by their names.
    """
    reason = error.reason if isinstance(error, AccessDenied) else None
    if reason is ErrorReason.FORBIDDEN and "vehicle_id" in options:
        return f"{error} (--vehicle-id names it)"
    if isinstance(error, SessionTakenOver) and "vehicle_id" in options:
        return f"{error}, or give --vehicle-id"
    targets = options.get("targets")
    if isinstance(error, SessionLost) and isinstance(targets, list) and len(targets) == 1:
        said = str(error).removesuffix("open a new session")
        return f"{said}give a second --target to go on there"
    # A server may also want a certificate, with the same reason.
    lacks_token = reason is ErrorReason.UNAUTHENTICATED and "authorization: Bearer" in str(error)
    if lacks_token and options.get("token_file", "") is None:
        return f"{error} (--token-file FILE sends the one in a file)"
    return str(error)


def exit_code(error: Exception) -> int:
    """Return the exit code for an error that ended a command."""
    on_the_way = isinstance(error, SessionEnded | AnswerTimeout | OutputLost)
    return BROKE_OFF if on_the_way else CANNOT_START


@contextlib.contextmanager
def ends_with_its_reader() -> Iterator[None]:
    """End the program without a word once nobody reads its stdout, as where `head` has enough."""
    try:
        try:
            yield
        except SystemExit:
            _flush()  # The text of --help, for example.
            raise
        _flush()
    except BrokenPipeError:
        if not _is_unread():
            raise
        # Python flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(UNREAD)


def _flush() -> None:
    if sys.stdout is not None:  # It is where the shell has closed it.
        sys.stdout.flush()


def _is_unread() -> bool:
    """Return whether stdout is a pipe that nobody reads: another one may have been broken."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


@contextlib.contextmanager
def at_interrupt(act: Callable[[], object]) -> Iterator[None]:
    """Call a function at Ctrl-C and at SIGTERM while the block runs, instead of ending the program.

    For coroutines: the running event loop calls it.
    """
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _INTERRUPTS}
    for number in _INTERRUPTS:
        loop.add_signal_handler(number, act)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


@contextlib.contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM raise `KeyboardInterrupt`, as Ctrl-C does, so that what was begun is ended."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
