"""What all command lines of this project share: one parser, number types, and exit codes.

A mistake on the command line is one line on stderr that begins with the command's name, and exit
code 2. Options cannot be abbreviated: `--port 5` would be taken for `--port-file 5`.
"""

from __future__ import annotations

import argparse
import math
from typing import Any, NoReturn

CANNOT_START = 2
"""Exit code: something is wrong with the options, the files or the server; nothing was done."""

INTERRUPTED = 130
"""Exit code: Ctrl-C ended the program."""


class Parser(argparse.ArgumentParser):
    """A parser that reports a mistake in one line; the usage is behind `--help`.

    Parsers of subcommands are of the same class.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of ArgumentParser
        super().__init__(**options, allow_abbrev=False)

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
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"needs a whole number from 0, not {text!r}")
    return int(text)


def _number(text: str) -> float:
    """Read a number; what is none becomes NaN, which fails every comparison."""
    try:
        return float(text)
    except ValueError:
        return math.nan
