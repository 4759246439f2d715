"""Recordings are kept whole or not at all, and made once."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from model_export.config import FrameConfig
from model_export.data.recording import Piece, Sample, Span, both_ways, cached, record
from model_export.errors import DataError
from steerstream_bundle.preprocess import prepare
from tests.model_export.builders import resident_kb

FRAME = FrameConfig(height_px=8, width_px=12).contract()


def samples(count: int = 4) -> Iterator[Sample]:
    for index in range(count):
        picture = np.random.default_rng(index).integers(0, 256, (40, 60, 3), np.uint8)
        yield Sample(picture, np.full(3, index, np.float32), index == 2, index / 20)


def broken() -> Iterator[Sample]:
    yield from samples(2)
    raise DataError("a picture is missing")


def test_a_recording_holds_prepared_frames_labels_and_sequences(tmp_path: Path):
    recording = record(samples(), FRAME, tmp_path / "r")
    assert recording.spans == (Span(0, 2), Span(2, 4))
    for index, sample in enumerate(samples()):
        np.testing.assert_array_equal(recording.frames[index], prepare(sample.picture, FRAME))
        np.testing.assert_array_equal(recording.labels[index], sample.labels)
        assert recording.times_s[index] == sample.time_s


def test_both_ways_are_a_recording_and_its_mirror_image(tmp_path: Path):
    recording = record(samples(), FRAME, tmp_path / "r")
    both = both_ways(recording, FRAME)
    assert both.spans == (Span(0, 2), Span(2, 4), Span(4, 6), Span(6, 8))
    np.testing.assert_array_equal(both.frames[:4], recording.frames)
    np.testing.assert_array_equal(both.frames[4:], recording.frames[:, :, ::-1])
    np.testing.assert_array_equal(both.labels[:4], recording.labels)
    np.testing.assert_array_equal(both.labels[4:], recording.labels * [-1, 1, -1])
    np.testing.assert_array_equal(both.times_s, [*recording.times_s, *recording.times_s])


def test_a_cached_recording_is_made_once_for_one_key(tmp_path: Path):
    made = []

    def make() -> list[Piece]:
        made.append(1)
        return [samples]

    first = cached(make, {"kind": "k", "roads": 1}, FRAME, tmp_path)
    again = cached(make, {"kind": "k", "roads": 1}, FRAME, tmp_path)
    np.testing.assert_array_equal(first.frames, again.frames)
    assert len(made) == 1
    cached(make, {"kind": "k", "roads": 2}, FRAME, tmp_path)
    assert len(made) == 2


def test_a_recording_that_was_cut_short_is_not_used(tmp_path: Path):
    key = {"kind": "k"}
    with pytest.raises(DataError, match="a picture is missing"):
        cached(lambda: [broken], key, FRAME, tmp_path)
    assert len(cached(lambda: [samples], key, FRAME, tmp_path).labels) == 4


@pytest.mark.parametrize("loaders", [0, 2])
def test_pieces_follow_each_other_whoever_reads_them(loaders: int, tmp_path: Path):
    pieces = [functools.partial(samples, count) for count in (3, 1, 4)]
    found = cached(lambda: pieces, {"kind": "k"}, FRAME, tmp_path, loaders=loaders)
    expected = [sample for piece in pieces for sample in piece()]
    for index, sample in enumerate(expected):
        np.testing.assert_array_equal(found.frames[index], prepare(sample.picture, FRAME))
        np.testing.assert_array_equal(found.labels[index], sample.labels)
    assert [span.first for span in found.spans] == [0, 2, 6]


def test_a_pieces_error_is_the_same_from_a_loader(tmp_path: Path):
    with pytest.raises(DataError, match=r"^a picture is missing$"):
        cached(lambda: [samples, broken], {"kind": "k"}, FRAME, tmp_path, loaders=2)


def test_frames_that_were_read_take_no_memory(tmp_path: Path):
    recording = record(samples(200), FRAME, tmp_path / "r")
    assert recording.frames.sum() > 0
    assert resident_kb(recording) > 0
    recording.let_go()
    assert resident_kb(recording) == 0
    assert recording.frames.sum() > 0


def test_a_source_without_frames_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no frames"):
        record([], FRAME, tmp_path / "r")
