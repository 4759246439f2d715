"""One connection to a Donkey simulator: scenes, the camera, then pictures and orders."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import math
from typing import Any

from steerstream.bridge.donkey.messages import Splitter, control, read_message, read_telemetry
from steerstream.bridge.driver import SILENT_S, Driver, SimulatorError
from steerstream.errors import BadRequest

WIDTH_PX, HEIGHT_PX = 320, 240
_READ_BYTES = 1 << 16


class Link:
    """Speaks to one simulator.

    Every message is answered by one at most, so that the simulator never has two to read at once.

    Args:
        driver: gives the orders.
        scene: the scene to load where the simulator asks; empty for the first one.
        fov_deg: horizontal field of view that its camera is set to; None to leave it.
    """

    def __init__(self, driver: Driver, *, scene: str, fov_deg: float | None) -> None:
        self._driver = driver
        self._scene = scene
        self._waiting: collections.deque[dict[str, Any]] = collections.deque()
        self._camera = _camera(fov_deg)
        self._speed_mps = 0.0
        self._is_driving = False
        self._until_s = 0.0

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a simulator until the connection ends, and stop the vehicle where one can."""
        splitter = Splitter()
        self._is_driving = False
        await self._driver.restart()
        try:
            while data := await self._read(reader, writer):
                for found in splitter.feed(data):
                    answer = await self._reply(found)
                    if answer is not None:
                        writer.write(json.dumps(answer).encode())
                        await writer.drain()
        except (ConnectionError, TimeoutError) as error:
            self._driver.complain(SimulatorError(f"the simulator's connection broke: {error}"))
        finally:
            with contextlib.suppress(ConnectionError, RuntimeError):
                writer.write(json.dumps(control(self._driver.stop(self._speed_mps))).encode())
            writer.close()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """Wait for bytes; where a simulator falls silent in a drive, stop the vehicle once."""
        if self._is_driving:
            # Other messages do not show that it drives.
            waiting = asyncio.timeout_at(self._until_s)
            try:
                async with waiting:
                    return await reader.read(_READ_BYTES)
            except TimeoutError:
                if not waiting.expired():
                    raise
            self._is_driving = False
            order = self._driver.stop_in_silence(self._speed_mps)
            writer.write(json.dumps(control(order)).encode())
        return await reader.read(_READ_BYTES)

    async def _reply(self, found: bytes | SimulatorError) -> dict[str, Any] | None:
        try:
            if isinstance(found, SimulatorError):
                raise found
            return await self._answer(read_message(found))
        except SimulatorError as error:
            self._driver.complain(error)
            self._bear()
            return control(self._driver.stop(self._speed_mps))

    def _bear(self) -> None:
        """Begin to wait for telemetry."""
        self._until_s = asyncio.get_running_loop().time() + SILENT_S

    async def _answer(self, message: dict[str, Any]) -> dict[str, Any] | None:
        kind = message["msg_type"]
        if kind == "telemetry":
            telemetry = read_telemetry(message)
            self._speed_mps = telemetry.speed_mps
            if self._waiting:
                return self._waiting.popleft()
            order = await self._driver.order(telemetry.picture, telemetry.speed_mps)
            self._is_driving = True
            self._bear()
            return control(order)
        if kind == "scene_selection_ready":
            return {"msg_type": "get_scene_names"}
        if kind == "scene_names":
            return {"msg_type": "load_scene", "scene_name": self._chosen(message)}
        if kind == "car_loaded":
            self._waiting.append(self._camera)
        return None

    def _chosen(self, message: dict[str, Any]) -> str:
        names = message.get("scene_names")
        if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
            raise SimulatorError(f"scene_names has no names: {str(names)[:60]}")
        if self._scene and self._scene not in names:
            raise BadRequest(f"no scene {self._scene!r}; there are: {', '.join(names)}")
        return self._scene or names[0]


def _camera(fov_deg: float | None) -> dict[str, str]:
    camera = {
        "msg_type": "cam_config",
        "img_w": str(WIDTH_PX),
        "img_h": str(HEIGHT_PX),
        "img_d": "3",
        "img_enc": "JPG",
    }
    if fov_deg is not None:
        # The simulator's field of view is the vertical one.
        half = math.tan(math.radians(0.5 * fov_deg)) * HEIGHT_PX / WIDTH_PX
        camera["fov"] = f"{2.0 * math.degrees(math.atan(half)):.3f}"
    return camera
