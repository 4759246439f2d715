"""Packages that come with an extra, for the parts that need them."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from typing import Any

from steerstream.errors import MissingExtra


def has_opencv() -> bool:
    """Return whether OpenCV is installed."""
    return importlib.util.find_spec("cv2") is not None


def opencv(purpose: str) -> Any:  # noqa: ANN401
    """Import OpenCV.

    Args:
        purpose: what it is needed for, for the error's text.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise MissingExtra(
            f"{purpose} needs OpenCV; install it with: pip install 'steerstream[sim]'"
        ) from error


@contextlib.contextmanager
def command_needs(command: str, install: str) -> Iterator[None]:
    """End a command line with one line on stderr where a package that it imports is missing.

    A module that is missing from a package that is there raises as ever.

    Args:
        command: the command's name, which begins the line.
        install: what to give to `pip install`.

    Raises:
        SystemExit: a package is not installed; the exit code is 2.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or importlib.util.find_spec(package) is not None:
            raise
        sys.stderr.write(f"{command}: {package} is not installed; pip install {install}\n")
        raise SystemExit(2) from None
