"""Readers of the sources, over small folders in their formats, and over the real data."""

from __future__ import annotations

import dataclasses
import itertools
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from model_export.config import Config, FrameConfig, SourceConfig
from model_export.data import rendered, udacity_ch2, udacity_sim, udacity_traces
from model_export.data.recording import Piece, Sample, Span
from model_export.data.sources import read_source
from model_export.errors import ConfigError, DataError

WriteJpeg = Callable[..., None]
FRAME = FrameConfig().contract()


def samples_of(pieces: Sequence[Piece]) -> list[Sample]:
    return [sample for piece in pieces for sample in piece()]


def test_the_real_drive_gives_its_splits(small_data: Path):
    train = samples_of(udacity_ch2.pieces(small_data, "train", FRAME))
    validation = samples_of(udacity_ch2.pieces(small_data, "validation", FRAME))
    assert (len(train), len(validation)) == (60, 20)
    assert [sample.starts for sample in train[:2]] == [True, False]
    assert np.isnan(train[0].labels[1:]).all()
    assert math.isclose(validation[0].labels[0], 0.3 * math.sin(60 / 5), rel_tol=1e-6)
    assert train[0].picture.shape == (48, 64, 3)


def test_blocks_are_held_out_of_training(tiny: Config, small_data: Path, tmp_path: Path):
    held = dataclasses.replace(tiny.source[0], options={"holdout": ["1"]})
    source = read_source(held, tiny, small_data, tmp_path)
    assert source.holdout is not None
    whole = read_source(tiny.source[0], tiny, small_data, tmp_path)
    assert whole.holdout is None
    np.testing.assert_array_equal(source.holdout.labels[:20], whole.train.labels[20:40])
    np.testing.assert_array_equal(
        source.train.labels, np.delete(whole.train.labels, np.s_[20:40], axis=0)
    )
    assert source.train.spans == (Span(0, 20), Span(20, 40))
    np.testing.assert_allclose(source.train.times_s[[0, 20]], [0.0, 2.0])
    assert source.validation.folder == whole.validation.folder


@pytest.mark.parametrize(("flip", "frames"), [(0.5, 40), (0.0, 20)])
def test_what_is_held_out_is_judged_mirrored_too_where_training_mirrors(
    flip: float, frames: int, tiny: Config, small_data: Path, tmp_path: Path
):
    augment = dataclasses.replace(tiny.source[0].augment, flip=flip)
    held = dataclasses.replace(tiny.source[0], options={"holdout": ["1"]}, augment=augment)
    holdout = read_source(held, tiny, small_data, tmp_path).holdout
    assert holdout is not None
    assert len(holdout.labels) == frames


def test_a_block_that_does_not_exist_is_named(tiny: Config, small_data: Path, tmp_path: Path):
    held = dataclasses.replace(tiny.source[0], options={"holdout": ["3"]})
    with pytest.raises(DataError, match="no block '3' among these rows; there are: 0, 1, 2"):
        read_source(held, tiny, small_data, tmp_path)


