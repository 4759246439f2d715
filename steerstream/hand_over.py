"""How a vehicle's session changes its server: the bounds, and which server is asked next."""

from __future__ import annotations

import dataclasses
import enum
import random
from collections.abc import Callable, Sequence

from steerstream.arguments import finite_number, whole_number

_SHORTEST_ATTEMPT_S = 0.001
"""In less no server could open a session."""
_FIRST_PAUSE_S = 0.05
"""One period at 20 Hz."""
_LONGEST_PAUSE_S = 1.0
"""As long as a guard holds: a server that comes back is found within it."""
_FULL_FOR_S = 60.0
"""How long a full server counts as such: vehicles that go from one to the other of two would add to
what both have to do, by the frames that are played again."""


class DriveState(enum.Enum):
    """How a drive session is."""

    CONNECTING = "connecting"
    """No server has opened it yet."""
    DRIVING = "driving"
    """A server answers."""
    DEGRADED = "degraded"
    """A server answers, but said that it will end the session, or is so full that the guard lets go
    between its answers; or answers are missing."""
    RESUMING = "resuming"
    """No server answers; the session is being opened elsewhere. The guard plays the horizon where
    there is one, then holds, and then releases."""
    LOST = "lost"
    """It was given up: what sends raises, and so does the iterator. The guard's action is
    RELEASE."""
    CLOSED = "closed"
    """The vehicle closed it: what sends raises, the iterator ends, and the guard's action is
    RELEASE."""


@dataclasses.dataclass(frozen=True, slots=True)
class SessionChange:
    """News of a drive session.

    Attributes:
        state: how it is now.
        target: the server that it is about; None where there is none.
        reason: why, for people.
        with_state: under DRIVING, whether the recurrent state is the one that an unbroken session
            would have, as it is at the first opening; where a hand-over lost it, commands are
            WARMING_UP at first. None in every other state.
    """

    state: DriveState
    target: str | None
    reason: str
    with_state: bool | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class HandOver:
    """When and how a session changes its server.

    A value that is no number or makes no sense raises BadRequest, which is a ValueError.

    Attributes:
        missing_answers: 4; a server is left when nothing comes for so many periods of the camera,
            or for the budget and two periods where that is longer.
        attempt_timeout_s: 1.0; how long one server may take to open the session, and to answer a
            replayed frame.
        give_up_after_s: 60; how long servers are tried without one that answers.
        max_kept_bytes: 32 MiB; frames that are kept to be played again: those since the last
            ticket, ten or so, and those of the network's rings, seven at most in what ships.
    """

    missing_answers: int = 4
    attempt_timeout_s: float = 1.0
    give_up_after_s: float = 60.0
    max_kept_bytes: int = 32 << 20

    def __post_init__(self) -> None:
        whole_number("missing_answers", self.missing_answers, low=1, high=1 << 16)
        whole_number("max_kept_bytes", self.max_kept_bytes, low=0, high=1 << 40)
        finite_number("attempt_timeout_s", self.attempt_timeout_s, low=_SHORTEST_ATTEMPT_S)
        finite_number("give_up_after_s", self.give_up_after_s, low=0.0)

    def silence_ns(self, period_s: float, budget_s: float) -> int:
        """Return how long nothing may come while frames wait for answers.

        Args:
            period_s: from one frame to the next.
            budget_s: that the server was granted for a frame.
        """
        return round(max(self.missing_answers * period_s, budget_s + 2 * period_s) * 1e9)


class Targets:
    """The servers of a vehicle, and which of them is asked next.

    Args:
        names: in the order in which they are preferred.
        now_s: a monotonic clock, in seconds.
    """

    def __init__(self, names: Sequence[str], now_s: Callable[[], float]) -> None:
        self._names = list(names)
        self._now_s = now_s
        self._not_before_s = dict.fromkeys(names, -1.0)
        self._full_until_s = dict.fromkeys(names, -1.0)

    def leave(self, name: str, retry_after_s: float | None) -> None:
        """Ask a server last from now on, and not before its hint has passed.

        Args:
            name: the server.
            retry_after_s: its hint; None for none.
        """
        self._names.remove(name)
        self._names.append(name)
        self._not_before_s[name] = self._now_s() + (retry_after_s or 0.0)

    def leave_full(self, name: str) -> None:
        """Ask a server last from now on, which is full."""
        self.leave(name, None)
        self._full_until_s[name] = self._now_s() + _FULL_FOR_S

    def ready(self, *, with_full: bool = True) -> list[str]:
        """Return the servers that may be asked now, in order.

        Args:
            with_full: whether those are among them that were full within the last minute.
        """
        now_s = self._now_s()
        ready = [name for name in self._names if self._not_before_s[name] <= now_s]
        return [name for name in ready if with_full or self._full_until_s[name] <= now_s]


def pauses_s(uniform: Callable[[float, float], float] = random.uniform) -> Callable[[], float]:
    """Return a function whose results are the pauses between rounds over all servers.

    They double up to a second, and each is from half to all of that, at random, so that the
    vehicles of a server that died do not come back together.
    """
    longest_s = _FIRST_PAUSE_S

    def pause_s() -> float:
        nonlocal longest_s
        chosen = uniform(longest_s / 2, longest_s)
        longest_s = min(2 * longest_s, _LONGEST_PAUSE_S)
        return chosen

    return pause_s
