"""A server that is lost in the middle of a drive, and how the vehicle goes on at another one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from steerstream import Command, DriveSession, DriveState
from steerstream_simulation.closed_loop import Moment
from steerstream_simulation.drivers import Reply
from steerstream_simulation.expert import Expert
from steerstream_simulation.world import World

_MIDDLE = (0.2, 0.75)
"""The part of a drive in which the server is killed, as shares of its length."""
_STEP_M = 1.0


@dataclass(frozen=True, slots=True)
class Gap:
    """The time without a server.

    Attributes:
        killed_ns: when the server was killed, by the loop's clock.
        resumed_ns: when the first fresh command after that came.
        target: the server that sent it.
        with_state: whether that server went on with the recurrent state.
    """

    killed_ns: int
    resumed_ns: int
    target: str
    with_state: bool

    @property
    def gap_ms(self) -> float:
        """Milliseconds from the kill to the next fresh command."""
        return (self.resumed_ns - self.killed_ns) / 1e6


class ServerKill:
    """Strikes a server in the sharpest bend of a drive; an `Observer` of the closed loop.

    Args:
        strikes: by target, what kills that server, or does something else to it. The one that
            drives the vehicle is struck: on a busy machine it may have left the first one before.
        session: drives the vehicle.
        world: where it drives.
        seconds: length of the drive.
        clock: the loop's clock, in nanoseconds.

    Attributes:
        start_ns: when the first picture was taken, by the loop's clock; None before.
        killed_ns: when it was struck, by the loop's clock; None before.
        gap: the time without a server; None until a fresh command has come from another one.
    """

    def __init__(
        self,
        strikes: Mapping[str, Callable[[], object]],
        session: DriveSession,
        world: World,
        seconds: float,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._strikes = strikes
        self._clock = clock
        self._session = session
        self._world = world
        self._place_m = sharpest_bend_m(world, seconds)
        self._killed: str | None = None
        self._sent_ns: list[int] = []
        self._largest_m = 0.0
        self.start_ns: int | None = None
        self.killed_ns: int | None = None
        self.gap: Gap | None = None

    def __call__(self, moment: Moment, reply: Reply | None) -> None:
        """Note a frame, and kill the server once the vehicle is at the place."""
        if self.start_ns is None:
            self.start_ns = moment.frame.capture_time_ns
        if self.killed_ns is None:
            target = self._session.change.target
            strike = None if target is None else self._strikes.get(target)
            if strike is not None and self._world.position.arc_length_m >= self._place_m:
                self._killed = target
                strike()
                self.killed_ns = self._clock()
            return
        self._largest_m = max(self._largest_m, abs(moment.lateral_offset_m))
        if reply is None:
            return
        self._sent_ns.append(reply.sent_ns)
        if self.gap is None and _is_fresh(reply):
            self.gap = self._gap(self.killed_ns)

    def _gap(self, killed_ns: int) -> Gap | None:
        change = self._session.change
        if change.state is not DriveState.DRIVING or change.target in {None, self._killed}:
            # An answer that the server had sent before it was killed.
            return None
        return Gap(killed_ns, self._clock(), str(change.target), bool(change.with_state))

    def summary(self) -> dict[str, Any] | None:
        """Return what happened, by name and unit; None where the server was not killed."""
        if self.killed_ns is None or self.start_ns is None:
            return None
        found: dict[str, Any] = {
            "killed_at_s": round((self.killed_ns - self.start_ns) / 1e9, 3),
            "lateral_error_max_after_m": round(self._largest_m, 4),
            "left_alive": [target for target in self._strikes if target != self._killed],
        }
        if (gap := self.gap) is None:
            return {**found, "gap_ms": None}
        unanswered = sum(gap.killed_ns < sent_ns < gap.resumed_ns for sent_ns in self._sent_ns)
        return {
            **found,
            "gap_ms": round(gap.gap_ms, 1),
            "frames_in_gap": unanswered,
            "with_state": gap.with_state,
            "went_on_at": gap.target,
        }


def sharpest_bend_m(world: World, seconds: float) -> float:
    """Return the arc length of the sharpest bend in the middle of a drive.

    Args:
        world: where the vehicle drives, as fast as the expert or about so.
        seconds: length of the drive.
    """
    expert = Expert(world.road, delay_s=0.0)
    begin_s, end_s = (share * seconds for share in _MIDDLE)
    place_m = time_s = sharpest_m = curvature = 0.0
    while time_s < end_s:
        here = abs(world.road.curvature_at(place_m))
        if time_s >= begin_s and here > curvature:
            sharpest_m, curvature = place_m, here
        time_s += _STEP_M / expert.target_speed_mps(place_m)
        place_m += _STEP_M
    return sharpest_m


def table(found: dict[str, Any] | None) -> str:
    """Return a summary as lines for people; of None, that no server was killed."""
    if found is None:
        return "server killed   none: no server of a --kill drove in the sharpest bend"
    return "\n".join([*_lines(found), *_left_alive(found["left_alive"])])


def _left_alive(targets: list[str]) -> list[str]:
    if not targets:
        return []
    return [f"left alive      {', '.join(targets)}: --kill ends the one server that drives by then"]


def _lines(found: dict[str, Any]) -> list[str]:
    if found["gap_ms"] is None:
        return ["server killed   at {killed_at_s:.1f} s; no other one answered".format(**found)]
    state = "with its state" if found["with_state"] else "with a fresh state"
    return [
        "server killed   in the bend at {killed_at_s:.1f} s (SIGKILL)".format(**found),
        "next command    {gap_ms:.0f} ms later, from {went_on_at}".format(**found) + f", {state}",
        "in between      {frames_in_gap} frame(s) without a fresh command".format(**found),
        "lateral error   max {lateral_error_max_after_m:.3f} m after it".format(**found),
    ]


def _is_fresh(reply: Reply) -> bool:
    return isinstance(reply.answer, Command) and reply.answer.is_fresh