def test_a_missing_or_broken_picture_is_named(small_data: Path, tmp_path: Path):
    folder = tmp_path / udacity_ch2.FOLDER
    folder.mkdir()
    folder.joinpath("labels.csv").write_text("frame_id,filename,split\n1,no.jpg,train\n")
    with pytest.raises(DataError, match=r"no\.jpg: No such file"):
        samples_of(udacity_ch2.pieces(tmp_path, "train", FRAME))
    folder.joinpath("no.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"no\.jpg: not a JPEG"):
        samples_of(udacity_ch2.pieces(tmp_path, "train", FRAME))


def write_simulator_log(data: Path, times: list[str], write_jpeg: WriteJpeg) -> None:
    folder = data / udacity_sim.FOLDER
    lines = ["filename,steering_normalised,throttle,brake,speed_mph"]
    for time in times:
        write_jpeg(folder / "frames" / f"center_{time}.jpg", 32, 16)
        lines.append(f"center_{time}.jpg,0.5,1,0,30")
    (folder / "driving_log.csv").write_text("\n".join(lines) + "\n")


def test_the_simulators_right_is_positive_and_its_speed_in_miles(
    tmp_path: Path, write_jpeg: WriteJpeg
):
    times = [f"2018_04_18_12_11_{second:02}_{ms:03}" for second in range(5) for ms in (0, 100, 250)]
    write_simulator_log(tmp_path, times, write_jpeg)
    train = list(udacity_sim.read(tmp_path, "train", FRAME))
    assert len(train) == 13
    assert len(list(udacity_sim.read(tmp_path, "validation", FRAME))) == 2
    angle, speed, torque = train[0].labels
    assert math.isclose(angle, -0.5 * math.radians(25) * 14.8, rel_tol=1e-6)
    assert math.isclose(speed, 30 * 0.44704, rel_tol=1e-6)
    assert math.isnan(torque)
    # Three frames a second, then a pause of 0.75 s.
    assert [sample.starts for sample in train[:4]] == [True, False, False, True]


def test_a_simulator_picture_without_a_time_is_named():
    with pytest.raises(DataError, match="no time in the name"):
        udacity_sim.capture_time_s("center.jpg")


def write_traces(data: Path, rows: int) -> None:
    folder = data / udacity_traces.FOLDER
    folder.mkdir(parents=True)
    for drive in itertools.chain(*udacity_traces.DRIVES.values()):
        lines = ["frame_id,t_s,steering_angle_rad,steering_torque_nm,speed_mps"]
        lines += [f"{i * 50_000_000},{i / 20},0.05,0.4,15" for i in range(rows)]
        (folder / f"{drive}.csv").write_text("\n".join(lines) + "\n")


def test_traces_keep_their_labels_and_get_pictures(tmp_path: Path):
    write_traces(tmp_path, 10)
    drives = udacity_traces.drives(tmp_path, "train", chunk_s=0.25, rate_hz=20.0, every=2)
    samples = samples_of(drives)
    # Of each of three drives, one of two pieces of five frames.
    assert [sample.starts for sample in samples] == [True, False, False, False, False] * 3
    np.testing.assert_allclose(samples[0].labels, [0.05, 15, 0.4], rtol=1e-6)
    assert samples[0].picture.shape == (240, 320, 3)
    assert (samples[0].picture != samples[5].picture).any()


def test_pieces_of_traces_are_held_out_of_training(tmp_path: Path):
    write_traces(tmp_path, 20)

    def count(split: str) -> int:
        drives = udacity_traces.drives(
            tmp_path, split, chunk_s=0.25, rate_hz=20.0, every=1, holdout_every=4
        )
        return len(drives)

    # Of each of three drives, the last of four pieces; of the validation drive, none.
    assert (count("train"), count("holdout"), count("validation")) == (9, 3, 4)


def test_rendered_drives_label_all_heads_and_never_use_evaluation_seeds():
    samples = samples_of(rendered.drives("train", roads=2, seconds=0.2, rate_hz=20.0))
    assert len(samples) == 8
    assert samples[0].starts
    assert samples[4].starts
    np.testing.assert_allclose([sample.time_s for sample in samples[4:]], [0.0, 0.05, 0.1, 0.15])
    assert np.isfinite([sample.labels for sample in samples]).all()
    assert min(rendered.TRAINING_SEED, rendered.VALIDATION_SEED) >= 1000


def test_a_source_teaches_what_it_labels_and_the_configuration_wants(
    tiny: Config, small_data: Path, tmp_path: Path
):
    source = read_source(tiny.source[0], tiny, small_data, tmp_path)
    assert source.heads == ("steering_wheel_angle",)
    provenance = source.provenance()
    assert (provenance.frames, provenance.rendered) == (60, False)
    other = dataclasses.replace(tiny.source[0], heads=("speed",))
    assert read_source(other, tiny, small_data, tmp_path).heads == ()


def test_unknown_sources_and_options_are_named(tiny: Config, small_data: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="no source 'kitti'; there are: recording, rendered"):
        read_source(SourceConfig(kind="kitti", batch_size=1), tiny, small_data, tmp_path)
    wrong = SourceConfig(kind="rendered", batch_size=1, options={"road": 1})
    with pytest.raises(ConfigError, match="no option 'road'; it takes: roads"):
        read_source(wrong, tiny, small_data, tmp_path)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("rendered", {"roads": 0}, "source rendered: roads must be above 0, is 0"),
        ("rendered", {"roads": 2.5}, "source rendered: roads must be like 100, is 2.5"),
        ("rendered", {"holdout_roads": -1}, "holdout_roads must be at least 0, is -1"),
        ("rendered", {"seconds": "long"}, "seconds must be like 20.0, is 'long'"),
        ("udacity_traces", {"validation_every": 0}, "validation_every must be above 0, is 0"),
        ("udacity_ch2", {"holdout": "4"}, r"holdout must be like \[\], is '4'"),
    ],
)
def test_options_out_of_range_are_refused_before_anything_is_read(
    kind: str, options: dict[str, object], message: str, tiny: Config, tmp_path: Path
):
    source = SourceConfig(kind=kind, batch_size=1, options=options)
    with pytest.raises(ConfigError, match=message):
        read_source(source, tiny, tmp_path / "none", tmp_path)


