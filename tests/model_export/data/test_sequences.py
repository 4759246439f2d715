"""Lanes hand out consecutive windows, reset where a sequence ends, and can be resumed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from model_export.config import HEADS, AugmentConfig, FrameConfig
from model_export.data.recording import Recording, Sample, record, spans
from model_export.data.sequences import BatchSampler, RowSource
from model_export.errors import DataError
from tests.model_export.builders import resident_kb

FRAME = FrameConfig(height_px=2, width_px=2).contract()


def source(*lengths: int, heads: tuple[str, ...] = HEADS, noise: float = 0.0) -> RowSource:
    """A source whose frame and speed label are the frame's index."""
    count = sum(lengths)
    starts = np.zeros(count, np.bool_)
    starts[np.cumsum([0, *lengths[:-1]])] = True
    index = np.arange(count)
    frames = np.broadcast_to(index[:, None, None, None], (count, *FRAME.shape)).astype(np.uint8)
    labels = np.broadcast_to(index[:, None], (count, 3)).astype(np.float32)
    recording = Recording(
        frames=frames,
        labels=labels,
        times_s=index / 20,
        spans=spans(starts),
        folder=Path("nowhere"),
    )
    augment = AugmentConfig(noise=noise)
    return RowSource(recordings=(recording,), heads=heads, augment=augment, loss_weight=1.0)


def sampler(*rows: RowSource, window: int = 5, pass_frames: int = 20) -> BatchSampler:
    return BatchSampler(rows, FRAME, window=window, pass_frames=pass_frames, period_s=0.07, seed=1)


def test_windows_follow_each_other_until_the_reset():
    draws = sampler(source(100, 60))
    before: int | None = None
    lengths: list[int] = []
    for _ in range(60):
        batch = draws.next_batch()
        indices = batch.labels[0, :, 0, 1]
        np.testing.assert_array_equal(batch.frames[0, :, 0, 0, 0], indices)
        np.testing.assert_array_equal(np.diff(indices), 1)
        assert not (indices[0] < 100 <= indices[-1]), "a window crosses a break"
        if batch.resets[0]:
            lengths.append(0)
        else:
            assert before is not None
            assert indices[0] == before + 1
        lengths[-1] += 5
        before = int(indices[-1])
    assert max(lengths) == 20


def test_sequences_are_drawn_by_their_durations():
    fast, slow = source(100).recordings[0], source(100).recordings[0]
    slow = dataclasses.replace(slow, times_s=slow.times_s * 2, labels=-slow.labels)
    both = dataclasses.replace(source(100), recordings=(fast, slow))
    draws = sampler(both, pass_frames=5)
    drawn = [draws.next_batch().labels[0, -1, 0, 1] < 0 for _ in range(900)]
    assert 0.62 < np.mean(drawn) < 0.71


def test_the_first_window_of_every_lane_is_a_reset():
    batch = sampler(source(50), source(50)).next_batch()
    assert batch.resets.all()
    assert batch.frames.shape == (2, 5, *FRAME.shape)


def test_intervals_are_those_of_the_recording_and_nominal_where_a_sequence_begins():
    draws = sampler(source(7, 7), window=7)
    np.testing.assert_allclose(draws.next_batch().intervals_s, [[0.07] + [0.05] * 6], rtol=1e-6)


def test_heads_that_a_source_does_not_teach_are_nan():
    labels = sampler(source(50, heads=("speed",))).next_batch().labels
    assert np.isfinite(labels[..., 1]).all()
    assert np.isnan(labels[..., [0, 2]]).all()


def test_a_resumed_sampler_goes_on_with_the_same_batches():
    rows = (source(40, 30, noise=20.0), source(50, noise=20.0))
    one, other = sampler(*rows), sampler(*rows)
    for _ in range(7):
        one.next_batch()
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    for _ in range(10):
        left, right = one.next_batch(), other.next_batch()
        np.testing.assert_array_equal(left.frames, right.frames)
        np.testing.assert_array_equal(left.labels, right.labels)
        np.testing.assert_array_equal(left.resets, right.resets)


def test_batches_leave_none_of_the_frames_on_disk_in_memory(tmp_path: Path):
    samples = (
        Sample(np.zeros(FRAME.shape, np.uint8), np.zeros(3, np.float32), index == 0, index / 20)
        for index in range(50)
    )
    recording = record(samples, FRAME, tmp_path / "r")
    row = dataclasses.replace(source(50), recordings=(recording,))
    assert recording.frames.max() == 0
    assert resident_kb(recording) > 0
    sampler(row).next_batch()
    assert resident_kb(recording) == 0


def test_a_source_without_a_sequence_of_one_window_is_refused():
    with pytest.raises(DataError, match="no sequence of 5 frames"):
        sampler(source(4, 3))


def test_labels_of_later_are_those_of_later_frames():
    draws = BatchSampler(
        (source(50),), FRAME, window=5, pass_frames=5, period_s=0.05, seed=1, after_s=(0.0, 0.1)
    )
    for _ in range(30):
        now, later = draws.next_batch().labels[0, :, :, 1].T
        known = now < 48
        np.testing.assert_allclose(later[known], now[known] + 2, rtol=1e-5)
        assert np.isnan(later[~known]).all()
