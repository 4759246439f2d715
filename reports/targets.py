"""Measured figures beside their targets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reports import text


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure beside what it was to be."""

    what: str
    aim: float
    reached: float | None
    at_least: bool
    unit: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the aim was reached."""
        if self.reached is None:
            return False
        return self.reached >= self.aim if self.at_least else self.reached <= self.aim


def table(figures: Iterable[Figure]) -> str:
    """Return figures and targets as a Markdown table."""
    return text.table(["figure", "target", "reached", ""], map(_row, figures))


def _row(figure: Figure) -> list[str]:
    sign = "at least" if figure.at_least else "at most"
    aim = f"{sign} {figure.aim:g}{figure.unit}"
    if figure.reached is None:
        return [figure.what, aim, text.ABSENT, "not measured"]
    met = "reached" if figure.is_met else "**short**"
    return [figure.what, aim, f"{figure.reached:.3g}{figure.unit}", met]
