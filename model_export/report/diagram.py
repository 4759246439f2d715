"""The figure of a bundle's architecture: blocks with their shapes, from the frame to the heads."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from model_export.report.architecture import Architecture, Block, Layer, Shape
from steerstream_bundle.contract import UNITS, Contract

_WIDTH, _GAP, _LINE, _PADDING, _STEP = 2.5, 0.6, 0.2, 0.14, 0.18
"""Of boxes, text, and the ways around boxes, in inches."""

_INPUT, _BLOCK, _MEMORY, _OUTPUT = "#dbe9f6", "#f2f2f2", "#fde8cf", "#dff0dd"
_GREY = "#555555"
_ARROW = {"arrowstyle": "-|>", "color": _GREY, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0}
_MOST_MEMORIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    """Text in a frame: its column, its lines, the names of what feeds it."""

    name: str
    column: int
    lines: tuple[str, ...]
    memory: tuple[str, ...]
    feeds: tuple[str, ...]
    colour: str

    @property
    def height(self) -> float:
        return _tall(self.lines) + _tall(self.memory)


class _Place(NamedTuple):
    """Where a box stands, in inches."""

    left: float
    bottom: float
    height: float

    @property
    def middle(self) -> float:
        return self.bottom + self.height / 2


def draw(architecture: Architecture, path: Path) -> None:
    """Draw a bundle's blocks from left to right into an SVG file."""
    boxes = {box.name: box for box in _boxes(architecture)}
    columns = _columns(list(boxes.values()))
    detours = list(_detours(boxes, columns))
    margin = _GAP / 2 + _STEP * len(detours)
    height = max(map(_height, columns)) + 2 * margin
    figure = Figure(figsize=(len(columns) * (_WIDTH + _GAP), height))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, len(columns) * (_WIDTH + _GAP)), ylim=(0, height))
    axes.axis("off")
    places = dict(_places(columns, height))
    for name, box in boxes.items():
        _draw_box(axes, box, places[name])
        for source in box.feeds:
            if boxes[source].column + 1 == box.column:
                _draw_arrow(axes, places[source], places[name])
    for index, (source, target, is_above) in enumerate(detours, 1):
        level = height - margin + _STEP * index if is_above else margin - _STEP * index
        _draw_detour(axes, places[source], places[target], level)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG, the same bytes for the same figure, whatever else was drawn before."""
    with rc_context({"svg.hashsalt": path.stem, "svg.fonttype": "path"}):
        figure.savefig(path, format="svg", metadata={"Date": None})


def _detours(
    boxes: Mapping[str, _Box], columns: Sequence[Sequence[_Box]]
) -> Iterator[tuple[str, str, bool]]:
    """Yield source and target of every arrow that passes other boxes, and whether above them."""
    for name, box in boxes.items():
        for source in box.feeds:
            if boxes[source].column + 1 < box.column:
                yield source, name, columns[boxes[source].column][0].name == source


def _boxes(architecture: Architecture) -> Iterator[_Box]:
    """Yield the frame, the blocks and the outputs, each with its column."""
    contract = architecture.contract
    yield _Box(name="frame", column=0, lines=_inputs(contract), memory=(), feeds=(), colour=_INPUT)
    columns = {"frame": 0}
    for block in architecture.blocks:
        # What comes later in the graph is drawn further right; a loop is not drawn.
        feeds = tuple(name for name in block.feeds if name in columns) or ("frame",)
        columns[block.name] = 1 + max(columns[name] for name in feeds)
        yield _block_box(block, columns[block.name], feeds)
    yield _Box(
        name="outputs",
        column=1 + max(columns.values()),
        lines=tuple(_outputs(contract)),
        memory=(),
        feeds=architecture.last,
        colour=_OUTPUT,
    )


def _block_box(block: Block, column: int, feeds: tuple[str, ...]) -> _Box:
    title = block.name.replace("_", " ") + (f" ({block.copies} alike)" if block.copies > 1 else "")
    memories = [f"↻ {item.name}: {_shape(item.shape)}" for item in block.memories]
    if len(memories) > _MOST_MEMORIES:
        memories[_MOST_MEMORIES:] = [f"↻ and {len(memories) - _MOST_MEMORIES} more"]
    return _Box(
        name=block.name,
        column=column,
        lines=(title, *_layers(block.layers), f"{block.weights:,} weights"),
        memory=tuple(memories),
        feeds=feeds,
        colour=_BLOCK,
    )


def _inputs(contract: Contract) -> tuple[str, ...]:
    crop = contract.frame.crop
    lines = ["frame", f"{_shape(contract.frame.shape)}, uint8"]
    lines.append(f"rows {crop.top:.0%} to {crop.bottom:.0%} of a picture")
    if contract.interval_tensor:
        lines.append("seconds since the last frame")
    if contract.act_in_tensor:
        lines.append("seconds until the command acts")
    return tuple(lines)


def _outputs(contract: Contract) -> Iterator[str]:
    yield "commands"
    for output in contract.outputs:
        spread = " ± stddev" if output.stddev_tensor else ""
        yield f"{output.head.replace('_', ' ')}{spread}, {UNITS[output.head]}"


def _layers(layers: Sequence[Layer]) -> Iterator[str]:
    """Yield one line for each run of layers of one size."""
    for _, group in itertools.groupby(layers, lambda layer: (layer.shape[1:], len(layer.shape))):
        run = list(group)
        what = run[0].what if len(run) == 1 else f"{len(run)} x {run[0].what.split()[0]}"
        if len({layer.shape for layer in run}) == 1 or len(run[0].shape) > 1 < len(run):
            yield f"{what} → {_shape(run[-1].shape)}"
        else:
            yield from (f"{layer.what} → {_shape(layer.shape)}" for layer in run)


def _shape(shape: Shape) -> str:
    sizes = [size for size in shape if size > 1] or [1]
    return " x ".join(map(str, sizes))


def _columns(boxes: Sequence[_Box]) -> list[list[_Box]]:
    count = 1 + max(box.column for box in boxes)
    return [[box for box in boxes if box.column == at] for at in range(count)]


def _height(column: Sequence[_Box]) -> float:
    return sum(box.height for box in column) + _GAP / 2 * (len(column) - 1)


def _places(columns: Sequence[Sequence[_Box]], height: float) -> Iterator[tuple[str, _Place]]:
    """Yield where each box stands; every column is centred."""
    for at, column in enumerate(columns):
        top = (height + _height(column)) / 2
        for box in column:
            yield box.name, _Place(at * (_WIDTH + _GAP) + _GAP / 2, top - box.height, box.height)
            top -= box.height + _GAP / 2


def _draw_box(axes: Axes, box: _Box, place: _Place) -> None:
    top = place.bottom + place.height
    for lines, colour in ((box.lines, box.colour), (box.memory, _MEMORY)):
        tall = _tall(lines)
        axes.add_patch(
            Rectangle((place.left, top - tall), _WIDTH, tall, facecolor=colour, edgecolor=_GREY)
        )
        for index, line in enumerate(lines):
            is_title = index == 0 and colour == box.colour
            axes.text(
                place.left + _WIDTH / 2,
                top - _PADDING / 2 - _LINE * (index + 0.5),
                line,
                horizontalalignment="center",
                verticalalignment="center",
                fontsize=9,
                fontweight="bold" if is_title else "normal",
            )
        top -= tall


def _tall(lines: Sequence[str]) -> float:
    return _LINE * len(lines) + _PADDING if lines else 0.0


def _draw_arrow(axes: Axes, source: _Place, target: _Place) -> None:
    start = (source.left + _WIDTH, source.middle)
    end = (target.left, target.middle)
    axes.annotate("", end, start, arrowprops=_ARROW)


def _draw_detour(axes: Axes, source: _Place, target: _Place, level: float) -> None:
    """Draw an arrow around the boxes between, at a height above or below them all."""
    start, end = source.left + _WIDTH * 0.75, target.left + _WIDTH * 0.25
    above = level > source.middle
    leave = source.bottom + (source.height if above else 0)
    arrive = target.bottom + (target.height if above else 0)
    axes.plot([start, start, end], [leave, level, level], color=_GREY, linewidth=0.9)
    axes.annotate("", (end, arrive), (end, level), arrowprops=_ARROW)
