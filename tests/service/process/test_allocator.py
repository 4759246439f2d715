"""Memory that a crowd used comes back to the system, in a process of its own: the allocator's."""

from __future__ import annotations

import asyncio
import ctypes
import subprocess
import sys

import pytest

from steerstream_service.process import allocator
from tests.service.processes import ROOT, TIMEOUT_S

PROGRAM = """
import asyncio
from steerstream_service.process import allocator

allocator.tune()
allocator._LOOK_S = 0.05


async def main():
    start = allocator._resident_bytes()
    trimming = asyncio.create_task(allocator.keep_trimmed())
    await asyncio.sleep(0)
    crowd = [bytes(40_000) for _ in range(5_000)]
    # What lives on among them keeps the rest from being the end of an arena.
    stays = crowd[::100]
    peak = allocator._resident_bytes()
    del crowd
    async with asyncio.timeout(60):
        while allocator._resident_bytes() > start + 30e6:
            await asyncio.sleep(0.05)
    trimming.cancel()
    assert peak > start + 150e6
    assert len(stays) == 50


asyncio.run(main())
"""


@pytest.mark.skipif(allocator._glibc() is None, reason="another C library than glibc")
def test_freed_memory_comes_back_though_some_of_it_is_still_used():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr


class Library:
    """Takes down what it is told."""

    def __init__(self, trimmed=lambda: None):
        self.options = []
        self._trimmed = trimmed

    def malloc_trim(self, padding):
        self._trimmed()

    def mallopt(self, option, value):
        self.options.append((option, value))


def test_what_the_environment_says_stays(monkeypatch):
    library = Library()
    monkeypatch.setattr(allocator, "_glibc", lambda: library)
    for name in allocator._OPTIONS:
        monkeypatch.delenv(name, raising=False)
    allocator.tune()
    assert library.options == list(allocator._OPTIONS.values())
    library.options.clear()
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    allocator.tune()
    assert library.options == list(allocator._OPTIONS.values())[1:]


async def test_only_a_server_that_has_grown_looks_for_freed_memory(monkeypatch):
    looked = asyncio.Event()
    sizes = [100 << 20, 110 << 20, 117 << 20]
    monkeypatch.setattr(allocator, "_LOOK_S", 0.0)
    monkeypatch.setattr(allocator, "_resident_bytes", lambda: sizes.pop(0) if sizes else 0)
    loop = asyncio.get_running_loop()
    library = Library(lambda: loop.call_soon_threadsafe(looked.set))
    monkeypatch.setattr(allocator, "_glibc", lambda: library)
    trimming = asyncio.create_task(allocator.keep_trimmed())
    async with asyncio.timeout(60):
        await looked.wait()
    assert sizes == []
    trimming.cancel()


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    allocator.tune()
    asyncio.run(allocator.keep_trimmed())
