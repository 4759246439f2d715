"""A picture of a drive: steering over time, as the network says it and as it was recorded."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from steerstream import whole_file
from steerstream.answers import Command, ControlValues, FrameAnswer
from steerstream.errors import OutputLost
from steerstream.extras import package

_SIZE_IN, _DOTS_PER_IN = (12.0, 4.5), 100
_PREDICTED, _RECORDED, _BREAK = "#1f77b4", "#e67e22", "#999999"
_MAX_BREAK_LINES = 60
"""More of them would hide the curves."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Moment:
    number: int
    time_s: float
    starts_anew: bool
    predicted_rad: float
    recorded_rad: float


class SteeringPlot:
    """Collects a drive and draws it.

    Args:
        path: a PNG file.
        title: what stands above it.

    Raises:
        MissingExtra: Matplotlib is not installed.
    """

    def __init__(self, path: Path, title: str) -> None:
        self._figure = package("matplotlib.figure", extra="sim", purpose="--plot").Figure
        self._path, self._title = path, title
        self._moments: list[_Moment] = []

    def add(
        self,
        answer: FrameAnswer,
        *,
        time_s: float,
        starts_anew: bool,
        truth: ControlValues | None,
    ) -> None:
        """Add a frame.

        Args:
            answer: what came for it.
            time_s: seconds since the drive began; missing stretches of a recording take none.
            starts_anew: whether the state began again before it.
            truth: its labels; None if there are none.
        """
        angle = answer.raw.steering_wheel_angle_rad if isinstance(answer, Command) else None
        recorded = truth.steering_wheel_angle_rad if truth is not None else None
        self._moments.append(
            _Moment(answer.sequence_number, time_s, starts_anew, _or_nan(angle), _or_nan(recorded))
        )

    def save(self) -> None:
        """Write the file.

        Raises:
            OutputLost: it cannot be written.
        """
        try:
            with whole_file.replacing(self._path) as part:
                self.draw().savefig(part, format="png")
        except OSError as error:
            raise OutputLost(f"cannot write {self._path}: {error.strerror}") from error

    def draw(self) -> Any:  # noqa: ANN401
        """Return the picture, a figure of Matplotlib's."""
        drawing = self._figure(figsize=_SIZE_IN, dpi=_DOTS_PER_IN, layout="constrained")
        axes = drawing.add_subplot()
        moments = sorted(self._moments, key=lambda moment: moment.number)
        breaks = [moment.time_s for moment in moments if moment.starts_anew]
        if len(breaks) <= _MAX_BREAK_LINES:
            for index, time_s in enumerate(breaks):
                label = "" if index else "break: the state begins again"
                axes.axvline(time_s, color=_BREAK, linewidth=0.8, linestyle=":", label=label)
        recorded = [moment.recorded_rad for moment in moments]
        if not all(map(math.isnan, recorded)):
            self._line(axes, moments, recorded, color=_RECORDED, label="recorded")
        predicted = [moment.predicted_rad for moment in moments]
        self._line(axes, moments, predicted, color=_PREDICTED, label="predicted")
        axes.axhline(0.0, color="black", linewidth=0.5)
        axes.set_title(self._title, loc="left", fontsize=10)
        axes.set_xlabel("time, s")
        axes.set_ylabel("steering wheel angle, rad (left positive)")
        axes.grid(alpha=0.3)
        axes.margins(x=0)
        axes.spines[["top", "right"]].set_visible(False)
        drawing.legend(loc="outside upper right", ncols=3, frameon=False, fontsize=9)
        return drawing

    def _line(
        self,
        axes: Any,  # noqa: ANN401
        moments: list[_Moment],
        values: list[float],
        **look: str,
    ) -> None:
        """Draw a curve that is interrupted at breaks."""
        times_s: list[float] = []
        shown: list[float] = []
        for moment, value in zip(moments, values, strict=True):
            if moment.starts_anew:
                times_s.append(moment.time_s)
                shown.append(math.nan)
            times_s.append(moment.time_s)
            shown.append(value)
        axes.plot(times_s, shown, linewidth=1.2, **look)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
