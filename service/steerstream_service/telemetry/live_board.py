"""What operators see of a running server: counts by session, and one session in full.

It counts whether anybody looks or not, at a few additions a frame. All of it belongs to the event
loop's thread.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from steerstream_bundle.pictures import Image
from steerstream_bundle.view import Applied
from steerstream_service.domain import Command, Skip, Timings, Validity
from steerstream_service.errors import ErrorReason
from steerstream_service.session.frame_stages import FrameRecord
from steerstream_service.telemetry.observer import SERVER_SKIPS, Observer

_KEPT_TIMINGS = 1024
"""Timings between two looks: those of 250 vehicles at 20 Hz in a fifth of a second."""
_KEPT_ENDINGS = 32
_KEPT_ANSWERS = 64
"""Answers of one session between two looks: six at 20 Hz, and those of a recording sent quickly."""
_SUSPECT = frozenset({Validity.HELD, Validity.FALLBACK})


class Ending(NamedTuple):
    """The end of a session; `ended_ns` is of the server's monotonic clock."""

    session_id: str
    vehicle_id: str
    ended_by: str
    ended_ns: int


class Shown(NamedTuple):
    """The picture of a frame as it came, and the part of the vehicle's own picture that it is."""

    sequence_number: int
    image: Image
    view_applied: Applied | None


class Closeup:
    """What happens to one session while somebody looks at it.

    Args:
        wants_pictures: whether its pictures may be shown.

    Attributes:
        answers: those since they were last taken, oldest first.
        shown: the last picture; None where there is none, or where it may not be shown.
        ended_by: how the session ended; empty as long as it is open.
    """

    def __init__(self, *, wants_pictures: bool) -> None:
        self.answers: deque[Command | Skip] = deque(maxlen=_KEPT_ANSWERS)
        self.wants_pictures = wants_pictures
        self.shown: Shown | None = None
        self.ended_by = ""


class SessionTally:
    """Counts of one session.

    Args:
        vehicle_id: the vehicle's name for itself.
        opened_ns: when it opened, on the server's monotonic clock.

    Attributes:
        answers: frames that were answered.
        misses: frames without a command within the budget, by the server's fault.
        held: frames that were answered with no values of their own.
        validity: of the last answer; HELD for a skip.
        total_ns: what the last answer took; None before the first.
        answered_ns: when the last answer was made; `opened_ns` before the first.
        closeups: those who look at this session.
    """

    __slots__ = (
        "answered_ns",
        "answers",
        "closeups",
        "held",
        "misses",
        "opened_ns",
        "total_ns",
        "validity",
        "vehicle_id",
    )

    def __init__(self, vehicle_id: str, opened_ns: int) -> None:
        self.vehicle_id = vehicle_id
        self.opened_ns = opened_ns
        self.answers = 0
        self.misses = 0
        self.held = 0
        self.validity: Validity | None = None
        self.total_ns = 0
        self.answered_ns = opened_ns
        self.closeups: tuple[Closeup, ...] = ()


