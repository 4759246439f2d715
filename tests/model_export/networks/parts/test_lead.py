"""A command that acts late goes on changing as it has been changing."""

from __future__ import annotations

import math

import pytest
import torch

from model_export.networks.parts.lead import SETTLES_S, led, slow_mean

PERIOD_S = 0.05


def followed(commands: list[float], periods: float = 1.0) -> float:
    slow = torch.zeros(1, 1)
    for said in commands:
        slow = slow_mean(torch.tensor([[said]]), slow, torch.tensor([[periods]]), PERIOD_S)
    return slow.item()


def test_the_slow_mean_of_a_step_settles_with_its_time_constant():
    seconds = 2.0
    assert followed([1.0] * round(seconds / PERIOD_S)) == pytest.approx(
        1 - math.exp(-seconds / SETTLES_S), abs=0.01
    )


def test_the_slow_mean_is_nearly_that_of_all_frames_where_every_other_is_lost():
    bend = [0.02 * step for step in range(40)]
    assert followed(bend[1::2], periods=2.0) == pytest.approx(followed(bend), abs=0.02)


def test_a_command_that_acts_at_once_is_not_led():
    said, slow, at_once = torch.tensor([[0.3]]), torch.tensor([[-0.5]]), torch.zeros(1, 1)
    assert led(said, slow, at_once, gain=1.0).item() == pytest.approx(0.3)


def test_a_ramp_is_led_to_where_it_will_be():
    rate_radps, delay_s = 0.2, 0.25
    commands = [rate_radps * PERIOD_S * step for step in range(200)]
    found = led(
        torch.tensor([[commands[-1]]]),
        torch.tensor([[followed(commands)]]),
        torch.tensor([[delay_s]]),
        gain=1.0,
    )
    assert found.item() == pytest.approx(commands[-1] + rate_radps * delay_s, rel=0.01)


def test_a_steady_command_is_not_led():
    steady = [0.4] * 400
    found = led(
        torch.tensor([[0.4]]), torch.tensor([[followed(steady)]]), torch.tensor([[0.25]]), gain=1.0
    )
    assert found.item() == pytest.approx(0.4, abs=1e-4)
