"""Compares a command of a recording with the one that a replay got for the same frame."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import NamedTuple

from steerstream.answers import Command, ControlValues

ROUNDING = 1e-5
"""How far values may be apart that other batch sizes or another machine rounded; the protocol's
document promises no more for one precision."""

_OF_PRECISIONS = {
    "steering_wheel_angle_rad": 0.05,
    "speed_mps": 0.5,
    "steering_torque_nm": 0.2,
}
"""How far single frames of two precisions may be apart; see the protocol's document."""


class Difference(NamedTuple):
    """A field in which two commands differ: its name, and the values as text."""

    field: str
    recorded: str
    replayed: str


@dataclasses.dataclass(frozen=True, slots=True)
class Terms:
    """What may differ.

    Attributes:
        is_exact: whether all must be equal to the last bit.
        same_precision: whether both networks compute in the same precision.
        knows_limits: whether both limited values came about from the same commands before.
        first_epoch: the state epoch of the recording with which the replay began.
    """

    is_exact: bool
    same_precision: bool
    knows_limits: bool
    first_epoch: int


def differences(recorded: Command, replayed: Command, terms: Terms) -> Iterator[Difference]:
    """Yield the fields in which two commands differ by more than the terms allow.

    Args:
        recorded: of the recording.
        replayed: of the replay.
        terms: what may differ.
    """
    epoch = replayed.state_epoch + terms.first_epoch
    yield from _unequal("state_epoch", recorded.state_epoch, epoch)
    yield from _unequal("step_count", recorded.step_count, replayed.step_count)
    yield from _of_values("raw", recorded.raw, replayed.raw, terms)
    yield from _unequal("validity", recorded.validity.name, replayed.validity.name)
    if not terms.knows_limits:
        return
    yield from _of_values("limited", recorded.limited, replayed.limited, terms)
    if terms.is_exact:
        limits = (
            tuple(limit.name for limit in each.active_limits) for each in (recorded, replayed)
        )
        yield from _unequal("active_limits", *limits)
    yield from _of_horizons(recorded, replayed, terms)


def largest_difference(recorded: Command, replayed: Command) -> dict[str, float]:
    """Return how far the raw values of each head are apart."""
    return {
        name: abs(one - other)
        for name in _OF_PRECISIONS
        if (one := getattr(recorded.raw, name)) is not None
        and (other := getattr(replayed.raw, name)) is not None
    }


def _of_horizons(recorded: Command, replayed: Command, terms: Terms) -> Iterator[Difference]:
    one, other = recorded.horizon, replayed.horizon
    if one is None or other is None:
        yield from _unequal("horizon", _presence(one is not None), _presence(other is not None))
        return
    yield from _unequal("horizon.steps", len(one.steps), len(other.steps))
    for at, (step, again) in enumerate(zip(one.steps, other.steps, strict=False)):
        yield from _unequal(f"horizon.steps[{at}].after_ms", step.after_ms, again.after_ms)
        yield from _of_values(f"horizon.steps[{at}].limited", step.limited, again.limited, terms)
    yield from _of_values("horizon.last_raw", one.last_raw, other.last_raw, terms)


def _presence(is_there: bool) -> str:  # noqa: FBT001
    return "there" if is_there else "absent"


def _of_values(
    name: str, recorded: ControlValues, replayed: ControlValues, terms: Terms
) -> Iterator[Difference]:
    for head in ControlValues.__dataclass_fields__:
        one, other = getattr(recorded, head), getattr(replayed, head)
        if one is None or other is None:
            yield from _unequal(f"{name}.{head}", one, other)
        elif not _is_near(one, other, _allowed(head, terms)):
            yield Difference(f"{name}.{head}", repr(one), repr(other))


def _allowed(head: str, terms: Terms) -> float:
    if terms.is_exact:
        return 0.0
    return ROUNDING if terms.same_precision else _OF_PRECISIONS.get(head, math.inf)


def _is_near(one: float, other: float, allowed: float) -> bool:
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return one == other or abs(one - other) <= allowed


def _unequal(field: str, recorded: object, replayed: object) -> Iterator[Difference]:
    if recorded != replayed:
        yield Difference(field, str(recorded), str(replayed))
