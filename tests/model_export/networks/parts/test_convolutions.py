"""PilotNet's convolutions: rows that cannot reach the features are not looked at."""

from __future__ import annotations

import torch

from model_export.networks.parts.convolutions import PilotNetConvolutions, seen_rows


def test_only_the_seen_rows_change_the_features():
    torch.manual_seed(0)
    convolutions = PilotNetConvolutions().eval()
    frames = torch.randint(0, 256, (1, 66, 200, 3), dtype=torch.uint8)
    before = convolutions(frames)
    rows = seen_rows(66)
    assert rows == 61
    below, last = frames.clone(), frames.clone()
    below[:, rows:] = 0
    last[:, rows - 1] = 255 - last[:, rows - 1]
    assert torch.equal(convolutions(below), before)
    assert not torch.equal(convolutions(last), before)


def test_every_row_that_a_taller_picture_can_use_is_seen():
    assert [seen_rows(height) for height in (61, 66, 69, 76, 77)] == [61, 61, 69, 69, 77]
