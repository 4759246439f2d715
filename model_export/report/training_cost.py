"""What a training step costs, and of what: pictures, operations, memory. No data is needed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from model_export.config import HEADS, Config, StageConfig
from model_export.data.recording import Recording, Span
from model_export.data.sequences import Batch, BatchSampler, RowSource
from model_export.networks import DrivingNetwork, build
from model_export.training.learner import Learner

_RECORDED = (2_000, 32_000)
"""Frames of two recordings, between which memory would grow if it did."""
_BATCHES = 30
_WARM_STEPS = 3
_STEPS = 10
_SEQUENCE_FRAMES = 400


def lines(config: Config, device: torch.device) -> Iterator[str]:
    """Measure the stages of a configuration on pictures that hold nothing; yield lines of figures.

    Args:
        config: see there.
        device: where the steps are taken.
    """
    cv2.setNumThreads(1)
    for stage in config.stage:
        network = build(config)
        with tempfile.TemporaryDirectory() as folder:
            for count in _RECORDED:
                sampler = _sampler(config, stage, network, Path(folder), count)
                batch = sampler.next_batch()
                fill_ms = _fill_ms(sampler)
                yield (
                    f"{stage.name}: filled from {count:,} frames on disk, a batch takes"
                    f" {fill_ms:.1f} ms of a core; {_resident_mb()} MB are resident"
                )
        operations = _operations(config, stage, batch)
        learner = Learner(network.to(device), config, stage, len(batch.weights))
        step_ms = _step_ms(learner, batch)
        yield (
            f"{stage.name}: a step of {batch.frames.shape[0]} rows of {batch.frames.shape[1]} is"
            f" {operations:,} operations, {step_ms:.1f} ms on {device}; {stage.steps:,} steps"
        )


def _sampler(
    config: Config, stage: StageConfig, network: DrivingNetwork, folder: Path, count: int
) -> BatchSampler:
    frame = config.frame.contract()
    shape: tuple[int, ...] = frame.shape
    dtype: npt.DTypeLike = np.uint8
    if stage.stored_features:
        visual = network.initial_state(1)[len(network.recurrent_tensors) :]
        seen, _ = network.perceive(torch.zeros(1, 1, *shape, dtype=torch.uint8), visual)
        shape, dtype = tuple(seen.shape[2:]), np.float16
    path = folder / f"{count}"
    np.memmap(path, dtype, "w+", shape=(count, *shape)).flush()
    recording = Recording(
        frames=np.memmap(path, dtype, "r", shape=(count, *shape)),
        labels=np.zeros((count, len(HEADS)), np.float32),
        times_s=np.linspace(0.0, count * network.period_s, count, endpoint=False),
        spans=tuple(
            Span(first, first + _SEQUENCE_FRAMES) for first in range(0, count, _SEQUENCE_FRAMES)
        ),
        folder=folder,
    )
    rows = [
        RowSource(
            recordings=(recording,),
            heads=HEADS,
            augment=None if stage.stored_features else source.augment,
            loss_weight=1.0,
        )
        for source in config.source
        for _ in range(source.batch_size * stage.batch_factor)
    ]
    return BatchSampler(
        rows,
        frame,
        window=stage.window,
        pass_frames=stage.pass_frames,
        period_s=network.period_s,
        seed=0,
        after_s=network.label_times_s,
    )


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations, each of which a GPU is given by itself."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: int = 0

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Count an operation that does more than to look at a tensor in another way."""
        self.seen += not func.is_view
        return func(*args, **kwargs or {})


def _operations(config: Config, stage: StageConfig, batch: Batch) -> int:
    """Return how many operations a step is, counted where they have no numbers to work on."""
    learner = Learner(build(config).to("meta"), config, stage, len(batch.weights))
    with _Counter() as counter:
        learner.step(batch, 0)
    return int(counter.seen)


def _fill_ms(sampler: BatchSampler) -> float:
    began_s = time.process_time()
    for _ in range(_BATCHES):
        sampler.next_batch()
    return (time.process_time() - began_s) * 1e3 / _BATCHES


def _step_ms(learner: Learner, batch: Batch) -> float:
    began_s = 0.0
    for step in range(_WARM_STEPS + _STEPS):
        if step == _WARM_STEPS:
            began_s = time.perf_counter()
        # The loss is a number only when the device is through with the step before.
        float(learner.step(batch, step).mean)
    return (time.perf_counter() - began_s) * 1e3 / _STEPS


def _resident_mb() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (found,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(found) // 1024
