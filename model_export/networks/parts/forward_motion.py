"""How far the ground ahead came nearer between two frames: speed, measured without weights.

The lane ahead is seen from above: strips along the road, sampled at equal distances, so that
driving moves all of a strip by the same amount. Each strip of this frame is compared with the frame
before at every shift (normalised cross-correlation), and the mean of their curves has its soft
maximum where the vehicle was. Marks that lie along the road say nothing, so what changes slowly
along a strip is taken away, and strips vote alike: a bright line in one of them cannot outvote the
asphalt.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from model_export.config import FrameConfig
from model_export.networks.parts.comparison import Comparison
from model_export.networks.parts.convolutions import folded
from steerstream_simulation.camera import CameraConfig

_NEAREST_M = 12.5
"""Nearer ground lies below the picture."""
_STEP_M = 0.1
_SAMPLES = 115
_STRIPS_M = tuple(round(-1.4 + 0.2 * strip, 1) for strip in range(15))
"""Places of the strips, right of the vehicle's middle: within the lane."""

_TEMPLATE = 60
"""Samples of this frame that are looked for in the one before."""
_BACK = 5
"""Shifts of so many samples backwards are tried too, so that standing still is a maximum."""
_SMOOTH = 31
_CLAMP = 2.0
_SHARPNESS = 80.0
_EPSILON = 1e-3


class ForwardMotion(Comparison):
    """Metres driven, how sharply the soft maximum knows them, and the likeness of two frames.

    Args:
        frame: the network's picture; rows outside it repeat its last.
    """

    name = "ground"
    shape = (len(_STRIPS_M), _SAMPLES)
    lengths, width = 2, 3

    def __init__(self, frame: FrameConfig) -> None:
        super().__init__()
        places, weights = _sampling(frame)
        self.register_buffer("places", places.flatten(), persistent=False)
        self.register_buffer("weights", weights, persistent=False)
        tried = torch.arange(_SAMPLES - _TEMPLATE)
        windows = tried[:, None] + torch.arange(_TEMPLATE)
        self.register_buffer("windows", windows.flatten(), persistent=False)
        self.register_buffer("metres", (tried - _BACK) * _STEP_M, persistent=False)

    def look(self, frames: Tensor) -> Tensor:
        """Turn frames into strips of ground [N, *shape]; see `Comparison.look`."""
        grey = frames.float().mean(-1).flatten(1)
        corners = folded(grey.index_select(1, self.get_buffer("places")), (4, *self.shape))
        ground = (corners * self.get_buffer("weights")).sum(1)
        padded = functional.pad(ground, (_SMOOTH // 2, _SMOOTH // 2), mode="replicate")
        detail = ground - functional.avg_pool1d(padded, _SMOOTH, stride=1)
        usual = detail.abs().mean((1, 2), keepdim=True)
        return (detail / (_CLAMP * usual + _EPSILON)).clamp(-1, 1)

    def forward(self, before: Tensor, now: Tensor) -> Tensor:
        """Compare two looks; see `Comparison.forward`.

        Returns:
            [N, 3]: metres driven, standard deviation of the soft maximum in metres, likeness.
        """
        template = _centred(now[..., _BACK : _BACK + _TEMPLATE]).unsqueeze(2)
        picked = before.index_select(2, self.get_buffer("windows"))
        windows = _centred(folded(picked, (-1, _TEMPLATE)))
        energies = windows.square().sum(-1) * template.square().sum(-1)
        curve = ((windows * template).sum(-1) / (energies + _EPSILON).sqrt()).mean(1)
        weights, metres = torch.softmax(_SHARPNESS * curve, dim=-1), self.get_buffer("metres")
        driven = (weights * metres).sum(-1)
        spread = (weights * (metres - driven[:, None]).square()).sum(-1).sqrt()
        return torch.stack((driven, spread, curve.amax(-1)), dim=1)


def _sampling(frame: FrameConfig) -> tuple[Tensor, Tensor]:
    """Return what each sample of the ground is made of: four pixels' places and their weights.

    Returns:
        Two tensors [4, strips, samples].
    """
    camera = CameraConfig()
    rows_per_pixel = frame.height_px / ((frame.bottom - frame.top) * camera.height_px)
    columns_per_pixel = frame.width_px / camera.width_px
    distance_m = _NEAREST_M + _STEP_M * torch.arange(_SAMPLES)
    below = camera.focal_px * camera.mount_height_m / distance_m
    row = ((camera.horizon - frame.top) * camera.height_px + below) * rows_per_pixel
    right = camera.focal_px * torch.tensor(_STRIPS_M)[:, None] / distance_m
    column = (camera.width_px / 2 + right) * columns_per_pixel
    row = row + torch.zeros_like(column)
    row, column = row.clamp(0, frame.height_px - 1), column.clamp(0, frame.width_px - 1)
    top, left = row.floor(), column.floor()
    places, weights = [], []
    for down in (0, 1):
        for aside in (0, 1):
            y = (top + down).clamp_max(frame.height_px - 1)
            x = (left + aside).clamp_max(frame.width_px - 1)
            places.append((y * frame.width_px + x).long())
            weights.append((1 - (row - top - down).abs()) * (1 - (column - left - aside).abs()))
    return torch.stack(places), torch.stack(weights)


def _centred(strips: Tensor) -> Tensor:
    return strips - strips.mean(-1, keepdim=True)
