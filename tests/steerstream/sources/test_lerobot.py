from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest

from steerstream import MediaError
from steerstream.images import encode_jpeg
from steerstream.sources.formats import open_recording
from steerstream.sources.options import BadRows, ReadOptions
from tests.steerstream.sources.made import angles, intervals_ns, truths

av = pytest.importorskip("av")
pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

FPS = 20
CAMERA = "observation.images.front"


def shade(index):
    return np.full((48, 64, 3), 20 + 25 * index, np.uint8)


def video(count):
    """All episodes one after the other, with few whole pictures, as LeRobot stores them."""
    stored = io.BytesIO()
    with av.open(stored, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, width=64, height=48, pix_fmt="yuv420p")
        stream.options = {"g": "2"}
        for index in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shade(index), format="rgb24")))
        container.mux(stream.encode(None))
    return stored.getvalue()


def write_table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def write_dataset(
    folder, lengths=(3, 4), *, kind="video", names=("gas", "steering_angle_normalized"), lost=0
):
    features = {
        CAMERA: {"dtype": kind, "shape": [48, 64, 3], "names": ["height", "width", "channels"]},
        "action.continuous": {"dtype": "float32", "shape": [2], "names": {"axes": list(names)}},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    }
    info = {
        "codebase_version": "v3.0", "fps": FPS, "total_episodes": len(lengths),
        "total_frames": sum(lengths), "features": features,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }  # fmt: skip
    rows, episodes, first = [], [], 0
    for episode, length in enumerate(lengths):
        for index in range(length):
            row = {
                "action.continuous": [0.5, 0.1 * index], "timestamp": np.float32(index / FPS),
                "frame_index": index, "episode_index": episode, "index": first + index,
                "task_index": 0,
            }  # fmt: skip
            if kind == "image":
                row[CAMERA] = {"bytes": encode_jpeg(shade(first + index), quality=95), "path": ""}
            rows.append(row)
        told = {"episode_index": episode, "length": length}
        told |= {"data/chunk_index": 0, "data/file_index": 0}
        told |= {f"videos/{CAMERA}/chunk_index": 0, f"videos/{CAMERA}/file_index": 0}
        told[f"videos/{CAMERA}/from_timestamp"] = first / FPS
        episodes.append(told)
        first += length
    write_table(folder / "data/chunk-000/file-000.parquet", rows)
    write_table(folder / "meta/episodes/chunk-000/file-000.parquet", episodes)
    (folder / "meta/info.json").write_text(json.dumps(info))
    if kind == "video":
        path = folder / "videos" / CAMERA / "chunk-000/file-000.mp4"
        path.parent.mkdir(parents=True)
        path.write_bytes(video(sum(lengths) - lost))
    return info


@pytest.mark.parametrize("kind", ["video", "image"])
def test_episodes_are_read_with_their_own_pictures_and_are_breaks(tmp_path, kind):
    write_dataset(tmp_path, kind=kind)
    recording = open_recording(tmp_path, ReadOptions(max_angle_rad=2.0))
    assert (recording.count, recording.rate_hz, recording.assumed) == (7, 20.0, ())
    for _ in range(2):
        frames = list(recording.frames())
        assert [frame.starts_anew for frame in frames] == [index == 3 for index in range(7)]
        assert [frame.block for frame in frames] == [*"000", *"1111"]
        assert intervals_ns(frames)[:2] == pytest.approx([5e7, 5e7], abs=100)
        assert angles(frames[3:]) == pytest.approx([0.0, 0.2, 0.4, 0.6])
    from steerstream.sources.pictures import decode

    shades = [decode(frame.load()).mean() for frame in recording.frames()]
    assert shades == pytest.approx([20 + 25 * index for index in range(7)], abs=5)


@pytest.mark.parametrize(
    ("name", "factor"),
    [("steer_rad", 1.0), ("steering.deg", math.radians(1.0))],
)
def test_a_unit_in_the_name_is_kept(tmp_path, name, factor):
    write_dataset(tmp_path, (3,), names=("gas", name), kind="image")
    recording = open_recording(tmp_path, ReadOptions())
    assert recording.assumed == ()
    assert angles(recording.frames()) == pytest.approx([0.0, 0.1 * factor, 0.2 * factor])


