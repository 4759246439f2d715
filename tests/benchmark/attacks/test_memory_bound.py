"""The stated sum of all bounds holds under attack, and the memory comes back."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest

from benchmark.host.jobs import helper
from benchmark.host.machine import split_cores
from benchmark.host.memory import MemorySampler, resident_mb
from steerstream.testing.server_process import serve
from steerstream_bundle import loading
from steerstream_service.config import Config
from steerstream_service.process import bounds

SECONDS = 3.0
SETTINGS: dict[str, Any] = {"max_sessions": 8, "max_waiting_frames": 4, "max_load": 100.0}
SETTINGS |= {"shed_after_s": 3600.0, "idle_timeout_s": 2.0, "expiring_notice_s": 0.5}
SIEGES = [
    {"largest-pictures": 0.5, "half-messages": 0.3, "idle-connections": 0.2},
    {"hostile-sessions": 0.2},
]
"""At once, each with its scale."""
# Timing never decides a test; the benchmark states how long it takes.
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def server(bundle_path):
    with serve(bundle_path, settings=SETTINGS) as running:
        yield running


@pytest.mark.parametrize("sieges", SIEGES, ids=lambda sieges: next(iter(sieges)))
def test_memory_stays_below_the_sum_of_all_bounds_and_comes_back(server, bundle_path, sieges):
    config = Config(**SETTINGS)
    contract = loading.load(bundle_path).contract
    most_mb = bounds.total_bytes(config, [contract], config.max_connections) / 1e6
    start_mb = resident_mb(server.pid)
    with contextlib.ExitStack() as stack:
        attackers = {
            name: stack.enter_context(
                helper("benchmark.attacks", cores=split_cores()[1], niceness=10)
            )
            for name in sieges
        }
        for attacker in attackers.values():
            attacker.do("ready")
        memory = stack.enter_context(MemorySampler(server.pid, 0.05))
        for name, attacker in attackers.items():
            siege = {"address": server.address, "scale": sieges[name], "delay_s": 0.0}
            attacker.begin("attack", name=name, seconds=SECONDS, **siege)
        tried = {name: attacker.result() for name, attacker in attackers.items()}
    assert min(tried.values()) > 0
    assert memory.peak_mb is not None
    assert start_mb + 20 < memory.peak_mb < start_mb + most_mb
    end_s = time.monotonic() + PATIENCE_S
    while resident_mb(server.pid) > 1.3 * start_mb:
        assert time.monotonic() < end_s, "the memory does not come back"
        time.sleep(0.2)
