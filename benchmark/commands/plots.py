"""Pictures of results. Matplotlib is imported where one is drawn; nothing else here needs it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.errors import BenchmarkError

_SIZE_INCHES = (7.0, 3.6)
_NAMES = {"p50": "50", "p90": "90", "p99": "99", "p99_9": "99.9", "p99_99": "99.99", "max": "100"}


def percentiles(path: Path, lines: Mapping[str, Mapping[str, float | None]], unit: str) -> None:
    """Draw one line of percentiles for each name.

    Args:
        path: where to, ending in `.svg` or `.png`.
        lines: summaries of histograms, by name.
        unit: the values' axis.
    """
    figure, axes = _figure()
    for name, summary in lines.items():
        shown = {key: value for key, value in summary.items() if value is not None}
        axes.plot([_NAMES[key] for key in shown], list(shown.values()), marker="o", label=name)
    axes.set(xlabel="percent of frames", ylabel=unit, ylim=(0, None))
    _save(figure, axes, path)


def curves(
    path: Path,
    x: Sequence[float],
    lines: Mapping[str, Sequence[float | None]],
    *,
    labels: tuple[str, str],
    level: tuple[float, str] | None = None,
) -> None:
    """Draw values over one axis, a line for each name.

    Args:
        path: where to, ending in `.svg` or `.png`.
        x: the axis' values.
        lines: values, by name.
        labels: of the horizontal and the vertical axis.
        level: a dashed line at a value, with its name.
    """
    figure, axes = _figure()
    for name, values in lines.items():
        axes.plot(x, [float("nan") if v is None else v for v in values], marker="o", label=name)
    if level is not None:
        axes.axhline(level[0], color="0.5", linestyle="--", label=level[1])
    axes.set(xlabel=labels[0], ylabel=labels[1], ylim=(0, None))
    _save(figure, axes, path)


def bars(
    path: Path, groups: Sequence[str], values: Mapping[str, Sequence[float | None]], unit: str
) -> None:
    """Draw groups of bars, one bar in each group for each name.

    Args:
        path: where to, ending in `.svg` or `.png`.
        groups: names along the axis.
        values: one for each group, by name.
        unit: the values' axis.
    """
    figure, axes = _figure()
    width = 0.8 / max(len(values), 1)
    for place, (name, heights) in enumerate(values.items()):
        at = [group + (place - (len(values) - 1) / 2) * width for group in range(len(groups))]
        axes.bar(at, [height or 0.0 for height in heights], width, label=name)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylabel(unit)
    _save(figure, axes, path)


def _figure() -> tuple[Any, Any]:
    figure = _matplotlib("matplotlib.figure").Figure(figsize=_SIZE_INCHES, layout="constrained")
    return figure, figure.add_subplot()


def _save(figure: Any, axes: Any, path: Path) -> None:  # noqa: ANN401
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    undated = {"metadata": {"Date": None}} if path.suffix == ".svg" else {}
    # The same file for the same figures, whatever the day.
    settings = {"svg.hashsalt": "steerstream", "svg.fonttype": "none"}
    with _matplotlib("matplotlib").rc_context(settings):
        figure.savefig(path, dpi=110, **undated)


def _matplotlib(module: str) -> Any:  # noqa: ANN401
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise BenchmarkError(
            "pictures need matplotlib; install it with: pip install matplotlib"
        ) from None
