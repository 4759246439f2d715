"""Packages that come with an extra, for the parts that need them."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import json
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from steerstream.errors import MissingExtra

_CHECKOUT = Path(__file__).resolve().parents[1]
_OPENCV, _SIMPLEJPEG = "opencv-python-headless>=5.0", "simplejpeg>=1.9"
_FLAVOURS = {"gpu": "onnxruntime-gpu", "openvino": "onnxruntime-openvino", "cpu": "onnxruntime"}
"""Flavour of ONNX Runtime in each of the server's extras."""


@functools.cache
def has_opencv() -> bool:
    """Return whether OpenCV is installed."""
    return importlib.util.find_spec("cv2") is not None


@functools.cache
def has_simplejpeg() -> bool:
    """Return whether simplejpeg is installed."""
    return importlib.util.find_spec("simplejpeg") is not None


def opencv(purpose: str) -> Any:  # noqa: ANN401
    """Import OpenCV.

    Args:
        purpose: what it is needed for, for the error's text.

    Raises:
        MissingExtra: it is not installed.
    """
    return _imported("cv2", "OpenCV", _OPENCV, purpose)


def simplejpeg(purpose: str) -> Any:  # noqa: ANN401
    """Import simplejpeg; see `opencv`."""
    return _imported("simplejpeg", "simplejpeg", _SIMPLEJPEG, purpose)


def _imported(module: str, name: str, package: str, purpose: str) -> Any:  # noqa: ANN401
    try:
        return importlib.import_module(module)
    except ImportError as error:
        command = shlex.join(["pip", "install", package])
        raise MissingExtra(f"{purpose} needs {name}; {_hint(command)}") from error


def package(module: str, *, extra: str, purpose: str) -> Any:  # noqa: ANN401
    """Import a module of a package that an extra brings.

    Args:
        module: such as `mcap.reader`.
        extra: of this package that brings it.
        purpose: what it is needed for, for the error's text.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if importlib.util.find_spec(module.partition(".")[0]) is not None:
            raise
        name = module.partition(".")[0]
        raise MissingExtra(f"{purpose} needs {name}; {_hint(install_command(extra))}") from error


def server_extras() -> Sequence[str]:
    """Return the server's extra for the installed flavour of ONNX Runtime; several if none is.

    Two flavours in one environment overwrite each other's files.
    """
    for extra, package in _FLAVOURS.items():
        with contextlib.suppress(metadata.PackageNotFoundError):
            metadata.distribution(package)
            return (extra,)
    return ("cpu", "gpu")


def install_command(extra: str) -> str:
    """Return the command that adds an extra, or several ("cpu,sim"), to this installation.

    A checkout is named by its path, and a wheel by the file or the address that it came from. Where
    that is not known or is gone, the command lists what the extra requires: no registry need hold
    this package.
    """
    if (_CHECKOUT / "pyproject.toml").is_file():
        return f"pip install -e {shlex.quote(f'{_CHECKOUT}[{extra}]')}"
    origin = _origin()
    needed = [f"steerstream[{extra}] @ {origin}"] if origin else _requirements(extra)
    return shlex.join(["pip", "install", *dict.fromkeys(needed)])


def _hint(*commands: str) -> str:
    """Say how to install what is missing, in the same words everywhere."""
    return f"install it with: {' or '.join(commands)}"


def _origin() -> str:
    """Return the URL that pip installed this package from; empty if it is unknown or gone."""
    text = metadata.distribution("steerstream").read_text("direct_url.json")
    if text is None:
        return ""
    origin = json.loads(text)
    url: str = origin["url"]
    parts = urlsplit(url)
    if parts.scheme == "file" and not Path(url2pathname(parts.path)).exists():
        return ""
    if source := origin.get("vcs_info"):
        url = f"{source['vcs']}+{url}@{source['commit_id']}"
    return f"{url}#subdirectory={origin['subdirectory']}" if "subdirectory" in origin else url


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
        hint = _hint(*map(install_command, extras))
        sys.stderr.write(f"{command}: {package} is not installed; {hint}\n")
        raise SystemExit(2) from None


@contextlib.contextmanager
def library_needs(purpose: str, extra: str) -> Iterator[None]:
    """Say what to install where a module of this package imports what is not there.

    Args:
        purpose: what it is needed for, for the error's text.
        extra: the extra that holds it.

    Raises:
        MissingExtra: a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or importlib.util.find_spec(package) is not None:
            raise
        hint = _hint(install_command(extra))
        raise MissingExtra(f"{purpose} needs {package}; {hint}") from error
