from __future__ import annotations

import json

import pytest

from steerstream import MediaError
from steerstream.sources.formats import open_recording
from steerstream.sources.options import BadRows, ReadOptions
from tests.steerstream.sources.made import angles, intervals_ns, truths, write_jpeg

FIRST_MS = 1_600_000_000_000


def record(index, **changes):
    return {
        "_index": index,
        "_session_id": "24-05-01_0",
        "_timestamp_ms": FIRST_MS + 50 * index,
        "cam/image_array": f"{index}_cam_image_array_.jpg",
        "user/angle": 0.1 * index,
        "user/mode": "user",
        "user/throttle": 0.3,
        **changes,
    }


def write_tub(folder, records, deleted=(), catalog_length=3):
    """As donkeycar 5 writes one: five lines of manifest, catalogs, and pictures."""
    (folder / "images").mkdir(parents=True)
    names = []
    for first in range(0, len(records), catalog_length):
        name = f"catalog_{len(names)}.catalog"
        lines = [
            one if isinstance(one, str) else json.dumps(one)
            for one in records[first : first + catalog_length]
        ]
        (folder / name).write_text("".join(line + "\n" for line in lines))
        sizes = {"line_lengths": [len(line) + 1 for line in lines], "start_index": first}
        (folder / f"{name}_manifest").write_text(json.dumps(sizes) + "\n")
        names.append(name)
    paths = {
        "current_index": len(records), "deleted_indexes": list(deleted),
        "max_len": catalog_length, "paths": names,
    }  # fmt: skip
    manifest = [["cam/image_array"], ["image_array"], {}, {"created_at": 1.0}, paths]
    (folder / "manifest.json").write_text("".join(json.dumps(line) + "\n" for line in manifest))
    for index in range(len(records)):
        write_jpeg(folder / "images" / f"{index}_cam_image_array_.jpg", shade=10 * index)


def test_a_tub_is_read_without_its_deleted_records(tmp_path):
    write_tub(tmp_path, [record(index) for index in range(7)], deleted=[1, 5])
    for path in (tmp_path, tmp_path / "manifest.json"):
        recording = open_recording(path, ReadOptions(max_angle_rad=2.0))
        frames = list(recording.frames())
        assert angles(frames) == pytest.approx([0.0, -0.4, -0.6, -0.8, -1.2])
        assert frames[0].capture_time_ns == FIRST_MS * 1_000_000
        assert intervals_ns(frames) == [ms * 1_000_000 for ms in (100, 50, 50, 100)]
    assert frames[1].load() == (tmp_path / "images" / "2_cam_image_array_.jpg").read_bytes()
    assert frames[1].place.endswith("catalog_0.catalog:3")


def test_another_session_is_a_break(tmp_path):
    records = [record(0), record(1), record(2, _session_id="24-05-01_1"), record(3)]
    records[3]["_session_id"] = "24-05-01_1"
    write_tub(tmp_path, records)
    frames = list(open_recording(tmp_path, ReadOptions()).frames())
    assert [frame.starts_anew for frame in frames] == [False, False, True, False]
    assert [frame.block for frame in frames][1:3] == ["24-05-01_0", "24-05-01_1"]


def test_without_the_greatest_angle_the_steering_is_left_out(tmp_path):
    write_tub(tmp_path, [record(0)])
    recording = open_recording(tmp_path, ReadOptions())
    assert "give --max-angle-deg" in recording.assumed[0]
    assert truths(recording.frames())[0].steering_wheel_angle_rad is None


