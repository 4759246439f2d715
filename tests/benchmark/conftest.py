"""A real server and a real load generator for all tests of the benchmarks."""

from __future__ import annotations

import pytest

from benchmark.host.machine import split_cores
from benchmark.loadgen import synthetic_road
from benchmark.loadgen.crew import crew
from steerstream.testing.server_process import serve


@pytest.fixture(scope="session")
def server(bundle_path):
    # However slow this machine is just now, nobody is refused for it.
    patient = {"max_sessions": 4, "max_load": 100.0, "shed_after_s": 3600.0}
    with serve(bundle_path, settings=patient) as running:
        yield running


@pytest.fixture(scope="session")
def generators():
    with crew(2, split_cores()[1]) as started:
        yield started


@pytest.fixture(scope="session")
def pictures():
    return synthetic_road.picture_set("rgb8", 64, 48, count=2)
