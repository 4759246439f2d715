"""Latency by stage for a number of vehicles at a camera's rate."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from benchmark import load

PERCENTILES = {"p50": 50.0, "p99": 99.0, "p99_9": 99.9}


class Summary(TypedDict):
    """The figures of one load, ready for JSON."""

    sessions: int
    rate_hz: float
    budget_ms: float
    frames: int
    commands: int
    skipped: dict[str, int]
    missed: int
    missed_percent: float
    latency_ms: dict[str, dict[str, float]]


def measure(target: str, item: load.Load) -> Summary:
    """Run one load against a server and return its figures."""
    return summarise(item, asyncio.run(load.run(target, item)))


def summarise(item: load.Load, samples: load.Samples) -> Summary:
    """Return one load's figures: counts, misses of the budget, and percentiles by stage in ms.

    A miss is a frame whose command came later than the budget, counted from when the frame was
    due, or that got no command at all.
    """
    round_trips = np.array(samples.stages_ms["round_trip"])
    skipped = sum(samples.skipped.values())
    missed = int((round_trips > item.budget_ms).sum()) + skipped
    return {
        "sessions": item.sessions,
        "rate_hz": item.rate_hz,
        "budget_ms": item.budget_ms,
        "frames": samples.sent,
        "commands": len(round_trips),
        "skipped": samples.skipped,
        "missed": missed,
        "missed_percent": 100 * missed / samples.sent if samples.sent else math.nan,
        "latency_ms": {stage: percentiles(values) for stage, values in samples.stages_ms.items()},
    }


def percentiles(values_ms: Sequence[float]) -> dict[str, float]:
    """Return the median, the tail and the largest latency, in ms; NaN if there are none."""
    if not values_ms:
        return dict.fromkeys((*PERCENTILES, "max"), math.nan)
    found = {
        name: float(np.percentile(values_ms, percent)) for name, percent in PERCENTILES.items()
    }
    return found | {"max": max(values_ms)}


def table(results: Sequence[Summary]) -> str:
    """Return the results as a Markdown table, as the README shows it."""
    lines = [
        "| vehicles | rate | round trip p50 | p99 | p99.9 | server p50 | infer p50 | missed |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    return "\n".join([*lines, *(_row(result) for result in results)])


def _row(result: Summary) -> str:
    latency = result["latency_ms"]
    cells = [
        str(result["sessions"]),
        f"{result['rate_hz']:g} Hz",
        *(f"{latency['round_trip'][name]:.1f} ms" for name in PERCENTILES),
        f"{latency['server']['p50']:.1f} ms",
        f"{latency['infer']['p50']:.1f} ms",
        f"{result['missed_percent']:.2f} %",
    ]
    return f"| {' | '.join(cells)} |"
