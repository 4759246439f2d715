"""The tables of the models' page: each takes the evidence and returns Markdown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from model_export.data import udacity_ch2
from model_export.report.accuracy import REAL
from model_export.report.evidence import Evidence
from model_export.report.rendered import ROADS, TRACES
from reports.text import ABSENT, number, table
from service.contract import SPEED, STEERING_TORQUE, STEERING_WHEEL_ANGLE, UNITS

WINNERS = {
    "Komanda, 1st of Udacity's Challenge 2": 0.0512,
    "Rambo, 2nd": 0.0560,
    "Chauffeur, 3rd": 0.0572,
}
"""RMSE in radians on the challenge's private test frames, from its leaderboard."""

SOURCES = {
    REAL: "the real drive HMB_3, the four validation blocks",
    TRACES: "HMB_1, a real trace behind a rendered camera, kept out of all training",
    ROADS: "rendered drives of the expert on roads that no training saw",
}
HEADS = {STEERING_WHEEL_ANGLE: "angle", SPEED: "speed", STEERING_TORQUE: "torque"}
NOMINAL = {"coverage_68": "68 %", "coverage_95": "95 %"}


def overview(evidence: Sequence[Evidence]) -> str:
    """Return what one looks for first, a row for each bundle."""
    columns = [
        "network",
        "remembers",
        "parameters",
        "size",
        "a frame",
        "steering, real",
        "autonomy",
    ]
    return table(columns, map(_overview_row, evidence))


def _overview_row(found: Evidence) -> list[str]:
    return [
        f"`{found.name}`",
        state(found),
        number(found.origin.get("parameters")),
        f"{found.size_bytes / 1e6:.2f} MB",
        _took(found, 1),
        _figure(found.rmse(REAL), STEERING_WHEEL_ANGLE),
        _autonomy(found),
    ]


def _autonomy(found: Evidence) -> str:
    """Return the mean autonomy with every delay that was driven, the shortest first."""
    delays = sorted(delay_ms for delay_ms in found.drives() if delay_ms is not None)
    means = [found.autonomy_percent(delay_ms) for delay_ms in delays]
    return (
        " / ".join(f"{mean:.0f}" for mean in means if mean is not None) + " %" if means else ABSENT
    )


def state(found: Evidence) -> str:
    """Return what a bundle remembers, by kind and in numbers."""
    sizes: dict[str, int] = {}
    for pair in found.architecture.contract.state:
        kind = str(pair.kind).replace("_", " ")
        sizes[kind] = sizes.get(kind, 0) + math.prod(pair.shape)
    return ", ".join(f"{kind} {size:,}" for kind, size in sizes.items()) or "none"


def cost(evidence: Sequence[Evidence]) -> str:
    """Return size and milliseconds a frame."""
    columns = ["network", "parameters", "size", "batch 1", "batch 16"]
    return table(
        columns,
        (
            [
                f"`{found.name}`",
                number(found.origin.get("parameters")),
                f"{found.size_bytes / 1e6:.2f} MB",
                _took(found, 1),
                _took(found, 16),
            ]
            for found in evidence
        ),
    )


def steering(evidence: Sequence[Evidence]) -> str:
    """Return the steering's errors on the real drive, between the simplest and the winners."""
    rows = [*_plain_rows(evidence, REAL, [STEERING_WHEEL_ANGLE])]
    rows = [[*row, ABSENT] for row in rows]
    rows += [
        [f"**`{found.name}`**", _figure(found.rmse(REAL), STEERING_WHEEL_ANGLE), _seeds(found)]
        for found in evidence
    ]
    rows += [
        [f"{name}, with eight times the data", _figure(rmse, STEERING_WHEEL_ANGLE), ABSENT]
        for name, rmse in WINNERS.items()
    ]
    return table(["predictor", "RMSE", "all seeds"], rows)


def errors(evidence: Sequence[Evidence], source: str) -> str:
    """Return the errors of all heads on a source, beside predictors that see no road."""
    heads = list(HEADS)
    rows = [*_plain_rows(evidence, source, heads)]
    rows += [_row(f"**`{found.name}`**", heads, _rmses(found, source)) for found in evidence]
    return table(["predictor", *HEADS.values()], rows)


def _plain_rows(
    evidence: Sequence[Evidence], source: str, heads: Sequence[str]
) -> Iterator[list[str]]:
    """Yield the rows of predictors without a network; they are the same beside every bundle."""
    found = next((item for item in evidence if item.accuracy), None)
    if found is None or found.accuracy is None:
        return
    scores = found.heads(source)
    for name, key in (("always zero", "rmse_zero"), ("always the training mean", "rmse_mean")):
        yield _row(name, heads, {head: scores[head][key] for head in scores})
    linear = found.accuracy["results"]["sources"][source].get("rmse_linear")
    if linear:
        yield _row("a line through true angle, its rate and speed", heads, linear)


