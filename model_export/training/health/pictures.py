"""Pictures of an examination: gradients of one run or several, units and gates of one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from model_export.training.health.examination import Examination
from model_export.training.health.gates import BINS, GateUse
from model_export.training.health.gradients import GREATEST_CHANGE, STEPS, GradientFlow
from model_export.training.health.units import LayerFiring

_LEAST_DRAWN = 1e-9
_DEAD, _FIRING, _SATURATED, _REST = "#c0392b", "#1f77b4", "#c0392b", "#8fb4d3"


def draw_gradients(examinations: Sequence[Examination], path: Path) -> None:
    """Draw the gradient by time step of every cell of some runs into one PNG file.

    Lines are medians, bands hold the middle half of the windows. Beyond the dashed lines a
    gradient counts as vanishing or exploding.
    """
    figure = Figure(figsize=(10, 6), layout="constrained")
    axes = figure.subplots()
    colours = (f"C{index}" for index in itertools.count())
    for one in examinations:
        for _, flows in itertools.groupby(one.flows, key=lambda flow: flow.cell):
            colour = next(colours)
            for flow in flows:
                _draw_flow(axes, flow, one.name, colour)
    for change in (GREATEST_CHANGE, 1 / GREATEST_CHANGE):
        axes.plot([0, STEPS], [1, change], color="black", linestyle=(0, (6, 6)), linewidth=0.8)
    _say(axes, GREATEST_CHANGE, "exploding", above=True)
    _say(axes, 1 / GREATEST_CHANGE, "vanishing", above=False)
    axes.set(
        yscale="log",
        xlim=(0, STEPS),
        ylim=(_LEAST_DRAWN, 3 * GREATEST_CHANGE),
        xlabel="steps back from the last",
        ylabel="norm of the gradient of the last step's loss\nas a share of the last step's",
        title="How far back a network learns: the gradient with respect to each cell's state",
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9, loc="lower left")
    figure.savefig(path, dpi=110)


def draw_units(layers: Sequence[LayerFiring], name: str, path: Path) -> None:
    """Draw the share of dead units and of firing ones, layer by layer, into a PNG file.

    Args:
        layers: in the order in which they are drawn.
        name: of the run.
        path: the PNG file.
    """
    figure = Figure(figsize=(10, 1.4 + 0.3 * len(layers)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(layers))
    dead = [layer.dead / layer.units for layer in layers]
    axes.barh(places - 0.2, [layer.firing for layer in layers], 0.4, color=_FIRING)
    axes.barh(places + 0.2, dead, 0.4, color=_DEAD)
    for place, layer in zip(places, layers, strict=True):
        axes.text(
            layer.dead / layer.units + 0.005, place + 0.2, f"{layer.dead} of {layer.units}",
            va="center", fontsize=8, color=_DEAD if layer.dead else "grey",
        )  # fmt: skip
    axes.set_yticks(places, [f"{layer.layer}, {layer.rectifier}" for layer in layers], fontsize=9)
    axes.margins(y=0.02)
    axes.invert_yaxis()
    axes.set(
        xlim=(0, 1), xlabel="share", title=f"{name}: rectified units over the validation drive"
    )
    axes.legend(["values above zero", "units that never fire"], fontsize=9, loc="lower right")
    axes.grid(alpha=0.3, axis="x")
    figure.savefig(path, dpi=110)


def draw_gates(gates: Sequence[GateUse], name: str, path: Path) -> None:
    """Draw how the values of each gate are spread, one row a cell, into a PNG file.

    Args:
        gates: cell by cell.
        name: of the run.
        path: the PNG file.
    """
    rows = [list(uses) for _, uses in itertools.groupby(gates, key=lambda use: use.cell)]
    columns = len(rows[0])
    figure = Figure(figsize=(1 + 3 * columns, 0.8 + 2.3 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), columns, sharex=True, sharey=True, squeeze=False)
    for row, uses in zip(grid, rows, strict=True):
        row[0].set_ylabel(f"{uses[0].cell}\nshare of values", fontsize=9)
        for axes, use in zip(row, uses, strict=True):
            _draw_gate(axes, use)
    figure.suptitle(f"{name}: gates over the validation drive; saturated values are red")
    figure.savefig(path, dpi=110)


def _draw_flow(axes: Axes, flow: GradientFlow, run: str, colour: str) -> None:
    steps = np.arange(len(flow.median))
    style = "-" if flow.is_memory else ":"
    label = f"{run}, {flow.cell}, {flow.tensor}: {flow.decay_per_step:.3f} a step, {flow.verdict}"
    axes.plot(steps, flow.median, style, color=colour, label=label)
    if flow.is_memory:
        low, high = np.quantile(flow.relative, (0.25, 0.75), axis=0)
        axes.fill_between(steps, low, high, color=colour, alpha=0.12, linewidth=0)


def _say(axes: Axes, change: float, word: str, *, above: bool) -> None:
    at = STEPS * 0.98
    axes.annotate(
        word, (at, change ** (at / STEPS)), (0, 6 if above else -6), ha="right",
        textcoords="offset points", va="bottom" if above else "top", fontsize=9,
    )  # fmt: skip


def _draw_gate(axes: Axes, use: GateUse) -> None:
    colours = [_SATURATED] + [_REST] * (BINS - 2) + [_SATURATED]
    places = (np.arange(BINS) + 0.5) / BINS
    axes.bar(places, use.shares, 1 / BINS, color=colours, edgecolor="white", linewidth=0.5)
    axes.set_title(f"{use.gate}: {use.low:.1%} low, {use.high:.1%} high", fontsize=10)
    axes.set(xlim=(0, 1))
    axes.grid(alpha=0.3)
