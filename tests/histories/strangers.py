"""Programs that open streams and keep no rule: they break off, say nothing, or send what is wrong.

Nothing is promised to them. What they took must come back, and the vehicles beside them must not
feel them.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from typing import Any

import grpc

from steerstream.errors import ConnectionFailed
from steerstream.v1 import drive_service_pb2, frame_pb2, session_pb2
from tests.histories.loop import MS, Process, VirtualLoop
from tests.histories.network import Call, Connection, Network, SimulatedTransport
from tests.histories.stepper import PICTURES

_GONE = (grpc.aio.AioRpcError, asyncio.InvalidStateError, ConnectionFailed)
_LARGEST = (1 << 64) - 1
_DEAR = frame_pb2.Rgb8Image(width_px=1000, height_px=700, pixels=bytes(3 * 1000 * 700))
"""A picture that costs the server far more than those of the vehicles."""


class Stranger:
    """One such program.

    Args:
        name: of its process.
        loop: of the history.
        network: what carries its messages.
        rng: where its ideas come from.
        targets: the servers.
    """

    def __init__(
        self,
        name: str,
        loop: VirtualLoop,
        network: Network,
        rng: random.Random,
        targets: list[str],
    ) -> None:
        self.process = Process(name, callback_ns=20_000, clock_ns=rng.randrange(1, 10**15))
        self._loop = loop
        self._network = network
        self._rng = rng
        self._targets = targets

    async def run(self) -> None:
        """Open streams, one after the other; in the stranger's process."""
        for number in range(self._rng.choice([3, 8])):
            with contextlib.suppress(*_GONE):
                await self._visit(number)
            await asyncio.sleep(self._rng.expovariate(5.0))

    async def _visit(self, number: int) -> None:
        rng = self._rng
        transport = SimulatedTransport(self._network, self.process, rng.choice(self._targets))
        await transport.connect(timeout_s=1.0, wait_for_server=False)
        connection = transport.connection
        assert isinstance(connection, Connection)
        call = Call(connection)
        with contextlib.suppress(asyncio.CancelledError):
            try:
                await asyncio.wait_for(self._talk(call, number), rng.expovariate(3.0))
            except TimeoutError:
                pass
            finally:
                await self._leave(call, transport)

    async def _talk(self, call: Call, number: int) -> None:
        rng = self._rng
        if rng.random() < 0.9:
            await call.write(drive_service_pb2.DriveRequest(open=self._open(number)))
        if rng.random() < 0.7:
            await call.read()
        for _ in range(rng.choice([0, 3, 30])):
            await call.write(self._message())
            if rng.random() < 0.3:
                await asyncio.sleep(rng.expovariate(20.0))
        while rng.random() < 0.95:
            await call.read()

    async def _leave(self, call: Call, transport: SimulatedTransport) -> None:
        how = self._rng.random()
        if how < 0.3:
            with contextlib.suppress(*_GONE, asyncio.CancelledError):
                await call.done_writing()
            await asyncio.sleep(0.05)
        elif how < 0.7:
            call.cancel()
        await transport.close()

    def _open(self, number: int) -> session_pb2.OpenSession:
        rng = self._rng
        return session_pb2.OpenSession(
            vehicle_id=rng.choice([f"{self.process.name}-{number}", "", "x" * 200]),
            budget_ms=rng.choice([50.0, 0.0, -1.0, math.nan, 1e9]),
            frame_policy=session_pb2.FramePolicy.ValueType(rng.choice([0, 1, 2, 7])),
            frame_rate_hz=rng.choice([0.0, 20.0, 1000.0]),
            ticket=rng.choice([b"", b"", b"forged" * 20]),
        )

    def _message(self) -> drive_service_pb2.DriveRequest:
        rng = self._rng
        if rng.random() < 0.2:
            return drive_service_pb2.DriveRequest(reset=session_pb2.Reset())
        picture: dict[str, Any] = rng.choice(
            [{}, {"jpeg": b"damaged"}, {"jpeg": rng.choice(PICTURES).jpeg}, {"rgb8": _DEAR}]
        )
        number = rng.choice([0, 1, rng.randrange(100), _LARGEST])
        frame = frame_pb2.Frame(
            sequence_number=number,
            capture_time_ns=rng.choice([number, rng.randrange(10_000) * MS, _LARGEST]),
            replayed=rng.random() < 0.2,
            answers_taken=rng.choice([0, 5, _LARGEST]),
            **picture,
        )
        if rng.random() < 0.3:
            frame.vehicle_speed_mps = rng.choice([math.nan, 10.0, 1e300])
        return drive_service_pb2.DriveRequest(frame=frame)