def test_the_steering_may_be_named_and_is_left_out_where_none_is(tmp_path):
    write_dataset(tmp_path, (2,), names=("gas", "turn"), kind="image")
    without = open_recording(tmp_path, ReadOptions())
    assert without.assumed == ("no feature is a steering; see --steering",)
    assert truths(without.frames()) == [None] * 2
    options = ReadOptions(steering="action.continuous:turn", max_angle_rad=1.0, flip_steering=True)
    assert angles(open_recording(tmp_path, options).frames()) == pytest.approx([0.0, -0.1])
    with pytest.raises(MediaError, match=r"has no 'action:turn'; has: .*action\.continuous:gas"):
        open_recording(tmp_path, ReadOptions(steering="action:turn"))
    normalised = open_recording(tmp_path, ReadOptions(steering="action.continuous:turn"))
    assert "give --max-angle-deg" in normalised.assumed[0]


def test_several_steerings_or_cameras_need_a_choice(tmp_path):
    info = write_dataset(tmp_path, (2,), names=("steer", "steering"), kind="image")
    with pytest.raises(MediaError, match=r"--steering: action\.continuous:steer, action"):
        open_recording(tmp_path, ReadOptions())
    info["features"]["observation.images.rear"] = {"dtype": "image"}
    (tmp_path / "meta/info.json").write_text(json.dumps(info))
    with pytest.raises(MediaError, match=f"--camera: {CAMERA}, observation.images.rear"):
        open_recording(tmp_path, ReadOptions())


def test_a_picture_that_the_video_lacks_is_refused_or_skipped(tmp_path):
    write_dataset(tmp_path, lost=1)
    with pytest.raises(MediaError, match=r"file-000\.mp4, frame 3: no such picture: at 0\.300 s"):
        list(open_recording(tmp_path, ReadOptions()).frames())
    skipping = BadRows(skip=True)
    assert len(list(open_recording(tmp_path, ReadOptions(bad_rows=skipping)).frames())) == 6
    assert skipping.summary()[0].startswith("skipped 1 rows: no such picture")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codebase_version": "v2.1"}, "is of version v2.1; version 3 is read"),
        ({"codebase_version": None, "fps": ...}, "is of version None"),
        ({"fps": ...}, "lacks fps"),
    ],
)
def test_another_version_is_refused(tmp_path, change, message):
    info = {**write_dataset(tmp_path, (2,), kind="image"), **change}
    kept = {name: value for name, value in info.items() if value is not ...}
    (tmp_path / "meta/info.json").write_text(json.dumps(kept))
    with pytest.raises(MediaError, match=message):
        open_recording(tmp_path, ReadOptions())


def test_damaged_parts_are_named(tmp_path):
    write_dataset(tmp_path)
    (tmp_path / "videos" / CAMERA / "chunk-000/file-000.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError, match=r"cannot read the video .*file-000\.mp4"):
        list(open_recording(tmp_path, ReadOptions()).frames())
    (tmp_path / "data/chunk-000/file-000.parquet").write_bytes(b"no table")
    with pytest.raises(MediaError, match=r"file-000\.parquet: cannot be read"):
        list(open_recording(tmp_path, ReadOptions()).frames())
    (tmp_path / "meta/episodes/chunk-000/file-000.parquet").unlink()
    with pytest.raises(MediaError, match="has no table below meta/episodes"):
        list(open_recording(tmp_path, ReadOptions()).frames())
    write_table(tmp_path / "meta/episodes/chunk-000/file-000.parquet", [{"episode_index": 0}])
    with pytest.raises(MediaError, match="a table or its description lacks 'data/chunk_index'"):
        list(open_recording(tmp_path, ReadOptions()).frames())
    info = write_dataset(tmp_path / "other", (1,), kind="image")
    (tmp_path / "other/meta/info.json").write_text(json.dumps(info | {"data_path": "data/}"}))
    with pytest.raises(MediaError, match="a table or its description is damaged: Single '}'"):
        list(open_recording(tmp_path / "other", ReadOptions()).frames())
    info |= {"features": []}
    (tmp_path / "meta/info.json").write_text(json.dumps(info))
    with pytest.raises(MediaError, match="its features are no table"):
        open_recording(tmp_path, ReadOptions())
    (tmp_path / "meta/info.json").write_text("[]")
    with pytest.raises(MediaError, match=r"info\.json: is no description of a dataset"):
        open_recording(tmp_path, ReadOptions())