def coverage(evidence: Sequence[Evidence], source: str) -> str:
    """Return the share of errors within the intervals that are to hold 68 % and 95 % of them."""
    heads = [head for head in HEADS if any(head in found.heads(source) for found in evidence)]
    columns = [f"{HEADS[head]}, {text}" for head in heads for text in NOMINAL.values()]

    def cells(found: Evidence) -> Iterator[str]:
        for head in heads:
            said = found.heads(source).get(head, {}).get("calibration", {})
            for key in NOMINAL:
                yield _percent(100 * said[key] if key in said else None)

    return table(["network", *columns], ([f"`{found.name}`", *cells(found)] for found in evidence))


def losses(evidence: Sequence[Evidence], key: str) -> str:
    """Return the steering's error where frames are lost, and by how much that is worse.

    Args:
        evidence: of all bundles.
        key: ``rmse`` over the frames that are shown, ``rmse_held`` over all.
    """
    measured = [found for found in evidence if found.accuracy]
    if not measured:
        return ABSENT
    names = [_loss_name(loss) for loss in _losses(measured[0])]
    return table(
        ["network", "told the interval", *names],
        ([f"`{found.name}`", _told(found), *_loss_cells(found, key)] for found in measured),
    )


def _losses(found: Evidence) -> Sequence[Mapping[str, Any]]:
    return found.accuracy["results"]["losses"] if found.accuracy else ()


def _told(found: Evidence) -> str:
    return "yes" if found.architecture.contract.interval_tensor else "no"


def _loss_name(loss: Mapping[str, Any]) -> str:
    if loss["rate_hz"] is not None:
        return f"{loss['rate_hz']:g} Hz"
    return f"{loss['drop']:.0%} lost" if loss["drop"] else "all"


def _loss_cells(found: Evidence, key: str) -> Iterator[str]:
    whole, *lossy = (loss[key] for loss in _losses(found))
    yield f"{whole:.4f}"
    for rmse in lossy:
        yield f"{rmse:.4f} ({rmse / whole - 1:+.0%})"


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

    yield _percent(of("autonomy_percent", statistics.mean))
    yield _percent(of("autonomy_percent", min))
    yield number(of("interventions", sum))
    yield f"{of('lateral_error_mean_m', statistics.mean):.2f} m"
    yield f"{of('lateral_error_max_m', max):.2f} m"


def sources(evidence: Sequence[Evidence]) -> str:
    """Return what each bundle was trained on, as its metadata says."""
    columns = ["network", "source", "frames", "labels"]
    return table(
        columns,
        (
            [
                f"`{found.name}`",
                source.name,
                number(source.frames),
                ", ".join(HEADS[head] for head in source.heads) or ABSENT,
            ]
            for found in evidence
            for source in found.architecture.contract.provenance.sources
        ),
    )


def trainings(evidence: Sequence[Evidence]) -> str:
    """Return how long each training took, and what each seed reached."""
    return table(["network", "time", "seeds", "steering, real"], map(_training_row, evidence))


def _training_row(found: Evidence) -> list[str]:
    seconds, seeds = found.origin.get("seconds"), found.origin.get("seeds", ())
    names = [f"**{seed['seed']}**" if seed["ships"] else str(seed["seed"]) for seed in seeds]
    return [
        f"`{found.name}`",
        ABSENT if seconds is None else f"{seconds / 60:.0f} min",
        ", ".join(names) or ABSENT,
        _seeds(found),
    ]


def _seeds(found: Evidence) -> str:
    """Return the mean over all seeds that were trained, and each in the seeds' order."""
    seeds = found.seeds(udacity_ch2.NAME)
    each = ", ".join(f"{rmse:.3f}" for rmse in seeds)
    return f"{statistics.mean(seeds):.3f} ({each})" if seeds else ABSENT


def _rmses(found: Evidence, source: str) -> dict[str, float]:
    return {head: score["rmse"] for head, score in found.heads(source).items()}


def _row(name: str, heads: Sequence[str], rmses: Mapping[str, float]) -> list[str]:
    return [name, *(_figure(rmses.get(head), head) for head in heads)]


def _figure(rmse: float | None, head: str) -> str:
    return ABSENT if rmse is None else f"{rmse:.3f} {UNITS[head]}"


def _took(found: Evidence, batch: int) -> str:
    if found.speed is None:
        return ABSENT
    return f"{found.speed['results'][f'batch_{batch}_ms']['median']:.2f} ms"


def _percent(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.1f} %"
