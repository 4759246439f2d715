"""The wire contract of steerstream: its own server, and every peer that serves its stubs."""

from __future__ import annotations

import asyncio
import contextlib

import grpc

from benchmark.peers.client.links import FRAME_PERIOD_NS, Answer, EndedError, RefusedError, Terms
from benchmark.peers.frameset import FrameSet
from steerstream.v1 import (
    command_pb2,
    drive_service_pb2,
    drive_service_pb2_grpc,
    frame_pb2,
    session_pb2,
)

CHANNEL_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1))
"""One TCP connection a session: vehicles share none."""
_GOODBYE_S = 1.0
_FULL = {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}

_Call = grpc.aio.StreamStreamCall[drive_service_pb2.DriveRequest, drive_service_pb2.DriveResponse]


class DriveTransport:
    """Sessions of a server of DriveService.

    Args:
        target: HOST:PORT.
        frames: what to send.
        metadata: sent with each call.
    """

    def __init__(
        self, target: str, frames: FrameSet, metadata: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self._target = target
        self._frames = frames
        self._metadata = metadata

    async def open(self, session: int, terms: Terms) -> DriveLink:
        """Open a session; see `links.Transport.open`."""
        channel = grpc.aio.insecure_channel(self._target, options=CHANNEL_OPTIONS)
        stub = drive_service_pb2_grpc.DriveServiceStub(channel)
        link = DriveLink(channel, stub.Drive(metadata=self._metadata), self._frames)
        every, latest = session_pb2.FRAME_POLICY_EVERY, session_pb2.FRAME_POLICY_LATEST
        opening = session_pb2.OpenSession(
            vehicle_id=f"vehicle-{session}",
            budget_ms=terms.budget_ms,
            frame_rate_hz=terms.rate_hz,
            frame_policy=every if terms.every else latest,
        )
        try:
            await link.begin(drive_service_pb2.DriveRequest(open=opening))
        except BaseException:
            await link.abort()
            raise
        return link


class DriveLink:
    """One stream; see `links.Link`."""

    def __init__(self, channel: grpc.aio.Channel, call: _Call, frames: FrameSet) -> None:
        self._channel = channel
        self._call = call
        self._frames = frames

    async def begin(self, opening: drive_service_pb2.DriveRequest) -> None:
        """Send the first message and take the first answer.

        Raises:
            RefusedError: the server is full.
            EndedError: the server answered otherwise.
        """
        try:
            with contextlib.suppress(asyncio.InvalidStateError):
                # Where the server has ended the stream already, read knows why.
                await self._call.write(opening)
            response = await self._call.read()
        except grpc.aio.AioRpcError as error:
            if error.code() in _FULL:
                raise RefusedError(error.details()) from None
            raise EndedError(f"{error.code()}: {error.details()}") from None
        if not isinstance(response, drive_service_pb2.DriveResponse):
            raise EndedError("the stream ended before it was opened")

    async def send(self, number: int, frame: int) -> None:
        """Send a frame; see `links.Link.send`."""
        try:
            await self._call.write(self._request(number, frame))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            raise EndedError("the stream has ended") from None

    async def receive(self) -> Answer:
        """Return the next answer; see `links.Link.receive`."""
        while True:
            try:
                response = await self._call.read()
            except grpc.aio.AioRpcError as error:
                raise EndedError(f"{error.code()}: {error.details()}") from None
            if not isinstance(response, drive_service_pb2.DriveResponse):
                raise EndedError("the stream has ended")
            match response.WhichOneof("message"):
                case "command":
                    return _command(response.command)
                case "skipped":
                    return Answer(response.skipped.sequence_number, None)

    async def close(self) -> None:
        """Half-close and wait for the end; see `links.Link.close`."""
        with contextlib.suppress(
            TimeoutError, EndedError, grpc.aio.AioRpcError, asyncio.InvalidStateError
        ):
            async with asyncio.timeout(_GOODBYE_S):
                await self._call.done_writing()
                while True:
                    await self.receive()
        await self.abort()

    async def abort(self) -> None:
        """Cancel and close; see `links.Link.abort`."""
        self._call.cancel()
        await self._channel.close()

    def _request(self, number: int, frame: int) -> drive_service_pb2.DriveRequest:
        frames = self._frames
        # A capture time of zero would mean "not stated".
        captured_ns = (1 + number) * FRAME_PERIOD_NS
        message = frame_pb2.Frame(sequence_number=number, capture_time_ns=captured_ns)
        if frames.is_jpeg:
            message.jpeg = frames.frames[frame]
        else:
            message.rgb8.width_px = frames.width_px
            message.rgb8.height_px = frames.height_px
            message.rgb8.pixels = frames.frames[frame]
        return drive_service_pb2.DriveRequest(frame=message)


def _command(command: command_pb2.Command) -> Answer:
    if command.validity == command_pb2.VALIDITY_FALLBACK:
        return Answer(command.sequence_number, None)
    raw = command.raw
    outputs = (raw.steering_wheel_angle_rad, raw.speed_mps, raw.steering_torque_nm)
    return Answer(command.sequence_number, outputs)
