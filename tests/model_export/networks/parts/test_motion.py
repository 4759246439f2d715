"""The correlation layer finds how far a picture moved, to parts of a pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from model_export.networks.parts.motion import SidewaysMotion


def scene(shift: float, gain: float = 1.0) -> torch.Tensor:
    """A picture [1, 60, 200, 3] of blurred noise, moved right by `shift` pixels."""
    noise = np.random.default_rng(4).integers(0, 256, (60, 260), np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2) * gain
    move = np.array([[1, 0, shift], [0, 1, 0]], np.float64)
    moved = cv2.warpAffine(smooth, move, (260, 60), borderMode=cv2.BORDER_REFLECT_101)
    grey = np.clip(moved[:, 30:230], 0, 255).astype(np.uint8)
    return torch.from_numpy(np.repeat(grey[None, :, :, None], 3, axis=3))


@pytest.mark.parametrize("shift", [-20.0, -3.5, 0.0, 0.25, 7.0, 12.75])
def test_it_finds_a_shift(shift: float):
    layer = SidewaysMotion(60, 200, bands=((0.0, 0.5), (0.4, 1.0)), reach=30)
    moved = layer(layer.look(scene(0.0)), layer.look(scene(shift, gain=0.8)))
    assert moved.shape == (1, layer.width)
    assert moved[0, :2].numpy() * 8 == pytest.approx([shift, shift], abs=0.25)
    assert (moved[0, 2:] > 0.9).all()


def test_before_the_first_frame_nothing_moved():
    layer = SidewaysMotion(60, 200, bands=((0.0, 1.0),))
    moved = layer(torch.zeros(1, *layer.shape), layer.look(scene(3.0)))
    assert moved.abs().max() < 1e-3


def test_a_coarse_look_is_the_blurred_mean_of_four_green_pixels_to_the_last_bit():
    frames = torch.randint(0, 256, (2, 18, 50, 3), dtype=torch.uint8)
    frames[1] = 255
    layer = SidewaysMotion(18, 50, bands=((0.0, 1.0),), coarse=True)
    averaged = functional.avg_pool2d(frames[..., 1].float()[:, None], 2)
    blur = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]).view(1, 1, 1, 5) / 16
    blurred = functional.conv2d(averaged, blur, padding=(0, 2))[:, 0]
    assert torch.equal(layer.look(frames), (blurred / 64).clamp_max(4.0))