def test_other_data_is_not_taken_from_a_warm_cache(tiny: Config, small_data: Path, tmp_path: Path):
    data, cache = tmp_path / "data", tmp_path / "cache"
    shutil.copytree(small_data, data)
    labels, source = data / udacity_ch2.LABELS, tiny.source[0]
    first = read_source(source, tiny, data, cache)
    again = read_source(source, tiny, data, cache)
    assert again.train.folder == first.train.folder
    header, *rows = labels.read_text().splitlines()
    angle = header.split(",").index("steering_angle_rad")
    changed = [row.split(",") for row in rows]
    for row in changed:
        row[angle] = "0.125"
    labels.write_text("\n".join([header, *map(",".join, changed)]) + "\n")
    other = read_source(source, tiny, data, cache)
    assert set(other.train.labels[:, 0]) == {0.125}
    assert set(other.validation.labels[:, 0]) == {0.125}
    picture = next(labels.parent.rglob("*.jpg"))
    picture.write_bytes(b"no picture")
    with pytest.raises(DataError, match="not a JPEG"):
        read_source(source, tiny, data, cache)


def test_data_that_is_missing_is_noticed_though_the_cache_is_warm(
    tiny: Config, small_data: Path, tmp_path: Path
):
    read_source(tiny.source[0], tiny, small_data, tmp_path)
    with pytest.raises(DataError, match=r"source udacity_ch2, split train: .*none.*No such file"):
        read_source(tiny.source[0], tiny, tmp_path / "none", tmp_path)


def test_missing_data_names_its_source(tiny: Config, tmp_path: Path):
    with pytest.raises(DataError, match=r"source udacity_ch2, split train: .*No such file"):
        read_source(tiny.source[0], tiny, tmp_path / "none", tmp_path)


@pytest.mark.data
def test_the_real_data_has_what_its_readme_says(data_dir: Path):
    train = samples_of(udacity_ch2.pieces(data_dir, "train", FRAME)[:2])[:300]
    assert train[0].picture.shape == (240, 320, 3)
    assert sum(sample.starts for sample in train) == 2
    simulator = next(udacity_sim.read(data_dir, "train", FRAME))
    assert simulator.picture.shape == (160, 320, 3)
    drive, *_ = udacity_traces.drives(data_dir, "validation", chunk_s=1.0, rate_hz=20.0)
    trace = next(iter(drive()))
    assert np.isfinite(trace.labels).all()
