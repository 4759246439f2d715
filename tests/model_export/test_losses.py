"""A head without a label teaches nothing, and the loss is the stated one."""

from __future__ import annotations

import math

import torch

from model_export.config import Config
from model_export.losses import MaskedLoss

NAN = math.nan


def test_an_unlabelled_head_gets_no_gradient(tiny: Config):
    outputs = torch.ones(2, 3, 3, requires_grad=True)
    labels = torch.zeros(2, 3, 3)
    labels[..., 1] = NAN
    labels[1, :, 2] = NAN
    MaskedLoss(tiny.heads)(outputs, labels, torch.ones(2)).backward()
    assert outputs.grad is not None
    assert torch.isfinite(outputs.grad).all()
    assert (outputs.grad[..., 1] == 0).all()
    assert (outputs.grad[1, :, 2] == 0).all()
    assert (outputs.grad[..., 0] != 0).all()
    assert (outputs.grad[0, :, 2] != 0).all()


def test_the_loss_is_quadratic_then_linear_in_each_heads_scale(tiny: Config):
    loss = MaskedLoss(tiny.heads)
    near, far = torch.tensor([[[0.1, NAN, NAN]]]), torch.tensor([[[1.0, NAN, NAN]]])
    zero = torch.zeros(1, 1, 3)
    # robust = 0.2 rad, weight = 1
    assert math.isclose(loss(zero, near, torch.ones(1)), 0.5 * 0.5**2, rel_tol=1e-6)
    assert math.isclose(loss(zero, far, torch.ones(1)), 5.0 - 0.5, rel_tol=1e-6)


def test_a_lanes_weight_scales_its_share(tiny: Config):
    labels = torch.full((2, 1, 3), NAN)
    labels[0, 0, 0], labels[1, 0, 0] = 0.2, 0.0
    outputs = torch.zeros(2, 1, 3)
    loss = MaskedLoss(tiny.heads)
    assert math.isclose(loss(outputs, labels, torch.tensor([3.0, 1.0])), 0.75 * 0.5, rel_tol=1e-6)


def test_no_label_at_all_is_no_loss(tiny: Config):
    labels = torch.full((1, 2, 3), NAN)
    assert MaskedLoss(tiny.heads)(torch.ones(1, 2, 3), labels, torch.ones(1)) == 0
