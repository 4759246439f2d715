"""Labels of a later moment are the recording's own, between its frames, and end with a sequence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_export.data.delay import ahead, delayed
from model_export.data.recording import Recording, Span


@pytest.fixture
def recording() -> Recording:
    """Two sequences; times jump within the first, and the second head has no label."""
    times_s = np.array([0.0, 0.1, 0.3, 0.4, 7.0, 7.1, 7.2])
    labels = np.stack([10 * times_s, np.full(7, np.nan), np.arange(7)], axis=1)
    return Recording(
        frames=np.zeros((7, 1, 1, 3), np.uint8),
        labels=labels.astype(np.float32),
        times_s=times_s,
        spans=(Span(0, 4), Span(4, 7)),
        folder=Path("nowhere"),
    )


def test_labels_are_those_of_later(recording: Recording):
    angle, speed, torque = delayed(recording, 0.1).labels.T
    np.testing.assert_allclose(angle, [1, 2, 4, np.nan, 71, 72, np.nan], rtol=1e-5)
    assert np.isnan(speed).all()
    np.testing.assert_allclose(torque, [1, 1.5, 3, np.nan, 5, 6, np.nan], rtol=1e-5)


def test_no_label_crosses_a_break(recording: Recording):
    labels = delayed(recording, 0.35).labels
    assert np.isfinite(labels[:, 0]).tolist() == [True, False, False, False, False, False, False]


def test_without_delay_nothing_changes(recording: Recording):
    assert delayed(recording, 0.0) is recording


def test_labels_ahead_are_one_after_the_other():
    times_s = np.arange(6) / 20
    labels = np.arange(18, dtype=np.float32).reshape(6, 3)
    recording = Recording(
        frames=np.empty((6, 1, 1, 3), np.uint8),
        labels=labels,
        times_s=times_s,
        spans=(Span(0, 4), Span(4, 6)),
        folder=Path("nowhere"),
    )
    found = ahead(recording, (0.0, 0.025, 0.05))
    np.testing.assert_array_equal(found[:, 0], labels)
    np.testing.assert_allclose(found[0], [labels[0], labels[0] + 1.5, labels[1]])
    assert np.isnan(found[3, 1:]).all(), "the sequence ends here"
