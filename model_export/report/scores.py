"""The tables of errors: on every source, within predicted intervals, and where frames are lost."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from model_export.data import udacity_ch2
from model_export.evaluation.unseen import REAL
from model_export.report import cells
from model_export.report.evidence import Evidence
from reports.text import ABSENT, table
from steerstream_bundle.contract import STEERING_WHEEL_ANGLE

WINNERS = {
    "Komanda, 1st of Udacity's Challenge 2": 0.0512,
    "Rambo, 2nd": 0.0560,
    "Chauffeur, 3rd": 0.0572,
}
"""RMSE in radians on the challenge's private test frames, from its leaderboard."""

NOMINAL = {"coverage_68": "68 %", "coverage_95": "95 %"}


def steering(evidence: Sequence[Evidence]) -> str:
    """Return the steering's errors on the real drive, between the simplest and the winners."""
    rows = [*_plain_rows(evidence, REAL, [STEERING_WHEEL_ANGLE])]
    rows = [[*row, ABSENT] for row in rows]
    rows += [
        [f"**`{found.name}`**", cells.figure(found.rmse(REAL), STEERING_WHEEL_ANGLE), seeds(found)]
        for found in evidence
    ]
    rows += [
        [f"{name}, with eight times the data", cells.figure(rmse, STEERING_WHEEL_ANGLE), ABSENT]
        for name, rmse in WINNERS.items()
    ]
    return table(["predictor", "RMSE", "all seeds"], rows)


def errors(evidence: Sequence[Evidence], source: str) -> str:
    """Return the errors of all heads on a source, beside predictors that see no road."""
    heads = list(cells.HEADS)
    rows = [*_plain_rows(evidence, source, heads)]
    rows += [cells.row(f"**`{found.name}`**", heads, _rmses(found, source)) for found in evidence]
    return table(["predictor", *cells.HEADS.values()], rows)


def _plain_rows(
    evidence: Sequence[Evidence], source: str, heads: Sequence[str]
) -> Iterator[list[str]]:
    """Yield the rows of predictors without a network; they are the same beside every bundle."""
    found = next((item for item in evidence if item.accuracy), None)
    if found is None or found.accuracy is None:
        return
    scores = found.heads(source)
    for name, key in (("always zero", "rmse_zero"), ("always the training mean", "rmse_mean")):
        yield cells.row(name, heads, {head: scores[head][key] for head in scores})
    linear = found.accuracy["results"]["sources"][source].get("rmse_linear")
    if linear:
        yield cells.row("a line through true angle, its rate and speed", heads, linear)


def coverage(evidence: Sequence[Evidence], source: str) -> str:
    """Return the share of errors within the intervals that are to hold 68 % and 95 % of them."""
    heads = [head for head in cells.HEADS if any(head in found.heads(source) for found in evidence)]
    columns = [f"{cells.HEADS[head]}, {text}" for head in heads for text in NOMINAL.values()]

    def shares(found: Evidence) -> Iterator[str]:
        for head in heads:
            said = found.heads(source).get(head, {}).get("calibration", {})
            for key in NOMINAL:
                yield cells.percent(100 * said[key] if key in said else None)

    return table(["network", *columns], ([f"`{found.name}`", *shares(found)] for found in evidence))


def losses(evidence: Sequence[Evidence], key: str) -> str:
    """Return the steering's error where frames are lost, and by how much that is worse.

    Args:
        evidence: of all bundles.
        key: `rmse` over the frames that are shown, `rmse_held` over all.
    """
    measured = [found for found in evidence if found.accuracy]
    if not measured:
        return ABSENT
    names = [_loss_name(loss) for loss in measured[0].losses]
    return table(
        ["network", "told the interval", *names],
        ([f"`{found.name}`", _told(found), *_loss_cells(found, key)] for found in measured),
    )


def _told(found: Evidence) -> str:
    return "yes" if found.architecture.contract.interval_tensor else "no"


def _loss_name(loss: Mapping[str, Any]) -> str:
    if loss["rate_hz"] is not None:
        return f"{loss['rate_hz']:g} Hz"
    return f"{loss['drop']:.0%} lost" if loss["drop"] else "all"


def _loss_cells(found: Evidence, key: str) -> Iterator[str]:
    whole, *lossy = (loss[key] for loss in found.losses)
    yield f"{whole:.4f}"
    for rmse in lossy:
        yield f"{rmse:.4f} ({rmse / whole - 1:+.0%})"


def seeds(found: Evidence) -> str:
    """Return the mean over all seeds that were trained, and each in the seeds' order."""
    rmses = found.seeds(udacity_ch2.NAME)
    each = ", ".join(f"{rmse:.3f}" for rmse in rmses)
    return f"{statistics.mean(rmses):.3f} ({each})" if rmses else ABSENT


def _rmses(found: Evidence, source: str) -> dict[str, float]:
    return {head: score["rmse"] for head, score in found.heads(source).items()}
