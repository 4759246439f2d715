"""All that the page shows of one bundle: its file, and the results that were measured with it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_export.report import results
from model_export.report.architecture import Architecture, read
from steerstream_bundle.contract import STEERING_WHEEL_ANGLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One bundle.

    Attributes:
        name: its own, by which a client asks for it.
        size_bytes: of its file.
        architecture: what is in it.
        accuracy: results by `measure accuracy`, or None where it was not measured.
        speed: results by `measure speed`.
        closed_loop: results by `measure autonomy`.
        optimized: results by `measure optimized`.
        view: results by `measure view`.
        pictures: results by `measure pictures`.
        metres: results by `measure metres`.
        lenses: results by `measure lenses`.
    """

    name: str
    size_bytes: int
    architecture: Architecture
    accuracy: results.Result | None
    speed: results.Result | None
    closed_loop: results.Result | None
    optimized: results.Result | None
    view: results.Result | None
    pictures: results.Result | None
    metres: results.Result | None
    lenses: results.Result | None

    @property
    def origin(self) -> Mapping[str, Any]:
        """The record of its training; empty where there is none."""
        return dict(self.accuracy["results"]["origin"]) if self.accuracy else {}

    @property
    def made_by(self) -> Iterator[results.Result]:
        """The results that there are."""
        driven = (self.closed_loop, self.pictures, self.metres, self.lenses)
        return filter(None, (self.accuracy, self.speed, *driven, self.optimized, self.view))

    def heads(self, source: str) -> Mapping[str, Any]:
        """Return the scores on a source by head; empty where they were not measured."""
        return dict(self.accuracy["results"]["sources"][source]["heads"]) if self.accuracy else {}

    def rmse(self, source: str, head: str = STEERING_WHEEL_ANGLE) -> float | None:
        """Return the error of a head on a source."""
        score = self.heads(source).get(head)
        return None if score is None else float(score["rmse"])

    def rmse_zero(self, source: str) -> float | None:
        """Return the error that always zero has for the steering on a source."""
        score = self.heads(source).get(STEERING_WHEEL_ANGLE)
        return None if score is None else float(score["rmse_zero"])

    def seeds(self, source: str) -> list[float]:
        """Return the steering's error on a source of every seed that was trained."""
        return [
            score["rmse"]
            for seed in self.origin.get("seeds", ())
            for score in seed["scores"]
            if score["source"] == source and score["head"] == STEERING_WHEEL_ANGLE
        ]

    @property
    def losses(self) -> Sequence[Mapping[str, Any]]:
        """The errors with all frames, then where frames are lost; empty if not measured."""
        return list(self.accuracy["results"]["losses"]) if self.accuracy else []

    def drives(self) -> dict[float | None, list[Mapping[str, Any]]]:
        """Return the closed loop's drives by the delay that was charged, in milliseconds."""
        found: dict[float | None, list[Mapping[str, Any]]] = {}
        for drive in self.closed_loop["results"] if self.closed_loop else ():
            found.setdefault(drive["delay_ms"], []).append(drive)
        return found

    @property
    def recorded_drives(self) -> Sequence[Mapping[str, Any]]:
        """The scores of the closed loop on real pictures, a row for each delay."""
        return list(self.pictures["results"]) if self.pictures else []

    def cases(self, world: str) -> dict[str, Mapping[str, Any]]:
        """Return the scores over links and at speeds in a world, by the case's name."""
        found = self.metres["results"] if self.metres else ()
        return {case["case"]: case for case in found if case["world"] == world}

    @property
    def put_back(self) -> int | None:
        """How often it was put back there in all, told what it takes."""
        drives = self.recorded_drives
        takes = any(drive["told"] for drive in drives)
        counts = [drive["interventions"] for drive in drives if drive["told"] == takes]
        return sum(counts) if counts else None

    def autonomy_percent(self, delay_ms: float | None) -> float | None:
        """Return the mean autonomy over the roads with a delay."""
        drives = self.drives().get(delay_ms)
        return statistics.mean(drive["autonomy_percent"] for drive in drives) if drives else None


def gather(root: Path, bundles: Sequence[Path]) -> list[Evidence]:
    """Collect what is known of bundles, in their order.

    Args:
        root: the checkout.
        bundles: ONNX files.

    Raises:
        BundleError: a file is no bundle.
        ReportError: a result is damaged, or of another bundle of that name.
    """
    kinds = (
        results.ACCURACY,
        results.SPEED,
        results.CLOSED_LOOP,
        results.OPTIMIZED,
        results.VIEW,
        results.RECORDED,
        results.METRES,
        results.LENSES,
    )
    accuracy, speed, closed_loop, optimized, view, pictures, metres, lenses = (
        results.load(root, kind, bundles) for kind in kinds
    )
    return [
        Evidence(
            name=path.stem,
            size_bytes=path.stat().st_size,
            architecture=read(path),
            accuracy=accuracy.get(path.stem),
            speed=speed.get(path.stem),
            closed_loop=closed_loop.get(path.stem),
            optimized=optimized.get(path.stem),
            view=view.get(path.stem),
            pictures=pictures.get(path.stem),
            metres=metres.get(path.stem),
            lenses=lenses.get(path.stem),
        )
        for path in bundles
    ]
