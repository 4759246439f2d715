"""Runs the commands `measure` and `report`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from model_export.errors import ReportError
from model_export.evaluation import unseen
from model_export.export.reduced_precision.command import optimize
from model_export.export.reduced_precision.verdict import PRECISIONS
from model_export.report import (
    accuracy,
    autonomy,
    lenses,
    metres,
    origin,
    page,
    pictures,
    recorded,
    results,
    speed,
    views,
)
from model_export.report.evidence import Evidence, gather
from reports import pages
from steerstream_bundle.loading import full_precision
from steerstream_simulation.camera import CameraConfig

COMMAND = "python -m model_export report"


def bundles(folder: Path) -> list[Path]:
    """Return the bundles of a folder by name.

    Raises:
        ReportError: there is none.
    """
    found = full_precision(folder)
    if not found:
        raise ReportError(f"{folder}: no bundle (.onnx); name the folder with --models")
    return found


def measure_accuracy(
    found: Sequence[Path], data: Path, runs: Path, cache: Path, root: Path
) -> None:
    """Measure bundles on every source and leave a file of results for each.

    Args:
        found: the bundles.
        data: folder of the driving data.
        runs: folder of training runs, which tell seeds and times.
        cache: folder of prepared frames.
        root: the checkout that gets the results.

    Raises:
        BundleError: a file is no bundle.
        DataError: a source's data is missing or malformed.
    """
    for bundle in found:
        digest = results.digest(bundle)
        figures = accuracy.measure(bundle, data, cache) | {"origin": origin.measure(bundle, runs)}
        command = f"python -m model_export measure accuracy models/{bundle.name}"
        _leave(root, results.ACCURACY, bundle, measured=digest, command=command, figures=figures)


def measure_speed(found: Sequence[Path], rounds: int, root: Path) -> None:
    """Measure bundles in turns and leave a file of results for each.

    Args:
        found: the bundles.
        rounds: turns of each.
        root: the checkout that gets the results.

    Raises:
        BundleError: a file is no bundle.
    """
    names = " ".join(f"models/{bundle.name}" for bundle in found)
    command = f"python -m model_export measure speed {names} --rounds {rounds}"
    digests = [results.digest(bundle) for bundle in found]
    measured = zip(found, digests, speed.measure(found, rounds), strict=True)
    for bundle, digest, figures in measured:
        _leave(root, results.SPEED, bundle, measured=digest, command=command, figures=figures)


def measure_autonomy(
    bundle: Path,
    delays_ms: Sequence[float],
    roads: int,
    seconds: float,
    out: Path | None,
) -> int:
    """Drive unseen roads with a bundle; return 1 where the vehicle left its lane.

    Args:
        bundle: the ONNX file.
        delays_ms: from a picture to when its command acts; empty for what answers really take.
        roads: how many.
        seconds: length of each drive.
        out: the file of results; None for none.

    Raises:
        BundleError: the file cannot be read.
        DriveError: no server starts with it, or a drive ended before it was over.
    """
    digest = results.digest(bundle)
    drives = autonomy.measure(bundle, delays_ms or [None], roads, seconds, CameraConfig())
    if out is not None:
        delays = "".join(f" {delay:g}" for delay in delays_ms)
        command = (
            f"python -m model_export measure autonomy --model models/{bundle.name}"
            f"{delays and ' --delay-ms'}{delays} --roads {roads} --seconds {seconds:g}"
        )
        results.write(out, results.CLOSED_LOOP, digest, command, drives)
    return int(any(drive["interventions"] for drive in drives))


def measure_optimized(found: Sequence[Path], data: Path, cache: Path, root: Path) -> None:
    """Reduce bundles to every precision, judge each, and leave a file of results for each bundle.

    Args:
        found: FP32 bundles.
        data: folder of the driving data.
        cache: folder of prepared frames.
        root: the checkout that gets the results.

    Raises:
        BundleError: a file is no FP32 bundle.
        DataError: a source's data is missing or malformed.
    """
    for bundle in found:
        digest = results.digest(bundle)
        with tempfile.TemporaryDirectory() as folder:
            figures = [
                optimize(bundle, precision, Path(folder) / bundle.name, data, cache).summary()
                for precision in PRECISIONS
            ]
        command = f"python -m model_export measure optimized models/{bundle.name}"
        _leave(root, results.OPTIMIZED, bundle, measured=digest, command=command, figures=figures)


def measure_view(found: Sequence[Path], data: Path, cache: Path, root: Path) -> None:
    """Measure what bundles lose by views, and leave a file of results for each.

    Args:
        found: the bundles.
        data: folder of the driving data.
        cache: folder of prepared frames.
        root: the checkout that gets the results.

    Raises:
        BundleError: a file is no bundle.
        DataError: a source's data is missing or malformed.
    """
    for bundle in found:
        digest = results.digest(bundle)
        figures = views.measure(bundle, data, cache, unseen.PARTS)
        command = f"python -m model_export measure view models/{bundle.name}"
        _leave(root, results.VIEW, bundle, measured=digest, command=command, figures=figures)


def measure_pictures(found: Sequence[Path], data: Path, root: Path) -> None:
    """Close the loop on the real drive's pictures, and leave a file of results for each bundle.

    Args:
        found: the bundles.
        data: folder of the driving data.
        root: the checkout that gets the results.

    Raises:
        BundleError: a file is no bundle.
        DataError: the recording is missing or malformed.
    """
    for bundle in found:
        digest = results.digest(bundle)
        figures = recorded.measure(bundle, data)
        command = f"python -m model_export measure pictures models/{bundle.name}"
        _leave(root, results.RECORDED, bundle, measured=digest, command=command, figures=figures)


def measure_lenses(found: Sequence[Path], roads: int, seconds: float, root: Path) -> None:
    """Drive unseen roads with other cameras, and leave a file of results for each bundle.

    Args:
        found: the bundles.
        roads: how many.
        seconds: length of each drive.
        root: the checkout that gets the results.

    Raises:
        BundleError: a file is no bundle.
        DriveError: no server starts with one, or a drive ended before it was over.
    """
    for bundle in found:
        digest = results.digest(bundle)
        figures = lenses.measure(bundle, roads, seconds)
        command = (
            f"python -m model_export measure lenses models/{bundle.name} --roads {roads}"
            f" --seconds {seconds:g}"
        )
        _leave(root, results.LENSES, bundle, measured=digest, command=command, figures=figures)


def measure_metres(
    found: Sequence[Path],
    data: Path,
    root: Path,
    *,
    roads: int,
    seconds: float,
    trace: Path | None = None,
) -> None:
    """Measure what delay, jitter, loss and speed cost, and leave a file of results for each bundle.

    Args:
        found: the bundles.
        data: folder of the driving data.
        root: the checkout that gets the results.
        roads: how many.
        seconds: length of each drive on them.
        trace: a recorded link, to be measured as well; None for none.

    Raises:
        BundleError: a file is no bundle.
        DriveError: no server starts with one, a drive ended before it was over, or the recording or
            the trace cannot be read.
    """
    for bundle in found:
        digest = results.digest(bundle)
        figures = metres.measure(bundle, data, roads=roads, seconds=seconds, trace=trace)
        command = (
            f"python -m model_export measure metres models/{bundle.name} --roads {roads}"
            f" --seconds {seconds:g}" + (f" --latency-trace {trace.name}" if trace else "")
        )
        _leave(root, results.METRES, bundle, measured=digest, command=command, figures=figures)


def write(models: Path, root: Path) -> None:
    """Write the page, its pictures, and the README's table.

    Raises:
        ReportError: a result is damaged, or of another bundle of that name.
    """
    evidence = gather(root, bundles(models))
    pages.write(root, _pages(evidence, root))
    pictures.write(evidence, root / page.PICTURES)


def check(models: Path, root: Path) -> None:
    """Compare the page and the README's table with what would be written.

    Raises:
        ReportError: one differs, or a result is damaged or of another bundle of that name.
    """
    try:
        pages.check(root, _pages(gather(root, bundles(models)), root), COMMAND)
    except pages.StaleError as error:
        raise ReportError(str(error)) from None


def _leave(
    root: Path, kind: str, bundle: Path, *, measured: str, command: str, figures: object
) -> None:
    """Write what was measured of a bundle with that digest, and say where it lies."""
    path = root / results.path_of(kind, bundle)
    results.write(path, kind, measured, command, figures)
    print(path.relative_to(root))


def _pages(evidence: Sequence[Evidence], root: Path) -> dict[Path, str]:
    readme = (root / page.README).read_text(encoding="utf-8")
    return {
        page.PAGE: page.page(evidence),
        page.README: pages.between(readme, page.MARKER, page.brief(evidence)),
    }
