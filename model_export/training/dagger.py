"""Drives by the network on rendered roads, relabelled by the expert.

An expert's own drives show a network only what happens when all goes well. DAgger (Ross, Gordon
and Bagnell, arXiv 1011.0686) lets the network drive and records what the expert would have done.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from model_export.config import StageConfig
from model_export.data.recording import Sample
from model_export.data.rendered import samples
from model_export.evaluation.bundle_runner import BundleDriver, BundleRunner
from steerstream.progress import tracked
from steerstream_simulation.dagger import drive_and_relabel

NAME = "steerstream simulation, drives by the network relabelled by the expert (rendered frames)"

FIRST_SEED = 20_000
_SEEDS_A_STAGE = 1_000


def drives(bundle: Path, stage: StageConfig, index: int) -> Iterator[Sample]:
    """Let a bundle drive the new roads of one stage; yield frames with the expert's labels.

    Args:
        bundle: the network as it is, exported.
        stage: how many roads, and for how long.
        index: the stage's place among the stages; decides which roads.
    """
    runner = BundleRunner(bundle)
    first = FIRST_SEED + _SEEDS_A_STAGE * index
    frames = round(stage.dagger_seconds * runner.contract.rate_hz)
    roads = range(first, first + stage.dagger_roads)
    for seed in tracked(roads, "driving", len(roads), "roads"):
        driver = BundleDriver(runner)
        rate_hz = runner.contract.rate_hz
        drive = drive_and_relabel(driver.drive, seed, frames=frames, rate_hz=rate_hz)
        yield from samples(drive, rate_hz)
