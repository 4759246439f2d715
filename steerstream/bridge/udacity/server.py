"""The server that Udacity's simulator connects to: one vehicle, in lock-step."""

from __future__ import annotations

import contextlib
import math
import secrets
import time
from collections.abc import AsyncIterator

from aiohttp import WSMessage, WSMsgType, web

from steerstream.bridge.driver import (
    LARGEST_PICTURE_BYTES,
    SILENT_S,
    Driver,
    Order,
    SimulatorError,
)
from steerstream.bridge.udacity import engine_io
from steerstream.bridge.udacity.telemetry import read_telemetry, steer
from steerstream.errors import SteerstreamError

_PATH = "/socket.io/"
_LONGEST_SILENCE_S = (engine_io.PING_INTERVAL_MS + engine_io.PING_TIMEOUT_MS) / 1e3
"""Without even a ping for so long, a simulator is gone, and another one may come."""
_STOPPING_S = 0.5
"""Between two orders to a silent simulator: from full brake to none, which it could take for
reverse."""
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
        # How long it may say nothing, or no telemetry where it drives, and until when that is.
        self._patience_s = _LONGEST_SILENCE_S
        self._until_s = math.inf
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
            self._bear(_LONGEST_SILENCE_S)

    async def _converse(self, socket: web.WebSocketResponse) -> None:
        await socket.send_str(engine_io.opening(secrets.token_hex(10)))
        await socket.send_str(engine_io.CONNECTED)
        with contextlib.suppress(ConnectionResetError):
            while (message := await self._heard(socket)) is not None:
                if message.type is WSMsgType.ERROR:
                    self._driver.complain(SimulatorError(f"the link broke: {message.data}"))
                if message.type is not WSMsgType.TEXT or engine_io.is_end(message.data):
                    break
                for packet in await self._answers(message.data):
                    await socket.send_str(packet)
            await socket.close()

    async def _heard(self, socket: web.WebSocketResponse) -> WSMessage | None:
        """Return the next message; None where the simulator is gone.

        A vehicle that drives is stopped where it says nothing.
        """
        while True:
            left_s = min(self._until_s - time.monotonic(), _LONGEST_SILENCE_S)
            if left_s > 0:
                try:
                    return await socket.receive(left_s)
                except TimeoutError:
                    if self._patience_s == _LONGEST_SILENCE_S:
                        return None
            is_first = self._patience_s == SILENT_S
            stop = self._driver.stop_in_silence if is_first else self._driver.stop
            order = stop(self._speed_mps)
            self._bear(_STOPPING_S if order.throttle else _LONGEST_SILENCE_S)
            await socket.send_str(self._steer(order))

    def _bear(self, patience_s: float) -> None:
        """Say how long no telemetry may come from now on: a ping does not show that it drives."""
        self._patience_s = patience_s
        is_driving = patience_s != _LONGEST_SILENCE_S
        self._until_s = time.monotonic() + patience_s if is_driving else math.inf

    def _steer(self, order: Order) -> str:
        return engine_io.event("steer", steer(order, self._separator))

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
            self._bear(self._patience_s)
            return [self._steer(self._driver.stop(self._speed_mps))]
        if telemetry is None:
            self._is_manual = True
            self._bear(_LONGEST_SILENCE_S)
            return [engine_io.event("manual", {})]
        if self._is_manual:
            self._is_manual = False
            await self._driver.restart()
        self._separator, self._speed_mps = telemetry.decimal_separator, telemetry.speed_mps
        order = await self._driver.order(telemetry.picture, telemetry.speed_mps)
        self._bear(SILENT_S)
        return [self._steer(order)]


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
