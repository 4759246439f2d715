"""Figures and tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

ABSENT = "-"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table: names to the left, figures to the right."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ms(value: float | None) -> str:
    """Return milliseconds with their unit, to three digits or so."""
    if value is None:
        return ABSENT
    return f"{value:.2f} ms" if value < 9.995 else f"{value:.1f} ms"


def percent(value: float | None) -> str:
    """Return a percentage that does not round a miss to none."""
    if value is None:
        return ABSENT
    return f"{value:.2f} %" if value == 0 or value >= 0.1 else f"{value:.4f} %"


def number(value: float | None, digits: int = 0) -> str:
    """Return a number with its thousands apart."""
    return ABSENT if value is None else f"{value:,.{digits}f}"


def counts(values: Mapping[str, int]) -> str:
    """Return what is not zero by name, largest first."""
    found = sorted(values.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {count:,}" for name, count in found if count) or "none"
