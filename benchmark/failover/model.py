"""A reference model of the hand-over: the rules that every history of a lock-step drive keeps.

A history is the list of a vehicle's events in the order in which it saw them. The model knows
nothing of tickets, replays and servers: it says how a drive looks to a vehicle, whatever fails.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from steerstream import Command, ControlValues, DriveState, FrameAnswer, SessionChange, Validity
from steerstream.checksum import ALIVE_COUNTER_MODULUS

TOLERANCE = 1e-4
"""As `python -m model_export verify` allows: batches of other sizes round differently."""

_LEGAL = {
    DriveState.CONNECTING: {DriveState.DRIVING},
    DriveState.DRIVING: {DriveState.DEGRADED, DriveState.RESUMING, DriveState.CLOSED},
    DriveState.DEGRADED: {
        DriveState.DEGRADED,  # for another reason
        DriveState.DRIVING,
        DriveState.RESUMING,
        DriveState.CLOSED,
    },
    DriveState.RESUMING: {DriveState.DRIVING, DriveState.LOST, DriveState.CLOSED},
    DriveState.LOST: set(),
    DriveState.CLOSED: set(),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Sent:
    """A frame was sent."""

    number: int


Event = Sent | SessionChange | FrameAnswer


def violations(
    history: Sequence[Event], unbroken: Mapping[int, Command], warm_up_steps: int
) -> list[str]:
    """Return the rules that a history breaks, in words; empty for a good one.

    Args:
        history: a vehicle's events, from connecting to the end of its session.
        unbroken: the command for each frame in a drive without a fault.
        warm_up_steps: of the model.
    """
    return list(_Model(unbroken, warm_up_steps).run(history))


class _Model:
    def __init__(self, unbroken: Mapping[int, Command], warm_up_steps: int) -> None:
        self._unbroken = unbroken
        self._warm_up_steps = warm_up_steps
        self._state = DriveState.CONNECTING
        self._waiting: deque[int] = deque()
        self._last: Command | None = None
        self._has_state = True

    def run(self, history: Sequence[Event]) -> Iterator[str]:
        for event in history:
            match event:
                case Sent(number):
                    self._waiting.append(number)
                case SessionChange():
                    yield from self._changed(event)
                case _:
                    yield from self._answered(event)
        for number in self._waiting:
            yield f"frame {number} has no answer"
        if self._state is not DriveState.CLOSED:
            yield f"the session ends {self._state.value}"

    def _changed(self, change: SessionChange) -> Iterator[str]:
        if change.state not in _LEGAL[self._state]:
            yield f"{self._state.value} was followed by {change.state.value}"
        self._state = change.state
        if change.state is DriveState.DRIVING:
            self._has_state = self._has_state and bool(change.with_state)

    def _answered(self, answer: FrameAnswer) -> Iterator[str]:
        number = answer.sequence_number
        if not self._waiting or self._waiting.popleft() != number:
            yield f"frame {number} was answered out of turn"
        if not isinstance(answer, Command):
            yield f"frame {number} was skipped: {answer.reason.name}"
            return
        if not answer.checksum_ok:
            yield f"frame {number}: its command is damaged"
        if self._has_state:
            yield from self._as_unbroken(answer)
        elif answer.step_count <= self._warm_up_steps and answer.validity is Validity.VALID:
            yield f"frame {number}: a state that has seen {answer.step_count} frames is VALID"
        self._last = answer

    def _as_unbroken(self, answer: Command) -> Iterator[str]:
        number, expected = answer.sequence_number, self._unbroken[answer.sequence_number]
        for name in ("state_epoch", "step_count", "validity", "active_limits", "capture_time_ns"):
            found, wanted = getattr(answer, name), getattr(expected, name)
            if found != wanted:
                yield f"frame {number}: {name} is {found}, unbroken {wanted}"
        for name in ("raw", "limited"):
            if not _close(getattr(answer, name), getattr(expected, name)):
                yield f"frame {number}: {name} differs from the unbroken run's"
        if self._last is not None:
            step = (answer.alive_counter - self._last.alive_counter) % ALIVE_COUNTER_MODULUS
            if step != 1:
                yield f"frame {number}: the alive counter went on by {step}"


def _close(found: ControlValues, wanted: ControlValues) -> bool:
    pairs = zip(dataclasses.astuple(found), dataclasses.astuple(wanted), strict=True)
    return all(
        one is other
        or (
            one is not None
            and other is not None
            and math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        )
        for one, other in pairs
    )
