"""Checks of what callers pass in, so that a wrong value is named before anything is changed."""

from __future__ import annotations

import math
import numbers

from steerstream.errors import BadRequest


def whole_number(name: str, value: object, *, low: int, high: int, hint: str = "") -> int:
    """Return a whole number within its range.

    Args:
        name: the argument's name, for the error's text.
        value: what was passed.
        low: the least value that is allowed.
        high: the greatest value that is allowed.
        hint: what to do, for the error's text.

    Raises:
        BadRequest: it is no whole number, or out of its range.
    """
    advice = f"; {hint}" if hint else ""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise BadRequest(f"{name} must be a whole number, not {value!r}{advice}")
    number = int(value)
    if not low <= number <= high:
        raise BadRequest(f"{name} must be {low} to {high}, not {number}{advice}")
    return number


def finite_number(
    name: str, value: object, *, low: float = -math.inf, high: float = math.inf
) -> float:
    """Return a finite number within its range.

    Args:
        name: the argument's name, for the error's text.
        value: what was passed.
        low: the least value that is allowed, in the argument's unit.
        high: the greatest value that is allowed, in the argument's unit.

    Raises:
        BadRequest: it is no number, not finite, or out of its range.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise BadRequest(f"{name} must be a number, not {value!r}")
    number = float(value)
    if not (math.isfinite(number) and low <= number <= high):
        bounds = "" if math.isinf(low) else f", {low:g} or more"
        if math.isfinite(high):
            bounds = f", {low:g} to {high:g}"
        raise BadRequest(f"{name} must be finite{bounds}, not {number:g}")
    return number


def instance(name: str, value: object, kind: type) -> None:
    """Check the type of an argument.

    Args:
        name: the argument's name, for the error's text.
        value: what was passed.
        kind: the class that it must be of.

    Raises:
        BadRequest: it is of another type.
    """
    if not isinstance(value, kind):
        raise BadRequest(f"{name} must be {kind.__name__}, not {value!r}")
