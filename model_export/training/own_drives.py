"""Drives by the network in both closed loops, for it to learn what it will say next.

On rendered roads, and on the real pictures that trained it: each is reprojected for where the
vehicle is beside the recorded path, from several starts. Commands act some time after their
picture, and the network is told when. No expert says a word: later commands are what is learned.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_export.config import HEADS, AugmentConfig, StageConfig
from model_export.data.augment import NOMINAL_SPEED_MPS, Augmentation, optics
from model_export.data.recording import Recording, Sample, Span
from model_export.data.sources import Source
from model_export.evaluation.bundle_runner import BundleRunner
from steerstream.progress import tracked
from steerstream_bundle.contract import FrameInput
from steerstream_bundle.preprocess import Picture, prepare
from steerstream_simulation.closed_loop import CommandQueue
from steerstream_simulation.picture_world import STARTS_M, PictureWorld
from steerstream_simulation.recorded_drive import PictureSequence
from steerstream_simulation.vehicle import Command
from steerstream_simulation.world import World

NAME = "drives by the network on rendered roads and reprojected pictures, its own commands"

FIRST_SEED = 40_000
_DRAWS = 7
_DELAYS_S = (0.05, 0.0, 0.15, 0.25)
"""From a picture to when its command acts: one for each drive, in turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _PreparedSequence(PictureSequence):
    """A sequence of a recording, as the network sees it."""

    pictures: Picture

    def picture(self, index: int) -> Picture:
        return np.ascontiguousarray(self.pictures[index])


@dataclass(frozen=True, slots=True)
class _Drive:
    """One drive to come.

    Attributes:
        world: at its start.
        frames: how many pictures are taken.
        augment: what may be done to its pictures; where they are mirrored, its steering is too.
    """

    world: World | PictureWorld
    frames: int
    augment: AugmentConfig


def drives(
    bundle: Path, stage: StageConfig, sources: Sequence[Source], seed: int
) -> Iterator[Sample]:
    """Let a bundle drive; yield what it saw, prepared, and what it said.

    Args:
        bundle: the network as it is, exported.
        stage: how many rendered roads, for how long, and how often along the real pictures.
        sources: those of the run; their augmentations change what is seen.
        seed: of the run.
    """
    runner = BundleRunner(bundle)
    period_s = 1 / runner.contract.rate_hz
    recorded = [
        (source, [_sequence(source.train, span, period_s) for span in source.train.spans])
        for source in sources
        if not source.kind.rendered
    ]
    count = stage.dagger_roads + stage.picture_drives * sum(len(each) for _, each in recorded)
    todo = itertools.chain(_on_roads(runner, stage, sources), _on_pictures(runner, stage, recorded))
    draws = np.random.default_rng((seed, _DRAWS))
    for number, drive in enumerate(tracked(todo, "driving", count, "drives")):
        # Where the vehicle is decides about the view.
        still = dataclasses.replace(drive.augment, wander_m=0.0, shift_m=0.0, yaw_rad=0.0)
        change = Augmentation(still, runner.contract.frame, int(draws.integers(2**62)))
        yield from _driven(runner, drive, change, _DELAYS_S[number % len(_DELAYS_S)])


def _on_roads(
    runner: BundleRunner, stage: StageConfig, sources: Sequence[Source]
) -> Iterator[_Drive]:
    frames = round(stage.dagger_seconds * runner.contract.rate_hz)
    for source in sources:
        if source.config.kind == "rendered":
            for seed in range(FIRST_SEED, FIRST_SEED + stage.dagger_roads):
                world = World(seed, seconds=stage.dagger_seconds)
                yield _Drive(world, frames, source.config.augment)


def _on_pictures(
    runner: BundleRunner,
    stage: StageConfig,
    recorded: Sequence[tuple[Source, Sequence[_PreparedSequence]]],
) -> Iterator[_Drive]:
    view = optics(runner.contract.frame)
    for source, sequences in recorded:
        for number in range(stage.picture_drives):
            start_m = STARTS_M[number % len(STARTS_M)]
            for sequence in sequences:
                world = PictureWorld(sequence, start_m=start_m, optics=view)
                yield _Drive(world, sequence.frames, source.config.augment)


def _sequence(recording: Recording, span: Span, period_s: float) -> _PreparedSequence:
    rows = slice(span.first, span.last)
    angles, speeds, torques = recording.labels[rows].astype(np.float64).T
    return _PreparedSequence(
        images=(),
        angles_rad=angles,
        speeds_mps=np.where(np.isfinite(speeds), speeds, NOMINAL_SPEED_MPS),
        torques_nm=torques,
        period_s=period_s,
        pictures=np.asarray(recording.frames[rows], np.uint8),
    )


def _driven(
    runner: BundleRunner, drive: _Drive, change: Augmentation, delay_s: float
) -> Iterator[Sample]:
    """Drive; a sequence ends where the vehicle is put back."""
    contract, world, queue = runner.contract, drive.world, CommandQueue()
    state, period_s = runner.initial_state(1), 1 / runner.contract.rate_hz
    sign, put_back = (-1.0 if change.flip else 1.0), -1
    for number in range(drive.frames):
        time_s = number * period_s
        queue.advance(world, time_s)
        seen = change.picture(_prepared(world, contract.frame), number)
        frame = np.ascontiguousarray(seen)
        acts = np.array([delay_s], np.float32)
        said, state = runner.step(frame[None], state, act_in_s=acts)
        angle, speed, torque = (value.item() for value in said[: len(HEADS)])
        starts, put_back = world.score.interventions != put_back, world.score.interventions
        yield Sample(frame, np.array([angle, speed, torque], np.float32), starts, time_s)
        queue.put(time_s + delay_s, number, Command(sign * angle, speed))


def _prepared(world: World | PictureWorld, frame: FrameInput) -> Picture:
    seen = world.capture()
    return prepare(seen, frame) if isinstance(world, World) else seen
