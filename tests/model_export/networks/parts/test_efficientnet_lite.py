"""EfficientNet-Lite0: shapes, weights from the package, and what is folded for export."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from model_export.networks.parts.efficientnet_lite import BLOCKS, EfficientNetLite0


@pytest.mark.parametrize("blocks", [1, 5, 11, 16])
@torch.no_grad()
def test_it_can_be_chopped_anywhere(blocks: int):
    trunk = EfficientNetLite0(blocks, (63, 161))
    assert trunk(torch.zeros(2, 3, 63, 161)).shape == (2, *trunk.shape)


@torch.no_grad()
def test_its_weights_come_from_the_package_and_fold():
    trunk = EfficientNetLite0(BLOCKS, (64, 64))
    trunk.load_pretrained()
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    features = trunk(pixels)
    # ImageNet's statistics normalise what comes out of the last block; random weights would not.
    assert 0.5 < features.std() < 3
    folded = trunk.folded()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(folded(pixels), features, rtol=1e-3, atol=1e-3)


def test_training_keeps_its_statistics():
    trunk: Any = EfficientNetLite0(2, (32, 32)).train()
    before = trunk.stem.norm.running_mean.clone()
    trunk(torch.rand(2, 3, 32, 32) * 255)
    assert torch.equal(trunk.stem.norm.running_mean, before)
