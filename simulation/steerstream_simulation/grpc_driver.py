"""A driver at the other end of a gRPC stream: the steerstream client."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import steerstream
from steerstream import (
    Camera,
    Client,
    DriveSession,
    Encoding,
    FrameAnswer,
    FramePolicy,
    SafeCommand,
    Session,
    Skipped,
    ViewUse,
)
from steerstream import Command as WireCommand
from steerstream.connection_options import PLAIN, ConnectionArguments
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.drivers import Frame, Reply
from steerstream_simulation.vehicle import Command

VEHICLE_ID = "simulation"
"""The name of the world's vehicle, where nobody gives it another."""


class GrpcDriver:
    """Sends frames into a session and follows what its guard lets through.

    Args:
        session: an open session.
        encoding: how pictures are sent.
        view: which pictures are cropped and scaled as the server asks.
        act_in_ms: what is said of when commands act; None for what the session knows.

    Attributes:
        told: each is told every safe command that the vehicle followed between answers.
    """

    def __init__(
        self,
        session: Session | DriveSession,
        encoding: Encoding = Encoding.AUTO,
        view: ViewUse = ViewUse.PIXELS,
        act_in_ms: float | None = None,
    ) -> None:
        self._act_in_ms = act_in_ms
        self.session = session
        self._encoding = encoding
        self._view = view
        self._speed_mps = 0.0
        self.told: list[Callable[[SafeCommand], object]] = []

    async def send(self, frame: Frame) -> None:
        """Send a frame.

        Raises:
            SteerstreamError: the session has ended.
        """
        self._speed_mps = self._speed_mps or frame.vehicle_speed_mps
        await self.session.send_frame(
            frame.image, act_in_ms=self._act_in_ms, **self._said_of(frame)
        )

    async def ask(self, frame: Frame, act_in_ms: float | None) -> FrameAnswer:
        """Send a frame and return its answer; what the session's guard says of it is left aside.

        Args:
            frame: the frame.
            act_in_ms: what is said of when its command acts.

        Raises:
            SteerstreamError: the session has ended.
        """
        return await self.session.request(frame.image, act_in_ms=act_in_ms, **self._said_of(frame))

    def _said_of(self, frame: Frame) -> dict[str, Any]:
        return {
            "sequence_number": frame.sequence_number,
            "capture_time_ns": frame.capture_time_ns,
            "vehicle_speed_mps": frame.vehicle_speed_mps,
            "encoding": self._encoding,
            "view": self._view,
        }

    async def receive(self) -> Reply | None:
        """Wait for the next answer; notices are passed over.

        Raises:
            SteerstreamError: the session ended with an error.
        """
        async for answer in self.session:
            if isinstance(answer, WireCommand | Skipped):
                command = self._command(self.session.safe_command())
                return Reply(
                    answer.sequence_number, command, answer, answer.sent_ns, answer.received_ns
                )
        return None

    def follow(self) -> Command | None:
        """Return what the session's guard has the vehicle follow at this moment."""
        safe = self.session.safe_command()
        for told in self.told:
            told(safe)
        return self._command(safe)

    def _command(self, safe: SafeCommand) -> Command | None:
        if safe.steering_wheel_angle_rad is None:
            return None
        # A model without a speed head drives at the speed of the start.
        self._speed_mps = self._speed_mps if safe.speed_mps is None else safe.speed_mps
        return Command(safe.steering_wheel_angle_rad, self._speed_mps)


@contextlib.asynccontextmanager
async def open_driver(
    client: Client,
    camera: CameraConfig,
    *,
    frame_policy: FramePolicy,
    model: str | None = None,
    budget_ms: float = 50.0,
    rate_hz: float = 20.0,
    encoding: Encoding = Encoding.AUTO,
    view: ViewUse = ViewUse.PIXELS,
    act_in_ms: float | None = None,
    vehicle_id: str = VEHICLE_ID,
    hands_over: bool = False,
) -> AsyncIterator[GrpcDriver]:
    """Open a session and drive through it for the time of an `async with` block.

    Args:
        client: a connected client.
        camera: the world's camera, described to the server.
        frame_policy: EVERY for lock-step, LATEST for real time.
        model: a served model's name; None for the server's default.
        budget_ms: milliseconds that a frame may take in the server.
        rate_hz: pictures a second.
        encoding: how pictures are sent.
        view: which pictures are cropped and scaled as the server asks.
        act_in_ms: what is said of when commands act; None for what the session knows.
        vehicle_id: the vehicle's name in the server's logs.
        hands_over: whether the session goes on at another one of the client's servers where its
            own is lost.

    Raises:
        SteerstreamError: the server does not open the session.
    """
    open_session = client.drive_session if hands_over else client.open_session
    async with open_session(
        vehicle_id=vehicle_id,
        model=model,
        budget_ms=budget_ms,
        frame_policy=frame_policy,
        frame_rate_hz=rate_hz,
        camera=describe(camera),
    ) as session:
        yield GrpcDriver(session, encoding, view, act_in_ms)


def describe(camera: CameraConfig) -> Camera:
    """Return the camera's description for the wire.

    The world's camera looks straight ahead, however high its horizon is in its pictures.
    """
    horizon_px = camera.horizon * camera.height_px
    return Camera(
        width_px=camera.width_px,
        height_px=camera.height_px,
        horizontal_fov_deg=math.degrees(camera.field_of_view_rad),
        mount_height_m=camera.mount_height_m,
        horizon_fraction=(horizon_px + 0.5) / camera.height_px,
        principal_y_px=horizon_px,
        lens=camera.lens,
        distortion=camera.distortion,
    )


def connect(
    targets: Sequence[str],
    clock: Callable[[], int] = time.monotonic_ns,
    connection: ConnectionArguments = PLAIN,
) -> Client:
    """Return a client of servers; it connects when it is entered.

    Args:
        targets: the servers.
        clock: the loop's.
        connection: TLS and token.
    """
    return steerstream.connect(targets, clock=clock, **connection)
