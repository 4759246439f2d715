"""One rollout of AlpaSim: pictures in, plans out, through a session."""

from __future__ import annotations

import dataclasses
import math
import sys
import time

from steerstream.blocking import Session
from steerstream.bridge.alpasim.plan import Target, Waypoint, roll_out
from steerstream.drive.tally import Tally
from steerstream.errors import AnswerTimeout, BadRequest
from steerstream.models import Camera

# A capture time of 0 is none; a simulator's clock may begin there.
_START_NS = 1_000_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class Optics:
    """A camera as AlpaSim declares it.

    Attributes:
        width_px: columns.
        height_px: rows.
        focal_x_px: focal length along rows.
        focal_y_px: focal length along columns.
        principal_x_px: column of the principal point.
        principal_y_px: row of the principal point.
        height_m: of the lens above the ground.
        forward_z: upward part of the optical axis, a unit vector in the rig.
    """

    width_px: int
    height_px: int
    focal_x_px: float
    focal_y_px: float
    principal_x_px: float
    principal_y_px: float
    height_m: float
    forward_z: float

    def describe(self) -> Camera:
        """Return the camera as a server takes it; one that cannot be right is no description.

        Raises:
            BadRequest: a figure is not what a camera has.
        """
        if not (
            self.focal_x_px > 0 and self.width_px * self.height_px > 0 and abs(self.forward_z) < 0.5
        ):
            raise BadRequest(f"the camera does not look ahead, or has no focal length: {self}")
        # The horizon is where rays are level.
        row_px = self.principal_y_px + self.focal_y_px * math.tan(math.asin(self.forward_z))
        return Camera(
            width_px=self.width_px,
            height_px=self.height_px,
            horizontal_fov_deg=math.degrees(2 * math.atan(0.5 * self.width_px / self.focal_x_px)),
            mount_height_m=self.height_m,
            horizon_fraction=row_px / self.height_px,
        )


class Planner:
    """Steps a session with the pictures of one rollout.

    Args:
        session: an open session, in lock-step.
        tally: counts the answers.
        delay_ms: from a picture to when its command acts, in place of what the answer really took;
            None for that.
    """

    def __init__(self, session: Session, tally: Tally, *, delay_ms: float | None) -> None:
        self.session = session
        self.tally = tally
        self._delay_ms = delay_ms
        self._targets: list[Target] = []
        self._taken_us = -1

    def plan(
        self, picture: bytes, taken_us: int, speed_mps: float, *, now_us: int, query_us: int
    ) -> list[Waypoint]:
        """Return a plan for now.

        The command before acts until the new one has arrived. Where there is nothing to follow the
        plan is a stop. Without a speed there is none, and the vehicle stands.

        Args:
            picture: the newest one, a JPEG file.
            taken_us: when it was taken, by the simulator's clock.
            speed_mps: of the vehicle.
            now_us: the simulator's time.
            query_us: when the simulator will look at the plan.
        """
        if not math.isfinite(speed_mps):
            sys.stderr.write(f"steerstream bridge alpasim: the vehicle has no speed: {speed_mps}\n")
            return []
        if not self._targets:
            self._targets.append(Target(now_us, 0.0, speed_mps))
        if taken_us > self._taken_us:
            self._taken_us = taken_us
            target, charged_ms = self._step(picture, taken_us, speed_mps)
            if self._delay_ms is not None:
                charged_ms = self._delay_ms
            acts_us = max(now_us, taken_us + round(charged_ms * 1e3))
            # A command that would act later than this one's is overtaken.
            self._targets = [each for each in self._targets if each.from_us < acts_us]
            self._targets.append(target._replace(from_us=acts_us))
        while len(self._targets) > 1 and self._targets[1].from_us <= now_us:
            del self._targets[0]
        return roll_out(now_us, speed_mps, self._targets, query_us=query_us)

    def _step(self, picture: bytes, taken_us: int, speed_mps: float) -> tuple[Target, float]:
        """Send a picture; return what is to be followed, and what the answer took, in ms."""
        stop = self._targets[-1]._replace(speed_mps=0.0)
        began_ns = time.monotonic_ns()
        self.tally.sent()
        try:
            answer = self.session.request(
                picture,
                capture_time_ns=_START_NS + taken_us * 1000,
                vehicle_speed_mps=speed_mps,
            )
        except (AnswerTimeout, BadRequest) as error:
            sys.stderr.write(f"steerstream bridge alpasim: {error}\n")
            return stop, 0.0
        safe = self.session.safe_command()
        charged_ms = self.tally.answered(answer, due_ns=began_ns, truth=None, action=safe.action)
        if safe.steering_wheel_angle_rad is None or safe.speed_mps is None:
            return stop, charged_ms
        return Target(0, safe.steering_wheel_angle_rad, safe.speed_mps), charged_ms
