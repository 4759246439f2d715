"""Frames that arrive: at the rate that was drawn, less what is lost, the first always."""

from __future__ import annotations

import numpy as np

from model_export.config import AugmentConfig
from model_export.data.thinning import kept

TIMES_S = np.arange(1000) / 20 + np.random.default_rng(0).uniform(-0.002, 0.002, 1000)


def test_nothing_goes_missing_unless_asked_for():
    np.testing.assert_array_equal(kept(TIMES_S, AugmentConfig(), (1,)), np.arange(1000))


def test_frames_come_at_the_drawn_rate():
    every_second = kept(TIMES_S, AugmentConfig(rates_hz=(10.0,)), (1,))
    np.testing.assert_array_equal(every_second, np.arange(0, 1000, 2))
    drawn = [
        len(kept(TIMES_S, AugmentConfig(rates_hz=(20.0, 10.0)), (seed,))) for seed in range(40)
    ]
    assert set(drawn) == {1000, 500}


def test_at_most_the_stated_share_is_lost_and_never_the_first():
    config = AugmentConfig(drop=0.4)
    shares = []
    for seed in range(200):
        places = kept(TIMES_S, config, (seed,))
        assert places[0] == 0
        assert (np.diff(places) > 0).all()
        shares.append(1 - len(places) / 1000)
    assert max(shares) < 0.46
    assert 0.15 < np.mean(shares) < 0.25


def test_the_seed_decides():
    config = AugmentConfig(drop=0.4)
    np.testing.assert_array_equal(kept(TIMES_S, config, (1, 2)), kept(TIMES_S, config, (1, 2)))
    assert len(kept(TIMES_S, config, (1, 2))) != len(kept(TIMES_S, config, (1, 3)))
