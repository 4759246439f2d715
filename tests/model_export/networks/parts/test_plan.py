"""What a network remembers of the road ahead, and what it learns it from."""

from __future__ import annotations

import math

import pytest
import torch

from model_export.networks.parts.plan import PERIODS, Plan, moved_on, own_commands, plan_loss


def slope(*shape: int) -> torch.Tensor:
    return torch.arange(PERIODS).float().expand(*shape, PERIODS).clone()


@pytest.mark.parametrize("periods", [0.0, 1.0, 1.5, 4.0])
def test_a_plan_is_said_for_the_same_moments_later(periods: float):
    moved = moved_on(slope(1), torch.tensor([periods]))[0]
    expected = (torch.arange(PERIODS) + periods).clamp_max(PERIODS - 1)
    assert torch.allclose(moved, expected, atol=1e-4)


def test_after_a_long_pause_only_the_plans_end_is_left():
    assert moved_on(slope(1), torch.tensor([100.0])).tolist() == [[PERIODS - 1.0] * PERIODS]


def test_each_vehicle_has_its_own_pause():
    moved = moved_on(slope(2), torch.tensor([0.0, 3.0]))
    assert moved[:, 0].tolist() == pytest.approx([0.0, 3.0])


def test_a_plan_that_learned_nothing_says_that_nothing_changes():
    plan = Plan(seen=5, known=4).eval()
    found, last = plan.follow(
        torch.randn(2, 3, 5), torch.randn(2, 3, 4), torch.ones(2, 3), torch.zeros(2, PERIODS)
    )
    assert found.shape == (2, 3, PERIODS)
    assert not found.any()
    assert not last.any()


def test_a_frame_that_is_not_trusted_leaves_the_plan_as_it_was_moved_on():
    plan = Plan(seen=5, known=4).eval()
    torch.nn.init.constant_(plan.trust.bias, 50.0)
    before = torch.randn(2, PERIODS)
    _, found = plan.follow(torch.randn(2, 1, 5), torch.randn(2, 1, 4), torch.ones(2, 1), before)
    assert torch.allclose(found, moved_on(before, torch.ones(2)), atol=1e-5)


def test_windows_are_followed_as_single_frames_are():
    plan = Plan(seen=5, known=4).eval()
    torch.nn.init.normal_(plan.fresh.weight)
    seen, known, periods = torch.randn(2, 4, 5), torch.randn(2, 4, 4), torch.rand(2, 4) + 0.5
    whole, last = plan.follow(seen, known, periods, torch.zeros(2, PERIODS))
    before = torch.zeros(2, PERIODS)
    for at in range(4):
        step = slice(at, at + 1)
        _, before = plan.follow(seen[:, step], known[:, step], periods[:, step], before)
        assert torch.allclose(before, whole[:, at], atol=1e-6)
    assert torch.allclose(last, before, atol=1e-6)


def test_own_commands_are_what_was_said_later_and_unknown_beyond_the_window():
    later = own_commands(torch.tensor([[1.0, 2.0, 3.0]]))
    assert later.shape == (1, 3, PERIODS)
    assert later[0, 0, :3].tolist() == [1.0, 2.0, 3.0]
    assert later[0, 2, 0] == 3.0
    assert math.isnan(later[0, 2, 1])


def test_a_plan_of_what_came_costs_nothing_and_any_other_does():
    commands = own_commands(torch.randn(2, 40))
    right = torch.nan_to_num(commands)
    assert plan_loss(right, commands) == 0
    assert plan_loss(right + 0.1, commands) > 0


def test_a_change_that_was_missed_costs_more_where_the_steering_changes():
    still, bend = torch.zeros(1, 40), torch.linspace(0, 2, 40)[None]
    loss = [
        plan_loss(torch.nan_to_num(said) + 0.02 * slope(1, 40), said)
        for said in (own_commands(still), own_commands(bend))
    ]
    assert loss[1] > loss[0]


def test_what_is_unknown_teaches_nothing():
    plans = torch.randn(1, 1, PERIODS, requires_grad=True)
    plan_loss(plans, own_commands(torch.zeros(1, 1))).backward()
    assert plans.grad is not None
    assert not plans.grad[0, 0, 1:].any()