def test_the_steering_of_a_pilot_may_be_asked_for(tmp_path):
    write_tub(tmp_path, [record(0, **{"pilot/angle": -0.5})])
    options = ReadOptions(max_angle_rad=1.0, steering="pilot/angle")
    assert angles(open_recording(tmp_path, options).frames()) == [0.5]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{no json", r"catalog_0\.catalog:2: no JSON"),
        ("[1, 2]", r"catalog_0\.catalog:2: no record"),
        (record(1, **{"user/angle": "left"}), "2: a value is wrong: user/angle 'left' is no numb"),
        (record(1, **{"user/angle": None}), "2: a value is wrong: user/angle 'None' is no number"),
        (record(1, _timestamp_ms=None), "2: a value is wrong"),
        ({"_index": 1}, "2: a value is wrong: has no user/angle; has: _index"),
        ({"_index": 1, "user/angle": 0}, "2: a value is wrong: no 'cam/image_array'"),
        (record(1, **{"cam/image_array": "x.jpg"}), r"2: no such picture: x\.jpg"),
        (record(1, **{"cam/image_array": "x" * 5000}), "2: no such picture: xxx"),
        ("[" * 100_000, "2: no JSON: it is nested too deeply"),
        (record(1, _timestamp_ms=float("inf")), "2: a value is wrong"),
        (record(1, _timestamp_ms=10**300), "2: a value is wrong: 1000.* is no time"),
        (record(1, _timestamp_ms=-1), "2: a value is wrong: -1000000 is no time"),
        (record(1, _index=[1]), r"2: a value is wrong: _index \[1\] is no whole number"),
    ],
)
def test_a_bad_record_is_refused_or_skipped(tmp_path, bad, message):
    write_tub(tmp_path, [record(0), bad])
    with pytest.raises(MediaError, match=message):
        open_recording(tmp_path, ReadOptions())
    assert open_recording(tmp_path, ReadOptions(bad_rows=BadRows(skip=True))).count == 1


def test_a_catalog_that_was_cut_off_in_zeros_is_read(tmp_path):
    write_tub(tmp_path, [record(0)])
    with (tmp_path / "catalog_0.catalog").open("ab") as file:
        file.write(bytes(64))
    assert open_recording(tmp_path, ReadOptions()).count == 1


def test_a_manifest_without_catalogs_is_refused(tmp_path):
    write_tub(tmp_path, [record(0)])
    (tmp_path / "manifest.json").write_text("[]\n[]\n{}\n")
    with pytest.raises(MediaError, match=r"manifest\.json: its last line needs the paths"):
        open_recording(tmp_path, ReadOptions())
    (tmp_path / "manifest.json").write_text(json.dumps({"paths": ["gone.catalog"]}))
    with pytest.raises(MediaError, match=r"gone\.catalog: cannot be read: No such file"):
        open_recording(tmp_path, ReadOptions())


@pytest.mark.parametrize(
    "paths", ['["a\\u0000"]', '["\\ud800"]', '["' + "x" * 5000 + '"]', "[" * 100_000]
)
def test_a_manifest_with_names_that_no_file_can_have_is_refused(tmp_path, paths):
    write_tub(tmp_path, [record(0)])
    (tmp_path / "manifest.json").write_text(f'{{"paths": {paths}}}\n')
    with pytest.raises(MediaError):
        open_recording(tmp_path, ReadOptions())


def test_a_tub_of_version_1(tmp_path):
    (tmp_path / "meta.json").write_text(json.dumps({"inputs": ["cam/image_array"]}))
    for index in (0, 2, 10):
        name = f"{index}_cam-image_array_.jpg"
        content = {"cam/image_array": name, "user/angle": 0.5, "milliseconds": 50 * index}
        (tmp_path / f"record_{index}.json").write_text(json.dumps(content))
        write_jpeg(tmp_path / name)
    recording = open_recording(tmp_path, ReadOptions(max_angle_rad=1.0))
    frames = list(recording.frames())
    assert angles(frames) == [-0.5] * 3
    assert intervals_ns(frames) == [100_000_000, 400_000_000]


def test_a_tub_without_times_comes_evenly_and_that_is_said(tmp_path):
    records = [record(index) for index in range(2)]
    for one in records:
        del one["_timestamp_ms"]
    write_tub(tmp_path, records)
    recording = open_recording(tmp_path, ReadOptions(max_angle_rad=1.0))
    assert recording.assumed == ("the tub has no times: 20 pictures a second are assumed",)
