"""The ground comes nearer by what was driven, whatever the size of the network's picture."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from model_export.config import FrameConfig
from model_export.networks.parts.forward_motion import ForwardMotion
from steerstream_bundle.preprocess import prepare
from steerstream_simulation.labelled_drives import render_trace

FRAMES = 10
LARGE = FrameConfig(height_px=180, width_px=320, top=0.15, bottom=0.90)


def compared(frame: FrameConfig, speed_mps: float, layer: ForwardMotion) -> torch.Tensor:
    """Comparisons [1, FRAMES, 3] of a drive at constant speed."""
    zeros = np.zeros(FRAMES)
    drive = render_trace(zeros, zeros + speed_mps, zeros, seed=1004)
    pictures = [prepare(one.image, frame.contract()) for one in itertools.islice(drive, FRAMES)]
    moved, _ = layer.follow(
        torch.from_numpy(np.stack(pictures))[None], torch.zeros(1, *layer.shape)
    )
    return moved


@pytest.mark.parametrize("speed_mps", [0.0, 6.0, 14.0, 27.0])
def test_it_finds_what_was_driven(speed_mps: float):
    layer = ForwardMotion(LARGE)
    driven_m, spread_m, likeness = compared(LARGE, speed_mps, layer)[0, 1:].T
    assert driven_m.median().item() * 20 == pytest.approx(speed_mps, abs=1.0)
    assert spread_m.median() < 0.2
    assert likeness.median() > 0.4


def test_nothing_is_known_before_the_first_frame():
    moved = compared(LARGE, 14.0, ForwardMotion(LARGE))
    assert moved[0, 0, 1] > 1.0
    assert moved[0, 0, 2].abs() < 1e-3


def test_a_longer_time_divides_metres_and_not_likeness():
    layer = ForwardMotion(LARGE)
    moved = torch.tensor([[[2.0, 0.4, 0.9]]])
    halved = layer.a_period(moved, torch.tensor([[[2.0]]]))
    torch.testing.assert_close(halved, torch.tensor([[[1.0, 0.2, 0.9]]]))
