"""Networks of every kind, small enough for tests."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import nn

from model_export.config import Config, FrameConfig, NetworkConfig
from model_export.data.recording import Recording
from model_export.data.sequences import Batch
from model_export.networks import DrivingNetwork, build, kinds
from model_export.networks.parts.plan import Plan
from model_export.networks.parts.streamed import StreamedConvolution

LARGE = FrameConfig(height_px=180, width_px=320, top=0.15, bottom=0.90)
FRAMES = {"chauffeur": LARGE, "motion_lstm": LARGE}
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "pilotnet_lstm": [
        {"cell": cell, "layers": layers, "features": 8, "hidden": 6}
        for cell, layers in (("lstm", 1), ("gru", 2), ("rnn", 3))
    ]
    + [
        {"features": 8, "hidden": 6, "motion": True},
        {"first": 16, "second": 24, "features": 8, "hidden": 6, "motion": True}
        | {"interval": True, "horizon": True},
        {"features": 8, "hidden": 6, "motion": True, "interval": True, "horizon": True}
        | {"plan": True},
        {"features": 8, "hidden": 6, "motion": True, "interval": True, "horizon": True}
        | {"plan": True, "lead": 1.0},
    ],
    "chauffeur": [
        {"blocks": 4, "hidden": 6, "layers": 2},
        {"blocks": 2, "hidden": 6, "window": 4},
        {"blocks": 2, "motion": False},
        {"blocks": 2, "hidden": 6, "interval": True, "forward": True},
        {"blocks": 2, "hidden": 6, "interval": True, "forward": True, "members": 3},
        {"blocks": 2, "hidden": 6, "window": 4, "members": 2},
    ],
}
CASES = [
    (f"{kind}_{index}", kind, settings)
    for kind in kinds()
    for index, settings in enumerate(SETTINGS.get(kind, [{}]))
]
"""Name, kind and settings of every network that the tests try."""


def configured(tiny: Config, kind: str, settings: dict[str, Any]) -> Config:
    network = NetworkConfig(kind=kind, settings=MappingProxyType(settings))
    return dataclasses.replace(tiny, network=network, frame=FRAMES.get(kind, FrameConfig()))


def random_frames(config: Config, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    size = (*shape, *config.frame.contract().shape)
    return torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)


def warmed(config: Config) -> DrivingNetwork:
    """A network that uses all its state, whose batch normalisation has seen something."""
    torch.manual_seed(0)
    network = build(config)
    for module in network.modules():
        if isinstance(module, StreamedConvolution):
            # It starts without a use for the frames before.
            nn.init.normal_(module.slices.weight, std=0.05)
        if isinstance(module, Plan):
            # It starts by saying that nothing changes.
            nn.init.normal_(module.fresh.weight, std=0.05)
    network.train().unroll(random_frames(config, 2, 3), network.initial_state(2))
    return network.eval()


def uneven_batch(config: Config, times: int) -> Batch:
    """Three rows: two processes have two and one; labels are missing here and there."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.randn(3, 2, times, 3, generator=generator)
    labels[0, :, :, 1] = labels[2, 0] = torch.nan
    return Batch(
        frames=random_frames(config, 3, 2).numpy(),
        labels=labels.numpy(),
        weights=np.array([1.0, 0.5, 2.0], np.float32),
        resets=np.array([True, False, True]),
        intervals_s=np.full((3, 2), 0.05, np.float32),
    )


def resident_kb(recording: Recording) -> int:
    """What this process has in memory of a recording's frames."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    mapped = (line for line in lines if line.endswith(str(recording.folder / "frames.u8")))
    return sum(
        int(next(line for line in lines if line.startswith("Rss:")).split()[1]) for _ in mapped
    )
