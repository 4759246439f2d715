"""A head without a label teaches nothing, and the loss is the stated one."""

from __future__ import annotations

import math

import torch

from model_export.config import Config
from model_export.networks.parts.losses import MaskedLoss, gaussian_loss

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


def test_a_row_s_weight_scales_its_share(tiny: Config):
    labels = torch.full((2, 1, 3), NAN)
    labels[0, 0, 0], labels[1, 0, 0] = 0.2, 0.0
    outputs = torch.zeros(2, 1, 3)
    loss = MaskedLoss(tiny.heads)
    assert math.isclose(loss(outputs, labels, torch.tensor([3.0, 1.0])), 0.75 * 0.5, rel_tol=1e-6)


def test_no_label_at_all_is_no_loss(tiny: Config):
    labels = torch.full((1, 2, 3), NAN)
    assert MaskedLoss(tiny.heads)(torch.ones(1, 2, 3), labels, torch.ones(1)) == 0


def test_the_gaussian_loss_is_least_where_deviation_and_error_agree():
    labels = torch.tensor([[[0.3, 2.0, NAN]]])
    mean, weights = torch.zeros(1, 1, 3, requires_grad=True), torch.ones(1)
    stddev = torch.tensor([[[0.3, 1.0, 5.0]]], requires_grad=True)
    loss = gaussian_loss(mean, stddev, labels, weights)
    assert math.isclose(loss.detach(), math.log(0.3) + 0.5 + 0.5 * 2.0**2, rel_tol=1e-6)
    loss.backward()
    assert mean.grad is None
    right, small, unlabelled = stddev.grad.flatten()
    assert math.isclose(right, 0.0, abs_tol=1e-6)
    assert math.isclose(small, 1.0 - 2.0**2, rel_tol=1e-6)
    assert unlabelled == 0


def test_a_lane_without_weight_says_nothing_of_deviations():
    labels = torch.zeros(2, 1, 3)
    labels[1] = 100.0
    loss = gaussian_loss(
        torch.zeros(2, 1, 3), torch.ones(2, 1, 3), labels, torch.tensor([1.0, 0.0])
    )
    assert loss == 0
