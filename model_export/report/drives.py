"""The tables of the closed loops."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from model_export.evaluation.unseen import REAL
from model_export.report import cells
from model_export.report.evidence import Evidence
from reports.text import ABSENT, number, table
from steerstream_bundle.contract import STEERING_WHEEL_ANGLE


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


def on_pictures(evidence: Sequence[Evidence]) -> str:
    """Return how each bundle drove on the real drive's pictures, with each delay."""
    columns = ["network", "delay", "told", "autonomy", "put back", "departures", "error", "largest"]
    return table(
        columns,
        (
            [
                f"`{found.name}`",
                _delay(drive["delay_ms"]),
                "yes" if drive["told"] else "no",
                cells.percent(drive["autonomy_percent"]),
                number(drive["interventions"]),
                number(drive["lane_departures"]),
                f"{drive['lateral_error_mean_m']:.2f} m",
                f"{drive['lateral_error_max_m']:.2f} m",
            ]
            for found in evidence
            for drive in found.recorded_drives
        ),
    )


def costs(evidence: Sequence[Evidence], world: str, *, speeds: bool) -> str:
    """Return what each link, or each speed, cost each bundle in a world.

    Args:
        evidence: the bundles.
        world: where they drove.
        speeds: whether the columns are speeds; otherwise they are links.
    """
    driven = {
        found.name: {
            name: case
            for name, case in found.cases(world).items()
            if (case["speed_mps"] is not None) is speeds
        }
        for found in evidence
    }
    columns = list(dict.fromkeys(name for cases in driven.values() for name in cases))
    return table(
        ["network", *columns],
        (
            [f"`{network}`", *(_cost(cases[name]) if name in cases else ABSENT for name in columns)]
            for network, cases in driven.items()
            if cases
        ),
    )


def _cost(case: Mapping[str, Any]) -> str:
    return (
        "{lateral_error_mean_m:.2f} / {lateral_error_max_m:.2f} m, {lane_departures}, "
        "{autonomy_percent:.0f} %".format(**case)
    )


def lenses(evidence: Sequence[Evidence]) -> str:
    """Return how each bundle that was measured so drove with other cameras."""
    columns = ["network", "lens", "picture", "autonomy", "least", "put back", "error", "largest"]
    return table(
        columns,
        (
            [
                f"`{found.name}`",
                _lens(drive),
                "{}x{}".format(*drive["image_size_px"]),
                cells.percent(drive["autonomy_percent"]),
                cells.percent(drive["autonomy_least_percent"]),
                number(drive["interventions"]),
                f"{drive['lateral_error_mean_m']:.2f} m",
                f"{drive['lateral_error_max_m']:.2f} m",
            ]
            for found in evidence
            for drive in (found.lenses["results"] if found.lenses else ())
        ),
    )


def _lens(drive: Mapping[str, Any]) -> str:
    angle = f"{drive['fov_deg']:g} degrees"
    if not drive["distortion"]:
        return angle
    coefficients = ", ".join(f"{each:g}" for each in drive["distortion"])
    return f"{angle}, {drive['lens'].replace('_', '-')} ({coefficients})"


def ranks(evidence: Sequence[Evidence]) -> str:
    """Return the order by open-loop error beside that of the closed loop, the best driver first."""
    errors = {found.name: found.rmse(REAL) for found in evidence}
    put_back = {found.name: found.put_back for found in evidence}
    read, driven = _places(errors), _places(put_back)
    columns = ["network", "steering, real", "reads as number", "put back", "drives as number"]
    return table(
        columns,
        (
            [
                f"`{name}`",
                cells.figure(errors[name], STEERING_WHEEL_ANGLE),
                number(read.get(name)),
                number(put_back[name]),
                number(place),
            ]
            for name, place in sorted(driven.items(), key=lambda item: item[1])
        ),
    )


def _places(values: Mapping[str, float | None]) -> dict[str, int]:
    """Return the place of each by its value, the least first; who was not measured has none."""
    known = {name: value for name, value in values.items() if value is not None}
    return {
        name: 1 + sum(other < value for other in known.values()) for name, value in known.items()
    }


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
