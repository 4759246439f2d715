"""What a drive over several servers says of its hand-overs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from steerstream.answers import Command, FrameAnswer
from steerstream.drive_session import DriveSession


class HandOvers:
    """Counts a drive session's hand-overs, and tells of each in one line.

    A gap is the time from the last command of one server to the first of the next; held commands,
    which are sent again, count as none.

    Args:
        session: drives over several servers.
        tell: told each line.
    """

    def __init__(self, session: DriveSession, tell: Callable[[str], object]) -> None:
        self._session, self._tell = session, tell
        self._info = session.info
        self._last_ns: int | None = None
        self._gaps_ms: list[float] = []
        self._with_state = 0

    def answered(self, answer: FrameAnswer) -> None:
        """Look at an answer, and at which server drives."""
        if not isinstance(answer, Command) or not answer.is_fresh:
            return
        info, last_ns = self._session.info, self._last_ns
        self._last_ns = answer.received_ns
        if info is self._info:
            return
        self._info = info
        change = self._session.change
        # None where that server was lost again before this answer was read.
        with_state = change.with_state is not False
        self._with_state += with_state
        gap_ms = 0.0 if last_ns is None else (answer.received_ns - last_ns) / 1e6
        self._gaps_ms.append(gap_ms)
        self._tell(
            f"{change.target} drives now, {_state(with_state)}; its first command came "
            f"{gap_ms:.0f} ms after the last one ({change.reason})"
        )

    def line(self) -> str:
        """Return a line of the drive's report."""
        count = len(self._gaps_ms)
        if not count:
            return f"hand-overs  {0:>8}"
        longest_ms = max(self._gaps_ms)
        return (
            f"hand-overs  {count:>8}  longest gap {longest_ms:.0f} ms, "
            f"{self._with_state} of {count} with state"
        )

    def summary(self) -> dict[str, Any]:
        """Return the figures by name and unit."""
        return {
            "count": len(self._gaps_ms),
            "with_state": self._with_state,
            "longest_gap_ms": max(self._gaps_ms, default=None),
        }


def _state(with_state: bool) -> str:  # noqa: FBT001
    return "with the state" if with_state else "with a fresh state"
