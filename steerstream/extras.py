"""Packages that come with an extra, for the parts that need them."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from steerstream.errors import MissingExtra

_CHECKOUT = Path(__file__).resolve().parents[1]


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
            f"{purpose} needs OpenCV; install it with: {install_command('sim')}"
        ) from error


def install_command(extra: str) -> str:
    """Return the command that adds an extra, or several ("cpu,sim"), to this installation.

    A checkout is named by its path. An installed wheel is not named at all, because its file may be
    gone and no registry need hold it: the command lists what the extra requires.
    """
    if (_CHECKOUT / "pyproject.toml").is_file():
        return f"pip install -e {shlex.quote(f'{_CHECKOUT}[{extra}]')}"
    return shlex.join(["pip", "install", *dict.fromkeys(_requirements(extra))])


def _requirements(extra: str) -> Iterator[str]:
    marked = re.compile(rf'(.+); (?:(.+) and )?extra == "(?:{extra.replace(",", "|")})"')
    for line in metadata.requires("steerstream") or ():
        if found := marked.fullmatch(line):
            requirement, condition = found.groups()
            yield f"{requirement}; {condition}" if condition else requirement


@contextlib.contextmanager
def command_needs(command: str, *extras: str) -> Iterator[None]:
    """End a command line with one line on stderr where a package that it imports is missing.

    A module that is missing from a package that is installed still raises.

    Args:
        command: the command's name, which begins the line.
        extras: the extras that hold the package, any of which will do.

    Raises:
        SystemExit: a package is not installed; the exit code is 2.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or importlib.util.find_spec(package) is not None:
            raise
        install = " or ".join(map(install_command, extras))
        sys.stderr.write(f"{command}: {package} is not installed; {install}\n")
        raise SystemExit(2) from None
