from __future__ import annotations

import contextlib
import sqlite3

import numpy as np
import pytest

from steerstream import ControlValues, MediaError
from steerstream.images import encode_jpeg
from steerstream.sources.formats import open_recording
from steerstream.sources.options import BadRows, ReadOptions
from steerstream.sources.ros_bag import _STEERING_REPORT
from tests.steerstream.sources.made import angles, intervals_ns, picture

pytest.importorskip("rosbags")
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

FIRST_NS = 1_700_000_000_000_000_000
PERIOD_NS = 50_000_000
REPORT = "dbw_mkz_msgs/msg/SteeringReport"


def jpeg(shade):
    return encode_jpeg(picture(shade), quality=90)


def header(types, time_ns, **more):
    stamp = types["builtin_interfaces/msg/Time"](sec=time_ns // 10**9, nanosec=time_ns % 10**9)
    return types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera", **more)


def write_messages(writer, store, serialize, *, raw_padding=None, with_definition=True, **more):
    """Four pictures at 20 Hz, 7 ms after they were taken, with reports every 20 ms."""
    types = store.types
    kind = "sensor_msgs/msg/CompressedImage" if raw_padding is None else "sensor_msgs/msg/Image"
    camera = writer.add_connection("/center_camera", kind, typestore=store)
    steering = writer.add_connection("/vehicle/steering_report", REPORT, typestore=store)
    for index in range(4):
        time_ns = FIRST_NS + index * PERIOD_NS
        stamp = header(types, time_ns, **more)
        if raw_padding is None:
            data = np.frombuffer(jpeg(50 * index), np.uint8)
            message = types[kind](header=stamp, format="jpeg", data=data)
        else:
            pixels = picture(50 * index).reshape(24, 96)
            rows = np.hstack([pixels, np.full((24, raw_padding), 7, np.uint8)])
            message = types[kind](stamp, 24, 32, "rgb8", 0, 96 + raw_padding, rows.reshape(-1))
        writer.write(camera, time_ns + 7_000_000, serialize(message, kind))
    for index in range(-1, 12):
        time_ns = FIRST_NS + index * 20_000_000
        report = types[REPORT](
            header(types, time_ns, **more), 0.01 * index, 0, 0.5, 9, *8 * [False]
        )
        writer.write(steering, time_ns, serialize(report, REPORT))


def typestore(store):
    types = get_typestore(store)
    types.register(get_types_from_msg(_STEERING_REPORT, REPORT))
    return types


def write_ros_1(path, **options):
    store = typestore(Stores.ROS1_NOETIC)
    with Writer1(path) as writer:
        write_messages(writer, store, store.serialize_ros1, seq=0, **options)


def write_ros_2(path, plugin=StoragePlugin.SQLITE3, version=9, **options):
    store = typestore(Stores.ROS2_HUMBLE)
    with Writer2(path, version=version, storage_plugin=plugin) as writer:
        write_messages(writer, store, store.serialize_cdr, **options)


BAGS = {
    "ros1": write_ros_1,
    "ros2-sqlite": write_ros_2,
    "ros2-sqlite-8": lambda path, **options: write_ros_2(path, version=8, **options),
    "ros2-mcap": lambda path, **options: write_ros_2(path, StoragePlugin.MCAP, **options),
}


@pytest.fixture(params=BAGS)
def bag(request, tmp_path):
    def write(**options):
        path = tmp_path / ("drive.bag" if request.param == "ros1" else "drive")
        BAGS[request.param](path, **options)
        return path

    return write


def test_compressed_pictures_with_reports_of_a_type_that_ros_lacks(bag):
    recording = open_recording(bag(), ReadOptions())
    assert (recording.count, recording.rate_hz, recording.assumed) == (4, 20.0, ())
    for _ in range(2):
        frames = list(recording.frames())
        assert frames[0].capture_time_ns == FIRST_NS
        assert intervals_ns(frames) == [PERIOD_NS] * 3
        assert angles(frames) == pytest.approx([0.0, 0.025, 0.05, 0.075], abs=1e-6)
        assert frames[0].truth.steering_torque_nm == 0.5
        assert [frame.load() for frame in frames] == [jpeg(50 * index) for index in range(4)]


@pytest.mark.parametrize("padding", [0, 13])
def test_raw_pictures_keep_their_shape(bag, padding):
    frames = list(open_recording(bag(raw_padding=padding), ReadOptions()).frames())
    assert np.array_equal(frames[1].load(), picture(50))


NEWER_REPORT = """\
std_msgs/Header header
float32 steering_wheel_torque
float32 steering_wheel_angle
uint8 mode
float32 speed
"""


def test_a_newer_report_of_the_same_name_is_read_as_the_bag_defines_it(tmp_path):
    """Dataspeed changed the fields and not the name."""
    store = get_typestore(Stores.ROS1_NOETIC)
    store.register(get_types_from_msg(NEWER_REPORT, REPORT))
    kind = "sensor_msgs/msg/CompressedImage"
    with Writer1(tmp_path / "drive.bag") as writer:
        camera = writer.add_connection("/camera", kind, typestore=store)
        steering = writer.add_connection("/steering", REPORT, typestore=store)
        stamp = header(store.types, FIRST_NS, seq=0)
        message = store.types[kind](stamp, "jpeg", np.frombuffer(jpeg(0), np.uint8))
        writer.write(camera, FIRST_NS, store.serialize_ros1(message, kind))
        report = store.types[REPORT](stamp, 0.25, -0.5, 1, 9.0)
        writer.write(steering, FIRST_NS, store.serialize_ros1(report, REPORT))
    (frame,) = open_recording(tmp_path / "drive.bag", ReadOptions()).frames()
    assert frame.truth == ControlValues(-0.5, 9.0, 0.25)


def test_a_database_is_read_by_its_folder(tmp_path):
    write_ros_2(tmp_path / "drive")
    (database,) = (tmp_path / "drive").glob("*.db3")
    assert open_recording(database, ReadOptions()).count == 4


def test_a_damaged_bag_is_named_with_what_mends_it(tmp_path):
    path = tmp_path / "drive.bag"
    path.write_bytes(b"#ROSBAG V2.0\nnothing")
    with pytest.raises(MediaError, match=r"cannot read the bag .*drive\.bag: .*rosbag reindex"):
        open_recording(path, ReadOptions())


def test_a_topic_that_is_no_camera_is_not_taken_for_one(tmp_path):
    write_ros_1(tmp_path / "drive.bag")
    with pytest.raises(MediaError, match="give one of its topics as --camera: /center_camera"):
        open_recording(tmp_path / "drive.bag", ReadOptions(camera="/rear"))


def without_definitions(folder):
    """As bags of ROS 2 before Iron are: they name their types and do not say what these are."""
    (database,) = folder.glob("*.db3")
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM message_definitions")


def test_a_bag_without_definitions_is_read_by_those_that_are_known(tmp_path):
    write_ros_2(tmp_path / "drive", version=8)
    without_definitions(tmp_path / "drive")
    frames = list(open_recording(tmp_path / "drive", ReadOptions()).frames())
    assert angles(frames) == pytest.approx([0.0, 0.025, 0.05, 0.075], abs=1e-6)


def test_a_report_that_is_not_as_known_is_refused_and_never_misread(tmp_path):
    store = get_typestore(Stores.ROS2_HUMBLE)
    store.register(get_types_from_msg(NEWER_REPORT, REPORT))
    with Writer2(tmp_path / "drive", version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        steering = writer.add_connection("/steering", REPORT, typestore=store)
        kind = "sensor_msgs/msg/CompressedImage"
        camera = writer.add_connection("/camera", kind, typestore=store)
        stamp = header(store.types, FIRST_NS)
        report = store.types[REPORT](stamp, 0.25, -0.5, 1, 9.0)
        writer.write(steering, FIRST_NS, store.serialize_cdr(report, REPORT))
        message = store.types[kind](stamp, "jpeg", np.frombuffer(jpeg(0), np.uint8))
        writer.write(camera, FIRST_NS, store.serialize_cdr(message, kind))
    without_definitions(tmp_path / "drive")
    with pytest.raises(MediaError, match="a message of /steering is damaged"):
        open_recording(tmp_path / "drive", ReadOptions())
    bad_rows = BadRows(skip=True)
    (frame,) = open_recording(tmp_path / "drive", ReadOptions(bad_rows=bad_rows)).frames()
    assert frame.truth is None
    assert len(bad_rows.summary()) == 1


def test_a_type_that_nobody_knows_is_named(tmp_path):
    store = get_typestore(Stores.ROS2_HUMBLE)
    kind = "x_msgs/msg/SteeringReport"
    store.register(get_types_from_msg(NEWER_REPORT, kind))
    with Writer2(tmp_path / "drive", version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        steering = writer.add_connection("/steering", kind, typestore=store)
        camera_kind = "sensor_msgs/msg/CompressedImage"
        writer.add_connection("/camera", camera_kind, typestore=store)
        report = store.types[kind](header(store.types, FIRST_NS), 0.25, -0.5, 1, 9.0)
        writer.write(steering, FIRST_NS, store.serialize_cdr(report, kind))
    without_definitions(tmp_path / "drive")
    with pytest.raises(MediaError, match="does not say what x_msgs/msg/SteeringReport is"):
        open_recording(tmp_path / "drive", ReadOptions())
