"""The server that Udacity's simulator connects to: one vehicle, in lock-step."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator

from aiohttp import WSMsgType, web

from steerstream.bridge.driver import LARGEST_PICTURE_BYTES, Driver, SimulatorError
from steerstream.bridge.udacity import engine_io
from steerstream.bridge.udacity.telemetry import read_telemetry, steer
from steerstream.errors import SteerstreamError

_PATH = "/socket.io/"
# A picture in base64 and the other fields.
_LARGEST_MESSAGE_BYTES = LARGEST_PICTURE_BYTES * 4 // 3 + (64 << 10)


class Simulator:
    """Takes one simulator at a time and answers each of its pictures.

    The simulator sends nothing until it is answered, so every telemetry gets its answer.

    Args:
        driver: gives the orders.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._is_taken = False
        self._is_manual = True
        self._separator = "."
        self._speed_mps = 0.0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve a connection."""
        if request.query.get("transport") != "websocket":
            return web.Response(status=400, text="only transport=websocket is spoken here\n")
        if self._is_taken:
            return web.Response(status=503, text="another simulator is connected\n")
        self._is_taken = True
        try:
            socket = web.WebSocketResponse(max_msg_size=_LARGEST_MESSAGE_BYTES)
            await socket.prepare(request)
            await self._converse(socket)
            return socket
        finally:
            self._is_taken = False
            self._is_manual = True

    async def _converse(self, socket: web.WebSocketResponse) -> None:
        await socket.send_str(engine_io.opening(secrets.token_hex(10)))
        await socket.send_str(engine_io.CONNECTED)
        with contextlib.suppress(ConnectionResetError):
            async for message in socket:
                if message.type is WSMsgType.ERROR:
                    self._driver.complain(SimulatorError(f"the link broke: {message.data}"))
                if message.type is not WSMsgType.TEXT or engine_io.is_end(message.data):
                    break
                for packet in await self._answers(message.data):
                    await socket.send_str(packet)
            await socket.close()

    async def _answers(self, packet: str) -> list[str]:
        """Return what a packet is answered with."""
        if (pong := engine_io.reply(packet)) is not None:
            return [pong]
        try:
            event = engine_io.read_event(packet)
            if event is None or event.name != "telemetry":
                return []
            telemetry = read_telemetry(event.value)
        except SimulatorError as error:
            self._driver.complain(error)
            order = self._driver.stop(self._speed_mps)
            return [engine_io.event("steer", steer(order, self._separator))]
        if telemetry is None:
            self._is_manual = True
            return [engine_io.event("manual", {})]
        if self._is_manual:
            self._is_manual = False
            await self._driver.restart()
        self._separator, self._speed_mps = telemetry.decimal_separator, telemetry.speed_mps
        order = await self._driver.order(telemetry.picture, telemetry.speed_mps)
        return [engine_io.event("steer", steer(order, self._separator))]


@contextlib.asynccontextmanager
async def serve(driver: Driver, host: str, port: int) -> AsyncIterator[int]:
    """Serve simulators for the time of a block.

    Args:
        driver: gives the orders.
        host: where to listen.
        port: the simulator's is 4567; 0 for any free one.

    Yields:
        The port.

    Raises:
        SteerstreamError: the address cannot be had.
    """
    application = web.Application()
    application.router.add_get(_PATH, Simulator(driver).handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise SteerstreamError(
                f"cannot listen on {host}:{port}: {error.strerror}; choose another --listen"
            ) from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
