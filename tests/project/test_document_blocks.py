"""The Python blocks of the README and the pages in docs/, run as they stand.

The blocks of a page share one namespace, in order, as a reader would type them. A page's functions
named `test_...` are then called, and `drive` where the page shows driving. The target of a page is
a scripted server on this machine; `camera`, `vehicle` and `jpeg` are what a reader has.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import math
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from steerstream.testing import FakeServer, Reply
from tests.steerstream.wired import serving

ROOT = Path(__file__).resolve().parents[2]
TARGET = "localhost:50051"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DRIVING = {"README.md", "client.md"}
"""Pages with a function `drive`."""

JPEG = b"\xff\xd8 a picture"


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
         if blocks(page)]  # fmt: skip


class Vehicle:
    """Takes down what it is told."""

    def __init__(self) -> None:
        self.angles_rad: list[float] = []
        self.is_released = False

    def follow(self, steering_wheel_angle_rad: float, speed_mps: float) -> None:
        assert math.isfinite(speed_mps)
        self.angles_rad.append(steering_wheel_angle_rad)
        self.is_released = False

    def hold(self) -> None:
        self.is_released = False

    def release(self) -> None:
        self.is_released = True


class Camera:
    """Delivers pictures until the vehicle was steered, and no more than 1,000."""

    def __init__(self, vehicle: Vehicle) -> None:
        self._vehicle = vehicle
        self.is_over = False

    async def __aiter__(self):
        for _ in range(1000):
            if self._vehicle.angles_rad:
                break
            yield JPEG
            await asyncio.sleep(0.005)
        self.is_over = True


@pytest.fixture(scope="module")
def target():
    """A scripted server in another thread, because blocks without async block this one."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def on_loop(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    server = serving(FakeServer(lambda frame: Reply(0.1)))
    address, _ = on_loop(server.__aenter__())
    yield address
    on_loop(server.__aexit__(None, None, None))
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def run(page: Path, target: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"jpeg": JPEG}
    for block in blocks(page):
        code = compile(
            block.replace(TARGET, target), str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        )
        done = eval(code, namespace)
        if inspect.isawaitable(done):
            await done
    return namespace


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_the_blocks_of_a_page_run(page, target):
    namespace = await run(page, target)
    for name, function in namespace.items():
        if name.startswith("test_"):
            await function()
    if page.name not in DRIVING:
        return
    vehicle = Vehicle()
    async with asyncio.timeout(60):
        await namespace["drive"](Camera(vehicle), vehicle)
    assert set(vehicle.angles_rad) == {0.1}
    assert vehicle.is_released


def test_the_pages_with_blocks_are_known():
    """A page whose blocks are no longer found would pass every test."""
    assert {*DRIVING, "gymnasium.md"} <= {page.name for page in PAGES}
