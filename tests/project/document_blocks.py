"""Runs the Python blocks of a page as they stand: `python -m tests.project.document_blocks`.

The blocks share one namespace, in order, as a reader would type them. The page's functions named
`drive`, `drive_on` and `test_...` are then called. Those that drive are called a second time with a
vehicle whose actuators fail, and have to end in that error with the vehicle released. `camera`,
`vehicle` and `jpeg` are what a reader has.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import math
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

TARGET = "localhost:50051"
"""The server's address in the documents."""
_FIRST_OF_TWO = "a.example:50051"
_DRIVES = ("drive", "drive_on")

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_JPEG = b"\xff\xd8 a picture"


def blocks(page: Path) -> list[str]:
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


class Vehicle:
    """Takes down what it is told.

    Args:
        is_broken: whether it cannot follow.
    """

    def __init__(self, *, is_broken: bool = False) -> None:
        self._is_broken = is_broken
        self.angles_rad: list[float] = []
        self.is_released = False

    def follow(self, steering_wheel_angle_rad: float, speed_mps: float) -> None:
        assert math.isfinite(speed_mps)
        if self._is_broken:
            raise OSError("the actuator is gone")
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

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(1000):
            if self._vehicle.angles_rad:
                break
            yield _JPEG
            await asyncio.sleep(0.005)
        self.is_over = True


async def run(page: Path, target: str) -> None:
    """Run the blocks of a page against a server that steers 0.1 rad."""
    namespace: dict[str, Any] = {"jpeg": _JPEG}
    for block in blocks(page):
        source = block.replace(TARGET, target).replace(_FIRST_OF_TWO, target)
        code = compile(source, str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        done = eval(code, namespace)
        if inspect.isawaitable(done):
            await done
    for name in [name for name in namespace if name.startswith("test_")]:
        await namespace[name]()
    for drive in [namespace[name] for name in _DRIVES if name in namespace]:
        vehicle = Vehicle()
        async with asyncio.timeout(60):
            await drive(Camera(vehicle), vehicle)
        assert set(vehicle.angles_rad) == {0.1}
        assert vehicle.is_released
        await _fails(drive)


async def _fails(drive: Callable[[Camera, Vehicle], Awaitable[None]]) -> None:
    """Check that a drive ends in the error of its vehicle, while pictures still come."""
    vehicle = Vehicle(is_broken=True)
    camera = Camera(vehicle)
    has_failed = False
    try:
        async with asyncio.timeout(60):
            await drive(camera, vehicle)
    except* OSError:
        has_failed = True
    assert has_failed, "the drive went on without its actuators"
    assert not camera.is_over
    assert vehicle.is_released


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), sys.argv[2]))
