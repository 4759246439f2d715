"""Writes the page of the models, docs/models.md, from the bundles and their results."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from model_export.evaluation.unseen import REAL, ROADS, SOURCES, TRACES
from model_export.export.reduced_precision.verdict import LEAST_SPEED_RATIO
from model_export.report import drives, scores, tables, targets, trainings
from model_export.report.evidence import Evidence
from model_export.report.metres import PICTURES as PICTURES_DRIVEN
from model_export.report.metres import ROADS as ROADS_DRIVEN
from reports import machine
from reports.targets import table
from reports.text import ABSENT
from steerstream_bundle.contract import GREATEST_RMSE_RATIO

PAGE = Path("docs/models.md")
PICTURES = Path("docs/models")
README = Path("README.md")
MARKER = "models"
CALIBRATION = "calibration.svg"

_HEAD = """\
Written by `python -m model_export report` from the bundles in [models](../models) and from what was
measured of them, [model_export/results](../model_export/results); do not edit it. Every figure's
command stands [at the end](#how-it-was-measured)."""

_OVERVIEW = """\
`a frame` is the median time of a step with one frame on one thread; `steering, real` the RMSE on
the real drive's validation blocks, where always zero has {zero:.3f} rad and the winner of the
challenge reached {winner:.3f} rad on its own; `autonomy` the mean over ten unseen rendered roads
where a command acts {delays} ms after its picture."""

_ARCHITECTURE = """\
Read from each file: blocks are the network's modules, with the shapes that their layers give. What
a block remembers from frame to frame stands below it. `± stddev`: it says how sure it is."""

_COST = """\
Milliseconds a frame in ONNX Runtime on one thread, the bundles in turns, median of the rounds. At
batch 16 sixteen vehicles share a step."""

_OPTIMIZED = """\
Each bundle made smaller and judged beside itself in one run: accepted if the RMSE of every labelled
head on every source below is at most {rmse:g} times FP32's and, for INT8, frames a second at batch
1 on one thread of this CPU are at least {speed:g} times FP32's. FP16 is for GPUs, so its speed here
says nothing. An accepted INT8 bundle ships beside its FP32 one, and a server runs the quicker of
the two ([operations](operations.md#precision)). What is refused does not ship."""

_VIEWS = """\
A vehicle's client sends the part of a picture that the network sees, at the network's size, as JPEG
([protocol](protocol.md#views)). Each bundle is run over whole frames and over such views in one
run: the greatest ratio of RMSE of any labelled head, and how far single outputs lie apart at most,
with the state carried. A whole frame of 640x480 has about 40 kB."""

_STEERING = """\
Root mean square error on {name}: real frames, shown one by one with the state carried. Two rows see
no road. The winners' figures are their own, on frames that are not at hand here."""

_ERRORS = "Root mean square error on {name}."

_CALIBRATION = """\
Share of errors within the intervals that are to hold 68 % and 95 % of them, by the predicted
standard deviations. Less means that the network is surer than it may be."""

_LOSSES = """\
Steering RMSE in radians on the real validation blocks where frames are lost, each on its own, or
come at half the rate. A network that is told the interval since the last frame can allow for it.
First over the frames that it was shown, then over all, the last answer held as a vehicle would."""

_CLOSED_LOOP = """\
Ten roads that no training saw, through the real server, steering and speed both the network's. A
command acts on the vehicle so long after its picture was taken. Autonomy is that of PilotNet's
paper; `least` is the worst road's, errors are distances from the lane's centre."""

_PICTURES = """\
The validation blocks of the real drive, {drives} drives of 12 s at {speed:g} m/s, which is assumed:
the recording has no speed. Each picture is reprojected for where the vehicle is beside the recorded
path, a command acts so long after its picture, and beyond a metre the vehicle is put back. `told`:
the network is told when its command acts. Autonomy is PilotNet's, not less than zero."""

_RANKS = """\
A network that reads from the motion between pictures what the driver does has a low error on
a recorded drive, and no driver to copy in a closed loop: in all drives above together, it is put
back most often."""

_METRES = """\
Each cell: lateral error, mean / largest; how often a side of the vehicle crossed a line; autonomy.
All drives go through the real server in simulated time. The answer to a picture arrives so long
after it: at one delay, evenly spread from 20 to 80 ms, or after 50 ms with 5 % of the pictures lost
on their way, each on its own or in bursts of 300 ms in the mean (Gilbert and Elliott). The client's
guard bridges what is late or lost as on a vehicle, by the command's horizon and then by holding it,
and a network that takes it is told the delay that the client measures. The guard's bounds on the
age of a command and on round trips are 100 and 150 ms beyond a delay that is longer than usual, as
the vehicle of such a link would set them. Each time the guard lets go counts in the autonomy as an
intervention, because a driver takes over then."""

_METRES_ROADS = """\
On {drives} rendered roads that no training saw, {seconds:.0f} s in all, at the network's own
speed:"""

_METRES_SPEEDS = """\
At a speed that is given whatever the network says, answers after 50 ms, on the same roads with
their bends built for that speed, none sharper than 1.8 m/s² at it:"""

_METRES_PICTURES = """\
On the validation blocks of the real drive, {drives} drives and {seconds:.0f} s in all. A metre off
the recorded path the vehicle is put back. The recording has no speed; 13 m/s are assumed, at which
its sharpest bend is within what the server lets through. Nobody knows how fast its bends were
driven, so it has no columns of speeds:"""

_LENSES = """\
Unseen rendered roads, {drives} of them, {seconds:.0f} s in all for each lens, a command 50 ms after
its picture. The world draws what the lens shows, the vehicle describes it, and its pictures are
mapped to the camera that the network was trained with, the first one
([how](howto/bring-your-own-camera.md)). Distortion is in OpenCV's coefficients."""

_TRAINING = """\
What a bundle's metadata says of its sources, then what training it took, by the record of its runs:
wall time on two shared cores at low priority, and the steering's RMSE on the real drive, the mean
over seeds and each. The bold seed ships."""


def page(evidence: Sequence[Evidence]) -> str:
    """Return docs/models.md."""
    return "\n\n".join(_parts(evidence)) + "\n"


def brief(evidence: Sequence[Evidence]) -> str:
    """Return what the README shows between its markers."""
    return f"{tables.overview(evidence)}\n\n{_overview(evidence)}\n[All figures]({PAGE})."


def _parts(evidence: Sequence[Evidence]) -> Iterator[str]:
    yield from ("# Models", _HEAD, tables.overview(evidence), _overview(evidence))
    yield from ("## Targets", table(targets.figures(evidence)))
    yield from ("## Architecture", _ARCHITECTURE)
    for found in evidence:
        yield from _architecture(found)
    yield from ("## Speed", _COST, tables.cost(evidence))
    ratios = {"rmse": GREATEST_RMSE_RATIO, "speed": LEAST_SPEED_RATIO["int8"]}
    yield from ("## Smaller and faster", _filled(_OPTIMIZED, **ratios), tables.optimized(evidence))
    yield from ("## Views in place of whole frames", _filled(_VIEWS), tables.views(evidence))
    yield from ("## Steering on the real drive", _filled(_STEERING, name=SOURCES[REAL]))
    yield scores.steering(evidence)
    yield "## All heads on rendered frames"
    for source in (TRACES, ROADS):
        yield _filled(_ERRORS, name=SOURCES[source])
        yield scores.errors(evidence, source)
    yield from ("## Calibration", _CALIBRATION)
    for source in (REAL, TRACES, ROADS):
        yield _filled("On {name}:", name=SOURCES[source])
        yield scores.coverage(evidence, source)
    yield f"![Share of errors within intervals]({PICTURES.name}/{CALIBRATION})"
    yield from ("## Frames lost", _LOSSES)
    yield from (scores.losses(evidence, key) for key in ("rmse", "rmse_held"))
    yield from ("## Closed loop", _CLOSED_LOOP, drives.closed_loop(evidence))
    yield from _on_pictures(evidence)
    yield from _metres(evidence)
    yield from _lenses(evidence)
    yield from (
        "## Training",
        _TRAINING,
        trainings.sources(evidence),
        trainings.trainings(evidence),
    )
    yield "## How it was measured"
    yield from _measured(evidence)


def _on_pictures(evidence: Sequence[Evidence]) -> Iterator[str]:
    first = next((drive for found in evidence for drive in found.recorded_drives), None)
    if first is None:
        return
    yield "## Closed loop on real pictures"
    yield _filled(_PICTURES, drives=first["drives"], speed=first["speed_mps"])
    yield drives.on_pictures(evidence)
    yield from ("### Who copies, who drives", _filled(_RANKS), drives.ranks(evidence))


def _metres(evidence: Sequence[Evidence]) -> Iterator[str]:
    found = next((found for found in evidence if found.metres), None)
    if found is None:
        return
    yield "## What delay, jitter, loss and speed cost in metres"
    yield _filled(_METRES)
    for world, text, speeds in (
        (ROADS_DRIVEN, _METRES_ROADS, False),
        (ROADS_DRIVEN, _METRES_SPEEDS, True),
        (PICTURES_DRIVEN, _METRES_PICTURES, False),
    ):
        case = next(iter(found.cases(world).values()))
        yield _filled(text, drives=case["drives"], seconds=case["simulated_s"])
        yield drives.costs(evidence, world, speeds=speeds)


def _lenses(evidence: Sequence[Evidence]) -> Iterator[str]:
    measured = next((found.lenses for found in evidence if found.lenses), None)
    if measured is None:
        return
    first = measured["results"][0]
    yield "## Other cameras"
    yield _filled(_LENSES, drives=first["drives"], seconds=first["simulated_s"])
    yield drives.lenses(evidence)


def _overview(evidence: Sequence[Evidence]) -> str:
    delays = {delay for found in evidence for delay in found.drives() if delay is not None}
    zero = next(filter(None, (found.rmse_zero(REAL) for found in evidence)), math.nan)
    return _filled(
        _OVERVIEW,
        zero=zero,
        winner=min(scores.WINNERS.values()),
        delays=" / ".join(f"{delay:g}" for delay in sorted(delays)) or ABSENT,
    )


def _filled(paragraph: str, **values: str | float) -> str:
    """Return a paragraph with its values, in lines of the usual width."""
    return textwrap.fill(paragraph.format(**values), width=100)


def _architecture(found: Evidence) -> Iterator[str]:
    yield f"### {found.name}"
    if about := found.origin.get("about"):
        yield about
    yield f"![Blocks of {found.name}]({PICTURES.name}/{found.name}.svg)"
    numbers = found.architecture.weights
    yield f"State: {tables.state(found)}. The file holds {numbers:,} numbers beside the graph."


def _measured(evidence: Sequence[Evidence]) -> Iterator[str]:
    """Yield each command with the machine that ran it, once."""
    seen = (machine.made_by(result) for found in evidence for result in found.made_by)
    yield from dict.fromkeys(seen)
