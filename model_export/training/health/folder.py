"""Where pictures of a look inside go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from model_export.errors import RunError
from model_export.run import RunFolder
from model_export.training import history
from model_export.training.health.examination import Examination
from model_export.training.health.pictures import draw_gates, draw_gradients, draw_units
from model_export.training.health.sheet import draw_sheet

FOLDER = "health"
"""Of a run's folder."""


def check_names(runs: Sequence[RunFolder]) -> None:
    """Check that runs can be told apart by the names of their folders.

    Raises:
        RunError: two have the same.
    """
    names = [run.path.resolve().name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise RunError(f"two runs are called {name}; rename the folder of one")


def draw(examinations: Sequence[Examination], out: Path | None = None) -> list[Path]:
    """Draw all pictures; return their paths.

    The gradients of all runs share one picture. The sheet of moments shows frames of the drive, so
    it goes nowhere but into the run's own folder.

    Args:
        examinations: of one run or several.
        out: made if it is not there; several runs have folders of their own in it. By default each
            run's own folder, and the first's for what they share.
    """
    shared = out or _own(examinations[0])
    shared.mkdir(parents=True, exist_ok=True)
    drawn = []
    if any(one.flows for one in examinations):
        drawn.append(shared / "gradients.png")
        draw_gradients(examinations, drawn[-1])
    for one in examinations:
        is_alone = len(examinations) == 1
        drawn += _draw_one(one, _own(one) if out is None else out / ("" if is_alone else one.name))
    return drawn


def _own(one: Examination) -> Path:
    return one.run.path / FOLDER


def _draw_one(one: Examination, folder: Path) -> Iterator[Path]:
    """Draw what a run has of its own; yield the paths."""
    for path in (folder, _own(one)):
        path.mkdir(parents=True, exist_ok=True)
    history.plot(one.entries, folder / "curves.png")
    yield folder / "curves.png"
    if one.layers:
        draw_units(one.layers, one.name, folder / "units.png")
        yield folder / "units.png"
    if one.gates:
        draw_gates(one.gates, one.name, folder / "gates.png")
        yield folder / "gates.png"
    draw_sheet(one, _own(one) / "moments.png")
    yield _own(one) / "moments.png"
