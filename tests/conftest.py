"""Options and fixtures of the whole suite."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

import steerstream_bundle  # noqa: F401 - its settings, before ONNX Runtime is imported

ROOT = Path(__file__).resolve().parent.parent
BUNDLE = ROOT / "models" / "pilotnet_lstm.onnx"

# gRPC would ask a proxy of this machine's environment for the tests' own servers.
for _name in ("grpc_proxy", "https_proxy", "http_proxy"):
    os.environ.pop(_name, None)


def pytest_addoption(parser: pytest.Parser) -> None:
    default = os.environ.get("STEERSTREAM_DATA", str(ROOT.parent / "shared" / "data"))
    parser.addoption(
        "--data",
        default=default,
        help="folder with the driving data (default: STEERSTREAM_DATA, then ../shared/data)",
    )


@pytest.fixture(scope="session")
def data_dir(request: pytest.FixtureRequest) -> Path:
    """The folder with the driving data; the test is skipped where it is absent."""
    folder = Path(request.config.getoption("--data"))
    if not folder.is_dir():
        pytest.skip(f"driving data not found at {folder}: pass --data DIR or set STEERSTREAM_DATA")
    return folder


@pytest.fixture(scope="session")
def bundle_path() -> Path:
    """The bundle that ships."""
    return BUNDLE


@pytest.fixture
def full_disk() -> contextlib.AbstractContextManager[None]:
    """A block in which no file grows beyond 20 kB: what fails then fails on a full disk too."""
    return _full_disk()


@contextlib.contextmanager
def _full_disk() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