class LiveBoard(Observer):
    """Counts events of sessions and frames.

    Attributes:
        began_ns: when the server started, on its monotonic clock.
        answers: frames that were answered.
        misses: frames without a command within their budget, by the server's fault.
        refusals: streams that were refused.
        endings: the last ends of sessions, oldest first.
    """

    def __init__(self) -> None:
        self.began_ns = time.monotonic_ns()
        self.answers = 0
        self.misses = 0
        self.refusals = 0
        self.endings: deque[Ending] = deque(maxlen=_KEPT_ENDINGS)
        self._sessions: dict[str, SessionTally] = {}
        # The sessions in trouble lately, the last one last; bounded by the sessions.
        self._troubled: dict[str, None] = {}
        self._timings: deque[Timings] = deque(maxlen=_KEPT_TIMINGS)
        self._closeups = 0

    def sessions(self, most: int) -> Iterator[tuple[str, SessionTally]]:
        """Return sessions with their names: those in trouble lately first, then the oldest.

        A session that ends before its turn comes is left out.
        """
        names = [*reversed(self._troubled)][:most]
        for name in self._sessions:
            if len(names) >= most:
                break
            if name not in self._troubled:
                names.append(name)
        return ((name, self._sessions[name]) for name in names if name in self._sessions)

    @contextlib.contextmanager
    def closeup(self, session_id: str, *, wants_pictures: bool) -> Iterator[Closeup | None]:
        """Look at a session for the time of a block; yields None if there is no such session.

        Args:
            session_id: the session.
            wants_pictures: whether its pictures may be shown.
        """
        tally = self._sessions.get(session_id)
        if tally is None:
            yield None
            return
        closeup = Closeup(wants_pictures=wants_pictures)
        tally.closeups += (closeup,)
        self._closeups += 1
        try:
            yield closeup
        finally:
            self._closeups -= 1
            tally.closeups = tuple(other for other in tally.closeups if other is not closeup)

    def take_timings(self) -> Sequence[Timings]:
        """Return the timings of the last answers, each once."""
        taken = list(self._timings)
        self._timings.clear()
        return taken

    def calm(self, before_ns: int) -> None:
        """Forget the trouble of sessions whose last answer was good and came before a time."""
        for name in list(self._troubled):
            tally = self._sessions[name]
            if tally.validity not in _SUSPECT and tally.answered_ns < before_ns:
                del self._troubled[name]

    def opened(
        self, session_id: str, vehicle_id: str, model: str, trace_parent: str | None = None
    ) -> None:
        """Begin to count a session."""
        del model, trace_parent
        self._sessions[session_id] = SessionTally(vehicle_id, time.monotonic_ns())

    def refused(self, reason: ErrorReason) -> None:
        """Count a refusal."""
        del reason
        self.refusals += 1

    def received(self, session_id: str, record: FrameRecord) -> None:
        """Keep a picture for those who look at its session."""
        if not self._closeups:
            return
        tally = self._sessions.get(session_id)
        if tally is None or record.image is None:
            return
        shown = Shown(record.sequence_number, record.image, record.view_applied)
        for closeup in tally.closeups:
            if closeup.wants_pictures:
                # Not the record, which lets go of its picture when it is answered.
                closeup.shown = shown

    def answered(self, session_id: str, budget_ns: int, command: Command) -> None:
        """Count a command."""
        timings = command.timings
        self._timings.append(timings)
        if (tally := self._count(session_id, command, command.validity)) is None:
            return
        tally.total_ns = timings.total_ns
        if timings.total_ns > budget_ns:
            self._miss(session_id, tally)
        if command.validity in _SUSPECT:
            self._hold(session_id, tally)

    def skipped(self, session_id: str, skip: Skip) -> None:
        """Count a skip."""
        if (tally := self._count(session_id, skip, Validity.HELD)) is None:
            return
        if skip.reason in SERVER_SKIPS:
            self._miss(session_id, tally)
        self._hold(session_id, tally)

    def ended(self, session_id: str, ended_by: str) -> None:
        """Stop counting a session, and tell those who look at it."""
        self._troubled.pop(session_id, None)
        # None for a session that ended before it was told that it is open.
        if tally := self._sessions.pop(session_id, None):
            self.endings.append(Ending(session_id, tally.vehicle_id, ended_by, time.monotonic_ns()))
            for closeup in tally.closeups:
                closeup.ended_by = ended_by

    def _count(
        self, session_id: str, answer: Command | Skip, validity: Validity
    ) -> SessionTally | None:
        self.answers += 1
        tally = self._sessions.get(session_id)
        if tally is not None:
            tally.answers += 1
            tally.validity = validity
            tally.answered_ns = time.monotonic_ns()
            for closeup in tally.closeups:
                closeup.answers.append(answer)
        return tally

    def _miss(self, session_id: str, tally: SessionTally) -> None:
        self.misses += 1
        tally.misses += 1
        self._trouble(session_id)

    def _hold(self, session_id: str, tally: SessionTally) -> None:
        tally.held += 1
        self._trouble(session_id)

    def _trouble(self, session_id: str) -> None:
        self._troubled.pop(session_id, None)
        self._troubled[session_id] = None
