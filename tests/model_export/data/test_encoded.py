"""Features are those that the network sees, computed once, with labels for their augmentation."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from model_export.config import AugmentConfig, Config, SourceConfig
from model_export.data.delay import delayed
from model_export.data.encoded import FeatureCache
from model_export.data.recording import Recording, Sample, record
from model_export.data.sources import Source
from model_export.networks import DrivingNetwork
from tests.model_export.builders import configured, warmed

FRAMES = 12
FLIPPED = AugmentConfig(flip=1.0)
SOURCE = SourceConfig(kind="rendered", batch_size=1)


@pytest.fixture
def config(tiny: Config) -> Config:
    return configured(tiny, "motion_lstm", {})


@pytest.fixture
def recording(config: Config, tmp_path: Path) -> Recording:
    """Two sequences of six frames; the angle is the frame's number."""
    rng = np.random.default_rng(2)
    samples = (
        Sample(
            rng.integers(0, 256, (240, 320, 3), np.uint8),
            np.array([index, np.nan, index], np.float32),
            index == FRAMES // 2,
            index / 20,
        )
        for index in range(FRAMES)
    )
    return record(samples, config.frame.contract(), tmp_path / "recording")


def cache_of(network: DrivingNetwork, config: Config, folder: Path) -> FeatureCache:
    return FeatureCache(network, config.frame.contract(), seed=0, folder=folder)


def source_of(recording: Recording, augment: AugmentConfig, passes: int) -> Source:
    settings = SourceConfig(kind="rendered", batch_size=1, augment=augment, passes=passes)
    return Source(config=settings, train=recording, holdout=None, validation=recording)


@torch.no_grad()
def test_stored_features_are_what_the_network_sees(
    config: Config, recording: Recording, tmp_path: Path
):
    network = warmed(config)
    stored = cache_of(network, config, tmp_path).source(source_of(recording, AugmentConfig(), 1))
    assert stored.validation.spans == recording.spans
    np.testing.assert_array_equal(stored.validation.labels, recording.labels)
    for span in recording.spans:
        frames = torch.from_numpy(np.array(recording.frames[span.first : span.last]))[None]
        features = torch.from_numpy(np.array(stored.validation.frames[span.first : span.last]))
        seen, _ = network.unroll(frames, network.initial_state(1))
        again, _ = network.unroll(features[None], network.initial_state(1))
        torch.testing.assert_close(again.mean, seen.mean, rtol=1e-2, atol=1e-2)


def test_every_pass_has_its_own_augmentations(config: Config, recording: Recording, tmp_path: Path):
    network = warmed(config)
    stored = cache_of(network, config, tmp_path).source(source_of(recording, FLIPPED, 3)).train
    assert len(stored.labels) == 3 * FRAMES
    assert len(stored.spans) == 3 * len(recording.spans)
    np.testing.assert_array_equal(stored.labels, -np.tile(recording.labels, (3, 1)))
    np.testing.assert_array_equal(stored.times_s, np.tile(recording.times_s, 3))


def test_lost_frames_are_not_seen_nor_compared(
    config: Config, recording: Recording, tmp_path: Path
):
    network = warmed(config)
    slow = AugmentConfig(rates_hz=(10.0,))
    stored = cache_of(network, config, tmp_path).source(source_of(recording, slow, 2)).train
    arrived = [0, 2, 4, 6, 8, 10]
    np.testing.assert_array_equal(stored.labels, np.tile(recording.labels[arrived], (2, 1)))
    np.testing.assert_allclose(np.diff(stored.times_s[:3]), 0.1)
    assert [span.first for span in stored.spans] == [0, 3, 6, 9]
    frames = torch.from_numpy(np.array(recording.frames[[0, 2, 4]]))[None]
    seen, _ = network.perceive(frames, network.initial_state(1)[2:])
    np.testing.assert_allclose(stored.frames[:3], seen[0].numpy(), rtol=1e-2, atol=1e-2)


def test_later_labels_are_stored_anew(config: Config, recording: Recording, tmp_path: Path):
    network = warmed(config)
    now = cache_of(network, config, tmp_path).training(recording, SOURCE)
    later = cache_of(network, config, tmp_path).training(delayed(recording, 0.05), SOURCE)
    np.testing.assert_array_equal(now.frames, later.frames)
    np.testing.assert_array_equal(later.labels[:5], now.labels[1:6])


def test_stored_features_are_not_computed_again(
    config: Config, recording: Recording, tmp_path: Path
):
    network = warmed(config)
    source = source_of(recording, AugmentConfig(), 1)
    first = cache_of(network, config, tmp_path).source(source)
    again = cache_of(network, config, tmp_path)
    network.perceive = None  # type: ignore[assignment]  # computing anything now fails
    second = again.source(source)
    assert second.train.folder == first.train.folder


def test_other_weights_have_other_features(tiny: Config, recording: Recording, tmp_path: Path):
    config = configured(tiny, "chauffeur", {"blocks": 1, "motion": False})
    config = dataclasses.replace(config, frame=configured(tiny, "motion_lstm", {}).frame)
    network = warmed(config)
    source = source_of(recording, AugmentConfig(), 1)
    first = cache_of(network, config, tmp_path).source(source)
    with torch.no_grad():
        next(network.trunk.parameters()).mul_(1.1)
    second = cache_of(network, config, tmp_path).source(source)
    assert second.train.folder != first.train.folder
