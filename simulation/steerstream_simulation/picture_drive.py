"""Drives over the sequences of a recording, through a server or with a network in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steerstream import whole_file
from steerstream.progress import Progress
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.closed_loop import Moment, drive_lock_step
from steerstream_simulation.drivers import LocalDriver, Policy, Reply
from steerstream_simulation.grpc_driver import connect
from steerstream_simulation.picture_world import STARTS_M, PictureWorld, new_score
from steerstream_simulation.recorded_drive import (
    DEFAULT_SPEED_MPS,
    PictureSequence,
    read_sequences,
)
from steerstream_simulation.report import DriveLog, summarise
from steerstream_simulation.scoring import Score
from steerstream_simulation.served_drive import ServedDriveOptions, until_interrupted, write


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureDriveOptions(ServedDriveOptions):
    """The options of drives over a recording.

    Attributes:
        labels: the recording's CSV file.
        split: the rows to drive on; None for all.
        blocks: of these, the blocks to drive on; empty for all.
        speed_mps: of rows that have no speed.
        starts_m: lateral offsets at which each sequence is begun, one drive for each.
    """

    labels: Path
    split: str | None = None
    blocks: Sequence[str] = ()
    speed_mps: float = DEFAULT_SPEED_MPS
    starts_m: Sequence[float] = STARTS_M


def drive(
    options: PictureDriveOptions, show: Callable[[dict[str, Any]], object] = lambda _: None
) -> dict[str, Any]:
    """Drive over every sequence of a recording through a server.

    Args:
        options: what is asked for.
        show: told the report, also where a drive broke off.

    Returns:
        The report of all drives together; it is written to `options.json` as well.

    Raises:
        SteerstreamError: the recording cannot be read, or the server cannot be reached, refuses,
            or fails.
        DriverStoppedError: the server ended a session before its drive was over.
        KeyboardInterrupt: Ctrl-C or SIGTERM ended it.
        OutputLost: the report cannot be written.
    """
    sequences = read_sequences(
        options.labels,
        split=options.split,
        blocks=options.blocks,
        speed_mps=options.speed_mps,
    )
    return asyncio.run(_drive(options, sequences, show))


def drive_here(
    sequences: Sequence[PictureSequence],
    new_policy: Callable[[], Policy],
    *,
    delay_ms: float,
    starts_m: Sequence[float] = STARTS_M,
) -> Score:
    """Drive over every sequence with a network in this process.

    Args:
        sequences: of a recording.
        new_policy: called for each drive, so that none goes on from another's state.
        delay_ms: from a picture to when its command acts.
        starts_m: lateral offsets at which each sequence is begun.

    Returns:
        The score of all drives together.

    Raises:
        MediaError: a picture cannot be read.
    """
    score = new_score()
    for sequence, start_m in _drives(sequences, starts_m):
        world = PictureWorld(sequence, start_m=start_m, score=score)
        driver = LocalDriver(new_policy(), latency_ms=delay_ms)
        rate_hz = 1.0 / sequence.period_s
        asyncio.run(drive_lock_step(world, driver, frames=sequence.frames, rate_hz=rate_hz))
    return score


def _drives(
    sequences: Sequence[PictureSequence], starts_m: Sequence[float]
) -> list[tuple[PictureSequence, float]]:
    return [(sequence, start_m) for sequence in sequences for start_m in starts_m]


async def _drive(
    options: PictureDriveOptions,
    sequences: Sequence[PictureSequence],
    show: Callable[[dict[str, Any]], object],
) -> dict[str, Any]:
    drives = _drives(sequences, options.starts_m)
    trip = _Trip(options, DriveLog(options.budget_ms), new_score())
    frames = sum(sequence.frames for sequence, _ in drives)
    report: dict[str, Any] = {}
    try:
        with Progress("driving", frames, "frames") as progress:
            for sequence, start_m in drives:
                await until_interrupted(trip.run(sequence, start_m, progress))
    finally:
        # Figures from before an error are worth reading too.
        if trip.log.frames:
            settings = trip.settings(1.0 / sequences[0].period_s)
            report = summarise(settings, trip.score, trip.log)
            show(report)
            write(options.json, lambda path: whole_file.write_json(path, report))
    return report


class _Trip:
    """All drives of one command, counted together; each has a session of its own."""

    def __init__(self, options: PictureDriveOptions, log: DriveLog, score: Score) -> None:
        self.log, self.score = log, score
        self._options = options
        self._model, self._sent_bytes, self._begun = "", 0, 0
        self._size_px: list[int] = []

    async def run(self, sequence: PictureSequence, start_m: float, progress: Progress) -> None:
        """Drive over one sequence."""
        options = self._options
        # Simulated time begins again with each drive, and a client's clock never goes back.
        clock = options.clock()
        client = connect(options.targets, clock.now_ns, options.connection)
        height, width = sequence.picture(0).shape[:2]
        world = PictureWorld(sequence, start_m=start_m, score=self.score)

        def observe(moment: Moment, reply: Reply | None) -> None:
            self.log(moment, reply)
            progress.step(
                f"lateral error {moment.lateral_offset_m:+.2f} m, "
                f"interventions {moment.interventions}"
            )

        async with (
            client,
            options.open(
                client,
                CameraConfig(width_px=width, height_px=height),
                rate_hz=1.0 / sequence.period_s,
            ) as driver,
        ):
            self._begun += 1
            self._model, self._size_px = driver.session.info.model.name, [width, height]
            try:
                await options.drive_simulated(
                    world,
                    driver,
                    frames=sequence.frames,
                    clock=clock,
                    seed=self._begun,
                    times=self.log.guard_times,
                    rate_hz=1.0 / sequence.period_s,
                    observe=observe,
                )
            finally:
                self._sent_bytes += driver.session.sent_bytes

    def settings(self, rate_hz: float) -> dict[str, Any]:
        """Return what was asked for, for the report."""
        options = self._options
        return {
            **options.settings(),
            "model": self._model,
            "labels": options.labels.name,
            "split": options.split,
            "blocks": list(options.blocks),
            "drives": self._begun,
            "starts_m": list(options.starts_m),
            "speed_mps": options.speed_mps,
            "mode": "lock_step",
            "image_size_px": self._size_px,
            "rate_hz": rate_hz,
            "sent_bytes": self._sent_bytes,
        }
