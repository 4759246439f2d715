"""Names and figures as they stand in the tables of the models' page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from model_export.report.evidence import Evidence
from reports.text import ABSENT
from steerstream_bundle.contract import SPEED, STEERING_TORQUE, STEERING_WHEEL_ANGLE, UNITS

HEADS = {STEERING_WHEEL_ANGLE: "angle", SPEED: "speed", STEERING_TORQUE: "torque"}


def figure(rmse: float | None, head: str) -> str:
    """Return an error with its head's unit."""
    return ABSENT if rmse is None else f"{rmse:.3f} {UNITS[head]}"


def row(name: str, heads: Sequence[str], rmses: Mapping[str, float]) -> list[str]:
    """Return a table's row: a predictor's errors, head by head.

    Args:
        name: of the predictor.
        heads: the columns.
        rmses: its errors by head, in the head's unit; a head that is absent stays empty.
    """
    return [name, *(figure(rmses.get(head), head) for head in heads)]


def percent(value: float | None) -> str:
    """Return a share to a tenth."""
    return ABSENT if value is None else f"{value:.1f} %"


def took(found: Evidence, batch: int) -> str:
    """Return the median time of a frame in batches of a size."""
    if found.speed is None:
        return ABSENT
    return f"{found.speed['results'][f'batch_{batch}_ms']['median']:.2f} ms"
