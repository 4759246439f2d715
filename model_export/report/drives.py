"""The table of the closed loop."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from model_export.report import cells
from model_export.report.evidence import Evidence
from reports.text import number, table


def closed_loop(evidence: Sequence[Evidence]) -> str:
    """Return how each bundle drove the ten roads, with each delay."""
    columns = ["network", "delay", "autonomy", "least", "interventions", "error, mean", "largest"]
    return table(
        columns,
        (
            [f"`{found.name}`", _delay(delay_ms), *_driven(drives)]
            for found in evidence
            for delay_ms, drives in found.drives().items()
        ),
    )


def _delay(delay_ms: float | None) -> str:
    return "as it was" if delay_ms is None else f"{delay_ms:g} ms"


def _driven(drives: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    def of(key: str, over: Callable[[Iterable[float]], float]) -> float:
        return over([drive[key] for drive in drives])

    yield cells.percent(of("autonomy_percent", statistics.mean))
    yield cells.percent(of("autonomy_percent", min))
    yield number(of("interventions", sum))
    yield f"{of('lateral_error_mean_m', statistics.mean):.2f} m"
    yield f"{of('lateral_error_max_m', max):.2f} m"
