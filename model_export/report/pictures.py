"""The pictures of the models' page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from model_export.evaluation.unseen import REAL, TRACES
from model_export.report.accuracy import LEVELS
from model_export.report.diagram import draw, save
from model_export.report.evidence import Evidence
from model_export.report.page import CALIBRATION
from steerstream_bundle.contract import SPEED, STEERING_TORQUE, STEERING_WHEEL_ANGLE

_PANELS = (
    (REAL, STEERING_WHEEL_ANGLE, "angle, real drive"),
    (TRACES, SPEED, "speed, HMB_1, rendered"),
    (TRACES, STEERING_TORQUE, "torque, HMB_1, rendered"),
)


def write(evidence: Sequence[Evidence], folder: Path) -> None:
    """Draw every bundle's architecture, and the calibration of them all."""
    folder.mkdir(parents=True, exist_ok=True)
    for found in evidence:
        draw(found.architecture, folder / f"{found.name}.svg")
    _draw_calibration(evidence, folder / CALIBRATION)


def _draw_calibration(evidence: Sequence[Evidence], path: Path) -> None:
    figure = Figure(figsize=(11, 4), layout="constrained")
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    for axes, (source, head, title) in zip(panels, _PANELS, strict=True):
        _draw_panel(axes, evidence, source, head)
        axes.set(title=title, xlabel="share that is to lie within", xlim=(0, 1), ylim=(0, 1))
    panels[0].set_ylabel("share of errors that does")
    panels[0].legend(loc="upper left")
    save(figure, path)


def _draw_panel(axes: Axes, evidence: Sequence[Evidence], source: str, head: str) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle=":", label="right")
    for found in evidence:
        covered = found.heads(source).get(head, {}).get("covered")
        if covered:
            axes.plot(LEVELS, covered, marker=".", label=found.name)
    axes.grid(alpha=0.3)
