"""Commands and horizons read from one trajectory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model_export.networks.parts.trajectory import (
    MAX_ACT_IN_S,
    SPACING_S,
    STEPS,
    TIMES_S,
    TrajectoryHeads,
    both_ends,
    from_then_on,
)


@pytest.mark.parametrize("act_in_s", [0.0, 0.05, 0.12, MAX_ACT_IN_S])
def test_a_command_and_its_steps_lie_between_the_values_of_their_times(act_in_s: float):
    values = torch.randn(2, 3, len(TIMES_S))
    found = from_then_on(values, torch.full((2,), act_in_s)).numpy()
    times_s = act_in_s + SPACING_S * np.arange(STEPS + 1)
    for row, head in np.ndindex(2, 3):
        expected = np.interp(times_s, TIMES_S, values[row, head].numpy())
        np.testing.assert_allclose(found[row, head], expected, atol=1e-5)


def test_each_row_has_its_own_time():
    values = torch.arange(len(TIMES_S)).float().expand(2, 3, -1)
    found = from_then_on(values, torch.tensor([0.0, 0.1]))
    assert found[:, 0, 0].tolist() == pytest.approx([0.0, 2.0])
    assert found[:, 0, -1].tolist() == pytest.approx([10.0, 12.0])


def test_deviations_grow_evenly_from_the_first_time_to_the_last():
    ends = torch.tensor([[[0.1, 0.4]] * 3])
    for act_in_s in (0.0, 0.1, MAX_ACT_IN_S):
        command, last = both_ends(ends, torch.tensor([act_in_s]))
        for found, time_s in ((command, act_in_s), (last, act_in_s + STEPS * SPACING_S)):
            expected = np.interp(time_s, (TIMES_S[0], TIMES_S[-1]), (0.1, 0.4))
            assert found[0].tolist() == pytest.approx([expected] * 3)


def test_scales_that_are_folded_in_give_the_same_values():
    heads, features = TrajectoryHeads(5), torch.randn(4, 5)
    mean, scale = torch.tensor([0.0, 15.0, 1.0]), torch.tensor([0.25, 5.0, 0.8])
    expected = heads(features).mean * scale[:, None] + mean[:, None]
    torch.testing.assert_close(heads.scaled(mean, scale)(features).mean, expected)
