"""Judgements that need no server: whether a peer's state is right, and how many vehicles it bears.

Pure functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


def most(holds: Callable[[int], bool], *, low: int, high: int) -> int:
    """Return the largest number for which a load holds, by bisection.

    Args:
        holds: tries one load; assumed to fail for all numbers above one for which it fails.
        low: where to begin; where it does not hold, the search goes on below it.
        high: a number for which it is taken not to hold.
    """
    if not holds(low):
        low, high = 0, low
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
