"""The tables of what a bundle is and costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from model_export.evaluation.unseen import REAL
from model_export.export.reduced_precision.verdict import JUDGED_BATCH, LEAST_SPEED_RATIO
from model_export.report import cells
from model_export.report.evidence import Evidence
from reports.text import ABSENT, number, table
from steerstream_bundle.contract import STEERING_WHEEL_ANGLE, UNITS


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
        cells.took(found, 1),
        cells.figure(found.rmse(REAL), STEERING_WHEEL_ANGLE),
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


def optimized(evidence: Sequence[Evidence]) -> str:
    """Return what each bundle would be in FP16 and INT8, and whether that is accepted."""
    columns = ["network", "to", "RMSE, ratio", "frames/s, ratio", "size", "verdict"]
    return table(
        columns,
        (
            _optimized_row(found.name, one)
            for found in evidence
            for one in (found.optimized["results"] if found.optimized else ())
        ),
    )


def _optimized_row(name: str, judged: Mapping[str, Any]) -> list[str]:
    precision = judged["precision"]
    # A CPU computes FP16 in FP32 between casts: its speed says nothing of a GPU.
    raced = precision in LEAST_SPEED_RATIO
    return [
        f"`{name}`",
        precision,
        f"{_greatest(judged['rmse_ratio']):.3f}",
        f"{judged['speed_ratio'][str(JUDGED_BATCH)]:.3f}" if raced else ABSENT,
        f"{judged[precision]['size_bytes'] / 1e6:.2f} MB",
        judged["verdict"],
    ]


def _greatest(ratios: Mapping[str, Mapping[str, float]]) -> float:
    return max(ratio for heads in ratios.values() for ratio in heads.values())


def views(evidence: Sequence[Evidence]) -> str:
    """Return what each network's view costs on the wire and in accuracy, by source."""
    columns = ["network", "view", "frames", "kB a frame", "RMSE, ratio", "largest difference"]
    return table(
        columns,
        (
            [f"`{found.name}`", _view(found.view["results"]), *_view_cells(source, figures)]
            for found in evidence
            if found.view
            for source, figures in found.view["results"]["sources"].items()
        ),
    )


def _view(about: Mapping[str, Any]) -> str:
    encoding = about["encoding"].replace("_", " ")
    return f"{about['width_px']}x{about['height_px']} {encoding}, {about['jpeg_quality']}"


def _view_cells(source: str, figures: Mapping[str, Any]) -> list[str]:
    heads = figures["heads"]
    return [
        f"`{source}`, {figures['frames']:,}",
        f"{figures['frame_bytes'] / 1e3:.1f}",
        f"{max(head['rmse_ratio'] for head in heads.values()):.3f}",
        ", ".join(
            f"{head['largest_difference']:.3f} {UNITS[name]}" for name, head in heads.items()
        ),
    ]


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
                cells.took(found, 1),
                cells.took(found, 16),
            ]
            for found in evidence
        ),
    )
