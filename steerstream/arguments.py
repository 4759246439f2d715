"""Checks of what callers pass in, so that a wrong value is named before anything is changed."""

from __future__ import annotations

import enum
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
        raise BadRequest(f"{name} must be a whole number, not {shown(value)}{advice}")
    number = int(value)
    if not low <= number <= high:
        raise BadRequest(f"{name} must be {low} to {high}, not {shown(number)}{advice}")
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
        raise BadRequest(f"{name} must be a number, not {shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and low <= number <= high):
        bounds = "" if math.isinf(low) else f", {low:g} or more"
        if math.isfinite(high):
            bounds = f", {low:g} to {high:g}"
        raise BadRequest(f"{name} must be finite{bounds}, not {shown(value)}")
    return number


def instance(name: str, value: object, *kinds: type) -> None:
    """Check the type of an argument.

    Args:
        name: the argument's name, for the error's text.
        value: what was passed.
        *kinds: the classes of which it must be one.

    Raises:
        BadRequest: it is of another type.
    """
    if not isinstance(value, kinds):
        names = " or ".join(map(_shown_kind, kinds))
        raise BadRequest(f"{name} must be {names}, not {shown(value)}")


def _shown_kind(kind: type) -> str:
    """Return a class's name, or what an enumeration has, for an error's text."""
    if issubclass(kind, enum.Enum):
        return " or ".join(f"{kind.__name__}.{member.name}" for member in kind)
    return kind.__name__


def shown(value: object) -> str:
    """Return a value for an error's text: short, and whatever the value is."""
    try:
        return f"{value!r:.80}"
    except Exception:  # noqa: BLE001 - Python refuses to write out long whole numbers, for one
        return f"a value of type {type(value).__name__}"
