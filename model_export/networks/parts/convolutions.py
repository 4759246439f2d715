"""PilotNet's convolutions (arXiv 1604.07316), and how windows and pixels come into a network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import fusion

from model_export.config import FrameConfig
from model_export.networks.parts.batch_norm import BatchNorm2d

PILOTNET = ((24, 5, 2), (36, 5, 2), (48, 5, 2), (64, 3, 1), (64, 3, 1))
"""Channels, kernel, stride."""


class PilotNetConvolutions(nn.Sequential):
    """Five convolutions on uint8 frames, each with batch normalisation, which PilotNet has not.

    `folded` leaves PilotNet's own: convolutions with biases.

    Args:
        stem: channels of the first and the second convolution, where nearly all work is, in place
            of PilotNet's. Multiples of 16 waste nothing on a CPU with AVX-512.
    """

    def __init__(self, stem: tuple[int, int] = (PILOTNET[0][0], PILOTNET[1][0])) -> None:
        layers: list[nn.Module] = []
        channels = 3
        for place, (usual, kernel, stride) in enumerate(PILOTNET):
            width = stem[place] if place < len(stem) else usual
            convolution = nn.Conv2d(channels, width, kernel, stride, bias=False)
            layers += [convolution, BatchNorm2d(width), nn.ReLU(inplace=True)]
            channels = width
        super().__init__(*layers)
        self.scales_pixels = True
        for parameter in self.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.to(memory_format=torch.channels_last)

    def forward(self, frames: Tensor) -> Tensor:
        """Turn uint8 frames [N, height, width, 3] into features [N, F]."""
        features = channels_first(frames[:, : seen_rows(frames.shape[1])])
        if self.scales_pixels:
            features = centred(features)
        for layer in self:
            features = layer(features)
        return features.flatten(1)

    def folded(self) -> PilotNetConvolutions:
        """Return a copy for inference: scaling and normalisation folded into the convolutions."""
        clone = copy.deepcopy(self).eval()
        layers: list[nn.Module] = []
        for layer in clone:
            if isinstance(layer, nn.BatchNorm2d):
                convolution = layers.pop()
                assert isinstance(convolution, nn.Conv2d)  # noqa: S101
                layers.append(fusion.fuse_conv_bn_eval(convolution, layer))
            else:
                layers.append(layer)
        _fold_scaling(layers[0])
        nn.Sequential.__init__(clone, *layers)
        clone.scales_pixels = False
        return clone.eval()

    @staticmethod
    def size(frame: FrameConfig) -> int:
        """Return F, the number of features of a frame."""
        height, width = frame.height_px, frame.width_px
        for _, kernel, stride in PILOTNET:
            height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
        return height * width * PILOTNET[-1][0]


def seen_rows(height: int) -> int:
    """Return how many of a frame's rows can reach PilotNet's last features: 61 of 66.

    Strides leave rows over at the bottom, layer by layer. Without them nothing changes but the
    time, by a fifteenth.
    """
    rows = height
    for _, kernel, stride in PILOTNET:
        rows = (rows - kernel) // stride + 1
    for _, kernel, stride in reversed(PILOTNET):
        rows = (rows - 1) * stride + kernel
    return rows


def framewise(function: Callable[[Tensor], Tensor], windows: Tensor) -> Tensor:
    """Apply a function of [N, ...] to every frame of windows [B, T, ...]."""
    flat = function(windows.flatten(0, 1))
    return flat.reshape(*windows.shape[:2], *flat.shape[1:])


def folded(windows: Tensor, shape: Sequence[int]) -> Tensor:
    """Return flat features [..., F] in a shape of as many elements: [..., *shape]."""
    return windows.reshape(*windows.shape[:-1], *shape)


def channels_first(frames: Tensor) -> Tensor:
    """Return uint8 frames [N, height, width, 3] as float [N, 3, height, width], 0..255.

    Channels last, as the frames lie: the permutation moves no bytes.
    """
    return frames.permute(0, 3, 1, 2).float()


def pixels(frames: Tensor) -> Tensor:
    """Return uint8 frames [N, height, width, 3] as float [N, 3, height, width], -1..1."""
    return centred(channels_first(frames))


def centred(pixels: Tensor) -> Tensor:
    """Map 0..255 to -1..1."""
    return pixels / 127.5 - 1.0


@torch.no_grad()
def _fold_scaling(first: nn.Module) -> None:
    """Make the first convolution take pixels 0..255; exact, because it pads nothing."""
    assert isinstance(first, nn.Conv2d)  # noqa: S101
    assert first.bias is not None  # noqa: S101
    first.bias -= first.weight.sum((1, 2, 3))
    first.weight /= 127.5
