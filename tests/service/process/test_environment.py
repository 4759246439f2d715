"""What the server sets for the libraries that it imports."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys

import pytest

from steerstream_service.process import environment

BOTH = "-event_engine_listener,-event_engine_client"
START = """
from steerstream_service.process import environment
import os, grpc
grpc.insecure_channel("127.0.0.1:1").close()
print(os.environ["GRPC_EXPERIMENTS"])
"""


def start_grpc(**settings):
    """Start gRPC in a process of its own and return what it printed on stdout and stderr."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("GRPC_")}
    command = [sys.executable, "-c", START]
    done = subprocess.run(
        command, check=True, env=environ | settings, capture_output=True, text=True
    )
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize(
    ("version", "names"),
    [
        ("1.81.1", f"{BOTH},-event_engine_dns"),
        ("1.83.2", f"{BOTH},-event_engine_dns"),
        ("1.84.0", BOTH),
        ("1.85.3", BOTH),
        ("1.86.0rc1", None),
        ("2.0", None),
        ("unknown", None),
    ],
)
def test_a_version_of_grpc_gets_names_that_it_knows(version, names):
    assert environment.grpc_experiments(version) == names


def test_the_installed_grpc_takes_its_names_and_prints_nothing():
    names = environment.grpc_experiments(importlib.metadata.version("grpcio"))
    assert names, "try which of the names this gRPC knows, and add it to GRPC_EXPERIMENTS"
    assert start_grpc() == (names, "")


def test_a_variable_of_the_operator_stays():
    assert start_grpc(GRPC_EXPERIMENTS="-event_engine_client") == ("-event_engine_client", "")
    assert start_grpc(GRPC_EXPERIMENTS="") == ("", "")
