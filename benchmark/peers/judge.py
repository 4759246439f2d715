"""Judgements that need no server: whether a peer's state is right, and how many vehicles it bears.

Pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmark.errors import StateDiffersError

TOLERANCE = 1e-4
"""Largest difference of an output from the reference, in the head's unit; float32 in other orders
of summation differs by less."""

Outputs = Sequence[Sequence[Sequence[float] | None]]
"""By session and frame, one value a head; None where a frame got none."""


def sequences(sessions: int, length: int, pictures: int, *, turn: int) -> list[list[int]]:
    """Return which pictures each session sends; no two sessions or turns send the same.

    Strides are odd, so that each session visits all pictures in a different order: a state that
    went to the wrong session meets another history there.

    Args:
        sessions: how many.
        length: frames of each.
        pictures: how many there are, a power of two.
        turn: 0 for the first one.
    """
    return [
        [
            (session + turn * sessions + step * (2 * session + 1)) % pictures
            for step in range(length)
        ]
        for session in range(sessions)
    ]


def check_state(found: Outputs, reference: Outputs) -> float:
    """Compare what sessions answered with the reference.

    Returns:
        The largest difference of any output.

    Raises:
        StateDiffersError: a frame was not answered, or differs by more than the tolerance; the
            message names the first such session and frame.
    """
    largest = 0.0
    for session, (answers, wanted) in enumerate(zip(found, reference, strict=True)):
        for number, (answer, want) in enumerate(zip(answers, wanted, strict=True)):
            if answer is None or want is None:
                raise StateDiffersError(f"session {session} got no outputs for frame {number}")
            difference = float(np.max(np.abs(np.subtract(answer, want))))
            # Written so that a NaN fails too.
            if not difference <= TOLERANCE:
                raise StateDiffersError(
                    f"session {session}, frame {number}: off by {difference:.2g}, "
                    f"more than {TOLERANCE:g}"
                )
            largest = max(largest, difference)
    return largest


def nearest(
    found: Sequence[Outputs], references: Mapping[str, Sequence[Outputs]]
) -> tuple[str, float]:
    """Compare what a peer answered with references of several precisions.

    Args:
        found: what its sessions answered, turn by turn.
        references: the same of each reference, by its name; at least one.

    Returns:
        The name of the reference that it keeps to, and the largest difference from it.

    Raises:
        StateDiffersError: it keeps to none; the message is that of the first.
    """
    errors = []
    for name, wanted in references.items():
        try:
            return name, max(map(check_state, found, wanted))
        except StateDiffersError as error:
            errors.append(error)
    raise errors[0]


class Search:
    """Finds by bisection the largest number for which a load holds, a try at a time.

    It is assumed that a load that fails with one number fails with all above it.

    Args:
        low: where to begin; where it does not hold, the search goes on below it.
        high: a number for which it is taken not to hold.
        tries: failures of one number after which it counts as failed.
    """

    def __init__(self, *, low: int, high: int, tries: int) -> None:
        self._low, self._high = 0, high
        self._tries = tries
        self._failures = 0
        self.vehicles = low
        """The number to try next."""

    @property
    def is_over(self) -> bool:
        """Whether `found` is final."""
        return self._high - self._low <= 1

    @property
    def found(self) -> int:
        """The largest number that held; 0 for none."""
        return self._low

    def take(self, *, holds: bool) -> None:
        """Take how a try of `vehicles` went."""
        if holds:
            self._low = self.vehicles
        else:
            self._failures += 1
            if self._failures < self._tries:
                return
            self._high = self.vehicles
        self._failures = 0
        self.vehicles = (self._low + self._high) // 2
