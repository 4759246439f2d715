"""The figures of an examination: plain values for a JSON file, and a table for people."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from model_export.training.health.examination import Examination
from model_export.training.health.gradients import STEPS


def summary(examination: Examination) -> dict[str, Any]:
    """Return all figures as plain values.

    Moments are told by their frame and error; the labels themselves stay where the data is.
    """
    return {
        "run": examination.name,
        "network": examination.config.network.kind,
        "drive": examination.source,
        "frames": len(examination.judged.predicted.mean),
        "rmse_rad": examination.rmse_rad,
        "gradients": [flow.summary() for flow in examination.flows],
        "units": [layer.summary() for layer in examination.layers],
        "gates": [use.summary() for use in examination.gates],
        "training": _stages(examination),
        "moments": [
            {
                "frame": moment.frame,
                "error_rad": moment.error_rad,
                "stddev_rad": moment.stddev_rad,
            }
            for moment in examination.moments
        ],
        "moments_share_of_squared_error": examination.share_of_error,
    }


def lines(examination: Examination) -> Iterator[str]:
    """Return the printed tables."""
    found = summary(examination)
    yield (
        f"{found['run']}: {found['network']} on {found['frames']} frames of {found['drive']}; "
        f"steering RMSE {found['rmse_rad']:.4f} rad"
    )
    yield from _gradients(found)
    yield from _units(found)
    yield from _gates(found)
    yield from _training(found)
    yield from _moments(found)


def _stages(examination: Examination) -> list[dict[str, Any]]:
    """Return what each stage of the training came to."""
    by_stage = itertools.groupby(examination.entries, key=lambda entry: entry["stage"])
    return [_stage(name, list(entries)) for name, entries in by_stage]


def _stage(name: str, entries: list[Mapping[str, Any]]) -> dict[str, Any]:
    best = min(entries, key=lambda entry: entry["score"])
    return {
        "stage": name,
        "last_step": entries[-1]["step"],
        "greatest_learning_rate": max(entry["learning_rate"] for entry in entries),
        "first_loss": entries[0]["loss"],
        "last_loss": entries[-1]["loss"],
        "last_score": entries[-1]["score"],
        "best_score": best["score"],
        "best_step": best["step"],
    }


def _gradients(found: Mapping[str, Any]) -> Iterator[str]:
    if not found["gradients"]:
        yield "gradient by time step: no recurrent cells"
        return
    titles = f"{'windows':>7} {'steps':>5} {'a step':>7} {f'in {STEPS}':>9}"
    yield f"{'gradient by time step':32} {titles}"
    for flow in found["gradients"]:
        decay = flow["decay_per_step"]
        yield (
            f"  {flow['cell'] + ' ' + flow['tensor']:30} {flow['windows']:7} {flow['steps']:5} "
            f"{decay:7.3f} {decay**STEPS:9.1e}  {flow['verdict']}"
        )


def _units(found: Mapping[str, Any]) -> Iterator[str]:
    if not found["units"]:
        yield "units that never fire: no rectified layers"
        return
    yield f"{'units that never fire':46} {'dead':>5} {'units':>5} {'share':>7} {'firing':>7}"
    for layer in found["units"]:
        share = layer["dead"] / layer["units"]
        yield (
            f"  {layer['layer'] + ', ' + layer['rectifier']:44} {layer['dead']:5} "
            f"{layer['units']:5} {share:7.1%} {layer['firing']:7.1%}"
        )


def _gates(found: Mapping[str, Any]) -> Iterator[str]:
    if found["gates"]:
        yield f"{'saturation of gates':46} {'< 0.05':>7} {'> 0.95':>7}"
    for use in found["gates"]:
        yield f"  {use['cell'] + ' ' + use['gate']:44} {use['low']:7.1%} {use['high']:7.1%}"


def _training(found: Mapping[str, Any]) -> Iterator[str]:
    titles = f"{'steps':>7} {'rate':>8} {'loss':>17} {'score':>8} {'best':>8} {'at':>7}"
    yield f"{'training':20} {titles}"
    for stage in found["training"]:
        loss = f"{stage['first_loss']:.4f}-{stage['last_loss']:.4f}"
        yield (
            f"  {stage['stage']:18} {stage['last_step']:7} {stage['greatest_learning_rate']:8.1e} "
            f"{loss:>17} {stage['last_score']:8.4f} {stage['best_score']:8.4f} "
            f"{stage['best_step']:7}"
        )


def _moments(found: Mapping[str, Any]) -> Iterator[str]:
    moments = found["moments"]
    yield (
        f"worst {len(moments)} moments hold {found['moments_share_of_squared_error']:.0%} of the "
        "squared error; frame and error in rad:"
    )
    for first in range(0, len(moments), 5):
        row = moments[first : first + 5]
        yield "  " + "  ".join(f"{item['frame']:5} {item['error_rad']:+.3f}" for item in row)
