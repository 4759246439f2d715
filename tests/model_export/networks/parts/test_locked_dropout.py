"""The same features are dropped in a whole window, and none in use."""

from __future__ import annotations

import torch

from model_export.networks.parts.locked_dropout import LockedDropout


def test_a_feature_is_there_for_a_whole_window_or_not_at_all():
    torch.manual_seed(0)
    kept = LockedDropout(0.25).train()(torch.ones(8, 5, 400))
    assert (kept == kept[:, :1]).all()
    assert set(kept.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert abs((kept[:, 0] > 0).float().mean().item() - 0.75) < 0.03
    assert (kept[0] != kept[1]).any(), "every window is drawn by itself"


def test_in_use_it_changes_nothing():
    features = torch.randn(2, 3, 4)
    assert LockedDropout(0.5).eval()(features) is features
    assert LockedDropout(0.0).train()(features) is features
