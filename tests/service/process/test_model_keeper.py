"""Loading beside the drives: at the lowest priority, within a time limit, and from digests alone.

What comes of it is tested over the wire, in `tests/service/transport/test_models_service.py`.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading

import pytest

from steerstream_bundle import providers, quickest
from steerstream_bundle.errors import BundleError
from steerstream_service.errors import ConfigError
from steerstream_service.process import memory, model_keeper
from steerstream_service.process.model_keeper import Source
from tests.service import bundles
from tests.service.vehicle import running


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def path(tmp_path):
    return bundles.recurrent(tmp_path / "tiny.onnx")


def run(path, **settings):
    source = Source(path.parent, (providers.CPU,), quickest.AUTO)
    return running(path, source=source, **settings)


async def priority(keeper):
    def ask():
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    return await asyncio.get_running_loop().run_in_executor(keeper._thread, ask)


@pytest.mark.parametrize(("threads", "expected"), [(1, 19), (2, 0)])
async def test_bundles_are_read_with_the_time_that_drives_leave(path, threads, expected):
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    async with run(path, intra_op_threads=threads) as server:
        assert await priority(server.server._keeper) == (expected or usual)


async def test_a_bundle_that_takes_longer_than_a_start_may_is_given_up(path, monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr(model_keeper.ModelKeeper, "_read", lambda *_: go_on.wait())
    async with run(path, start_timeout_s=1.0) as server:
        with pytest.raises(TimeoutError):
            await server.server._keeper.load("tiny.onnx", [digest(path)], "again")
        go_on.set()
        assert list(server.server.admission.models) == ["tiny"]


async def test_a_file_that_changes_while_it_is_read_is_refused(path, monkeypatch):
    known, check = digest(path), model_keeper._check_digest

    def change(*given):
        check(*given)
        bundles.recurrent(path, warm_up_steps=3)

    monkeypatch.setattr(model_keeper, "_check_digest", change)
    async with run(path) as server:
        with pytest.raises(BundleError, match="was changed"):
            await server.server._keeper.load("tiny.onnx", [known], "again")


async def test_a_bundle_that_the_memory_does_not_hold_is_refused(path, monkeypatch):
    async with run(path) as server:
        monkeypatch.setattr(memory, "free_bytes", lambda: 0.0)
        with pytest.raises(ConfigError, match="memory"):
            await server.server._keeper.load("tiny.onnx", [digest(path)], "again")
