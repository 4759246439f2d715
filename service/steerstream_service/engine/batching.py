"""How many of the waiting frames the next step takes: a pure function of deadlines and costs.

A larger step costs less a frame on some machines (a GPU) and hardly less on others (one core of a
CPU), and the frames behind it wait longer. So a step is as large as pays, unless by the measured
costs more frames would be late after it than after a step of another size.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from steerstream_service.engine.step_cost import StepCost

_TURN_NS = 600_000
"""The cost of a step beside the network: it wakes the event loop, which answers its frames.
Sharing a core, 32 sessions got 427 frames a second in steps of one frame, 506 in steps of 4 and 555
in steps of 17: 0.5 to 0.9 ms a step; an engine on another core hardly feels it."""
_WORTH = 1.03
"""A cost a frame within 3 % of the least is as good: twice the batch for less than that would only
delay its first frame, and costs are not measured more exactly than that."""


class Batch(NamedTuple):
    """Which frames to take, of those that wait in the order of their deadlines.

    The first `late` are given up, and the next `size` make the step.
    """

    late: int
    size: int


def choose(deadlines_ns: Sequence[int], now_ns: int, cost: StepCost, free_by_ns: int) -> Batch:
    """Choose the next step.

    Args:
        deadlines_ns: when the answers of the waiting frames are due, ascending; at least one.
        now_ns: the time.
        cost: what steps cost.
        free_by_ns: when frames of other models want the engine at the latest.

    Returns:
        The step after which the fewest frames are late, if the frames behind it go in steps of the
        size that pays: the smallest that costs nearly the least a frame. Of steps that do equally
        well, the one that gives up fewer frames; then the one nearest to the size that pays.
    """
    pays = paying(len(deadlines_ns), cost)
    if _is_easy(deadlines_ns, now_ns + cost[pays], pays, cost, free_by_ns):
        return Batch(0, pays)
    outlooks = []
    for size in _sizes(len(deadlines_ns), cost):
        done_ns = now_ns + cost[size]
        missed, late = _outlook(deadlines_ns, done_ns, size, pays, cost)
        outlooks.append((missed + (done_ns > free_by_ns), late, abs(size - pays), size))
    _, late, _, size = min(outlooks)
    return Batch(late, min(size, len(deadlines_ns) - late))


def paying(waiting: int, cost: StepCost) -> int:
    """Return the size that pays where this many frames wait: see `_WORTH`."""
    if waiting == 1:
        # The usual case on a server that is not busy, so it is quick.
        return 1
    sizes = _sizes(waiting, cost)
    each = [(cost[size] + _TURN_NS) / size for size in sizes]
    enough = min(each) * _WORTH
    return next(size for size, per_frame in zip(sizes, each, strict=True) if per_frame <= enough)


def _sizes(waiting: int, cost: StepCost) -> list[int]:
    """The buckets that can be filled, and one step of as many as wait."""
    largest = min(waiting, cost.buckets[-1])
    return [*cost.buckets[: bisect_left(cost.buckets, largest)], largest]


def _is_easy(
    deadlines_ns: Sequence[int], done_ns: int, size: int, cost: StepCost, free_by_ns: int
) -> bool:
    """Whether all are done by the earliest deadline: cheap, and true unless the engine is busy."""
    steps_after = -(-(len(deadlines_ns) - size) // size)
    return done_ns <= free_by_ns and done_ns + steps_after * cost[size] <= deadlines_ns[0]


def _outlook(
    deadlines_ns: Sequence[int], done_ns: int, size: int, size_after: int, cost: StepCost
) -> tuple[int, int]:
    """Return how many frames are late after a step of a size, and how many it gives up itself."""
    count = len(deadlines_ns)
    # No frame is done before the step is, so all that are due before its end are late.
    late = missed = bisect_left(deadlines_ns, done_ns)
    begin = late + size
    while begin < count:
        end = min(begin + size_after, count)
        done_ns += cost[end - begin]
        missed += bisect_left(deadlines_ns, done_ns, begin, end) - begin
        begin = end
    return missed, late
