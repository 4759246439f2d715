from __future__ import annotations

import base64
import json
import random

import numpy as np
import pytest

from steerstream import ControlValues, MediaError
from steerstream.images import encode_jpeg
from steerstream.sources.formats import open_recording
from steerstream.sources.options import BadRows, ReadOptions
from tests.steerstream.sources.encoded import encoded
from tests.steerstream.sources.made import angles, intervals_ns, picture, truths

pytest.importorskip("mcap")
from google.protobuf.timestamp_pb2 import Timestamp
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from mcap_ros2.writer import Writer as RosWriter

PERIOD_NS = 50_000_000
FIRST_NS = 1_700_000_000_000_000_000

IMAGE = """\
std_msgs/Header header
uint32 height
uint32 width
string encoding
uint8 is_bigendian
uint32 step
uint8[] data
"""
HEADER = """\
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""
COMPRESSED = "std_msgs/Header header\nstring format\nuint8[] data\n"
REPORT = """\
std_msgs/Header header
float32 steering_wheel_angle
float32 steering_wheel_torque
float32 speed
"""


def jpeg(shade=100):
    return encode_jpeg(picture(shade), quality=90)


def header(time_ns):
    return {"stamp": {"sec": time_ns // 10**9, "nanosec": time_ns % 10**9}, "frame_id": "camera"}


def write_ros(path, count=4, *, raw_padding=None, stamped=True, reports=True, cameras=1):
    """Pictures at 20 Hz, each 7 ms after it was taken, with reports every 20 ms."""
    with path.open("wb") as file:
        writer = RosWriter(file)
        kind = "CompressedImage" if raw_padding is None else "Image"
        text = (COMPRESSED if raw_padding is None else IMAGE) + HEADER
        pictures = writer.register_msgdef(f"sensor_msgs/msg/{kind}", text)
        steering = writer.register_msgdef("dbw_mkz_msgs/msg/SteeringReport", REPORT + HEADER)
        for index in range(count):
            time_ns = FIRST_NS + index * PERIOD_NS
            stamp = header(time_ns if stamped else 0)
            if raw_padding is None:
                message = {"header": stamp, "format": "jpeg", "data": jpeg(50 * index)}
            else:
                message = {"header": stamp, **raw(raw_padding, 50 * index)}
            for camera in range(cameras):
                writer.write_message(f"/camera{camera}", pictures, message, time_ns + 7_000_000)
        if reports:
            for index in range(-1, 3 * count):
                time_ns = FIRST_NS + index * 20_000_000
                message = {
                    "header": header(time_ns), "steering_wheel_angle": 0.01 * index,
                    "steering_wheel_torque": 0.5, "speed": 10.0,
                }  # fmt: skip
                writer.write_message("/vehicle/steering_report", steering, message, time_ns)
        writer.finish()


def raw(padding, shade):
    pixels = picture(shade)[..., ::-1]
    rows = np.hstack([pixels.reshape(24, 96), np.full((24, padding), 7, np.uint8)])
    return {
        "height": 24, "width": 32, "encoding": "bgr8", "is_bigendian": 0,
        "step": 96 + padding, "data": rows.tobytes(),
    }  # fmt: skip


def test_messages_of_ros_2_with_reports_at_the_times_of_the_pictures(tmp_path):
    write_ros(tmp_path / "drive.mcap")
    recording = open_recording(tmp_path / "drive.mcap", ReadOptions())
    assert (recording.count, recording.rate_hz, recording.assumed) == (4, 20.0, ())
    for _ in range(2):
        frames = list(recording.frames())
        assert frames[0].capture_time_ns == FIRST_NS
        assert intervals_ns(frames) == [PERIOD_NS] * 3
        assert angles(frames) == pytest.approx([0.0, 0.025, 0.05, 0.075], abs=1e-6)
        assert frames[1].truth.speed_mps == pytest.approx(10.0)
        assert [frame.load() for frame in frames] == [jpeg(50 * index) for index in range(4)]


@pytest.mark.parametrize("padding", [0, 13])
def test_raw_pictures_keep_their_shape(tmp_path, padding):
    write_ros(tmp_path / "drive.mcap", raw_padding=padding)
    frames = list(open_recording(tmp_path / "drive.mcap", ReadOptions()).frames())
    assert np.array_equal(frames[1].load(), picture(50))


def test_without_stamps_the_times_of_the_recording_are_taken_and_that_is_said(tmp_path):
    write_ros(tmp_path / "drive.mcap", stamped=False)
    recording = open_recording(tmp_path / "drive.mcap", ReadOptions())
    assert "not all messages have stamps" in recording.assumed[0]
    frames = list(recording.frames())
    assert frames[0].capture_time_ns == FIRST_NS + 7_000_000
    assert angles(frames)[0] == pytest.approx(0.0035)


def test_without_reports_there_are_no_labels_and_that_is_said(tmp_path):
    write_ros(tmp_path / "drive.mcap", reports=False)
    recording = open_recording(tmp_path / "drive.mcap", ReadOptions())
    assert recording.assumed == ("no topic reports steering; see --steering",)
    assert truths(recording.frames()) == [None] * 4


def test_a_field_of_minus_1_to_1_may_be_the_steering(tmp_path):
    write_ros(tmp_path / "drive.mcap")
    options = ReadOptions(
        steering="/vehicle/steering_report:steering_wheel_torque", max_angle_rad=4.0
    )
    found = truths(open_recording(tmp_path / "drive.mcap", options).frames())
    assert found == [ControlValues(2.0)] * 4


@pytest.mark.parametrize("steering", ["/nosuch:angle", "/vehicle/steering_report", "angle"])
def test_a_steering_that_is_not_there_is_refused(tmp_path, steering):
    write_ros(tmp_path / "drive.mcap")
    message = f"--steering must be topic:field, not '{steering}'; it has: /camera0, /vehicle/st"
    with pytest.raises(MediaError, match=message):
        open_recording(tmp_path / "drive.mcap", ReadOptions(steering=steering))


def test_several_cameras_need_a_choice(tmp_path):
    write_ros(tmp_path / "drive.mcap", cameras=2)
    with pytest.raises(MediaError, match="give one of its topics as --camera: /camera0, /camera1"):
        open_recording(tmp_path / "drive.mcap", ReadOptions())
    assert open_recording(tmp_path / "drive.mcap", ReadOptions(camera="/camera1")).count == 4


@pytest.mark.parametrize("compression", list(CompressionType))
@pytest.mark.parametrize("lost_bytes", [1, 8, 40, 200])
def test_a_file_that_lost_its_writer_is_read_to_its_last_whole_chunk(
    tmp_path, compression, lost_bytes
):
    path = tmp_path / "drive.mcap"
    write_foxglove(path, count=6, chunk_size=1, compression=compression)
    finished = open_recording(path, ReadOptions())
    assert finished.count == 6
    assert not any("cut off" in said for said in finished.assumed)
    whole = path.read_bytes()
    ends = [0] * 6
    with path.open("rb") as file:
        for index in make_reader(file).get_summary().chunk_indexes:
            number = (index.message_start_time - FIRST_NS) // PERIOD_NS
            ends[number] = index.chunk_start_offset + index.chunk_length
    path.write_bytes(whole[: ends[4] - lost_bytes])
    recording = open_recording(path, ReadOptions())
    assert recording.count == 4
    assert recording.assumed[-1] == f"{path} is cut off, and read to its last whole chunk"
    assert [frame.load() for frame in recording.frames()] == [jpeg(50 * n) for n in range(4)]


@pytest.mark.parametrize("kept_bytes", [8, 200])
def test_a_file_that_is_cut_off_in_its_first_chunk_says_so(tmp_path, kept_bytes):
    path = tmp_path / "drive.mcap"
    write_foxglove(path)
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(MediaError, match=r"drive\.mcap: is cut off, and has no whole chunk"):
        open_recording(path, ReadOptions())


def write_foxglove(path, count=3, *, encoding="json", **options):
    with path.open("wb") as file:
        writer = Writer(file, **options)
        writer.start()
        schema = writer.register_schema("foxglove.CompressedImage", "jsonschema", b"{}")
        channel = writer.register_channel("/front", encoding, schema)
        for index in range(count):
            time_ns = FIRST_NS + index * PERIOD_NS
            content = {
                "timestamp": {"sec": time_ns // 10**9, "nsec": time_ns % 10**9},
                "frame_id": f"camera-image-{index}",
                "format": "jpeg",
                "data": base64.b64encode(jpeg(50 * (index % 4))).decode(),
            }
            writer.add_message(channel, time_ns, json.dumps(content).encode(), time_ns)
        writer.finish()


def test_a_camera_without_a_message_is_none(tmp_path):
    """Flight recordings name all their topics in the beginning."""
    with (tmp_path / "drive.mcap").open("wb") as file:
        writer = Writer(file)
        writer.start()
        schema = writer.register_schema("foxglove.CompressedImage", "jsonschema", b"{}")
        used, _ = (writer.register_channel(topic, "json", schema) for topic in ("/a", "/b"))
        content = {"timestamp": {"sec": 1, "nsec": 0}, "data": base64.b64encode(jpeg()).decode()}
        writer.add_message(used, 1, json.dumps(content).encode(), 1)
        writer.finish()
    assert open_recording(tmp_path / "drive.mcap", ReadOptions()).count == 1


def test_foxgloves_pictures_in_json(tmp_path):
    write_foxglove(tmp_path / "drive.mcap")
    recording = open_recording(tmp_path / "drive.mcap", ReadOptions())
    frames = list(recording.frames())
    assert frames[1].load() == jpeg(50)
    assert frames[1].capture_time_ns == FIRST_NS + PERIOD_NS
    assert recording.assumed == ("no topic reports steering; see --steering",)


@pytest.mark.parametrize(
    "damaged",
    [
        b"{", b'{"data": "?"}', b"[]", b"{}", b"\xff", b"[" * 100_000,
        b'{"data": 1000000000000000}', b'{"data": ["a"]}', b'{"data": {}}',
        b'{"data": "", "encoding": "rgb8", "width": "x", "height": 1, "step": 1}',
        b'{"data": "", "encoding": "rgb8", "width": Infinity, "height": 1, "step": 1}',
        b'{"data": "", "encoding": "rgb8"}',
    ],
)  # fmt: skip
def test_a_damaged_message_is_refused(tmp_path, damaged):
    path = tmp_path / "drive.mcap"
    good = json.dumps({"data": base64.b64encode(jpeg()).decode()}).encode()
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        schema = writer.register_schema("foxglove.CompressedImage", "jsonschema", b"{}")
        channel = writer.register_channel("/front", "json", schema)
        for index, data in enumerate((good, damaged, good)):
            writer.add_message(channel, index * PERIOD_NS, data, index * PERIOD_NS)
        writer.finish()
    with pytest.raises(MediaError, match=r"drive\.mcap"):
        [frame.load() for frame in open_recording(path, ReadOptions()).frames()]


@pytest.mark.parametrize(
    "stamp",
    ['"header": null', '"timestamp": {"sec": "x", "nsec": 0}',
     '"timestamp": {"sec": [], "nsec": 0}', '"timestamp": {"sec": Infinity, "nsec": 0}',
     '"timestamp": {"sec": -9, "nsec": 0}',
     '"timestamp": {"sec": 10000000000, "nsec": 0}'],
)  # fmt: skip
@pytest.mark.parametrize("at", [0, 1])
def test_a_stamp_that_is_no_time_is_refused(tmp_path, stamp, at):
    path = tmp_path / "drive.mcap"
    data = base64.b64encode(jpeg()).decode()
    texts = [f'{{"timestamp": {{"sec": 1, "nsec": {n}}}, "data": "{data}"}}' for n in range(3)]
    texts[at] = f'{{{stamp}, "data": "{data}"}}'
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        schema = writer.register_schema("foxglove.CompressedImage", "jsonschema", b"{}")
        channel = writer.register_channel("/front", "json", schema)
        for index, text in enumerate(texts):
            writer.add_message(channel, index, text.encode(), index)
        writer.finish()
    with pytest.raises(MediaError, match="is no time"):
        list(open_recording(path, ReadOptions()).frames())


def test_an_encoding_that_is_not_known_is_named(tmp_path):
    write_foxglove(tmp_path / "drive.mcap", encoding="cbor")
    with pytest.raises(MediaError, match=r"/front is encoded as 'cbor'.* known are: cdr, protobuf"):
        open_recording(tmp_path / "drive.mcap", ReadOptions())


def write_protobuf(path, messages):
    pytest.importorskip("mcap_protobuf")
    from mcap_protobuf.writer import Writer as ProtobufWriter

    with path.open("wb") as file, ProtobufWriter(file) as writer:
        for index, message in enumerate(messages):
            time_ns = FIRST_NS + index * PERIOD_NS
            message.timestamp.CopyFrom(Timestamp(seconds=time_ns // 10**9, nanos=time_ns % 10**9))
            writer.write_message("/front", message, time_ns, time_ns)


def test_foxgloves_pictures_in_protobuf(tmp_path):
    schemas = pytest.importorskip("foxglove_schemas_protobuf.CompressedImage_pb2")
    messages = [schemas.CompressedImage(format="jpeg", data=jpeg(50 * index)) for index in range(3)]
    write_protobuf(tmp_path / "drive.mcap", messages)
    frames = list(open_recording(tmp_path / "drive.mcap", ReadOptions()).frames())
    assert frames[2].load() == jpeg(100)
    assert intervals_ns(frames) == [PERIOD_NS] * 2


@pytest.mark.parametrize(
    ("codec", "name"),
    [("libx264", "h264"), ("libx265", "h265"), ("libvpx-vp9", "vp9"), ("libsvtav1", "av1")],
)
def test_foxgloves_video_gives_a_picture_for_each_message(tmp_path, codec, name):
    schemas = pytest.importorskip("foxglove_schemas_protobuf.CompressedVideo_pb2")
    messages = [schemas.CompressedVideo(format=name, data=data) for data in encoded(codec, 6)]
    write_protobuf(tmp_path / "drive.mcap", messages)
    recording = open_recording(tmp_path / "drive.mcap", ReadOptions())
    frames = list(recording.frames())
    assert [frame.capture_time_ns for frame in frames] == [
        FIRST_NS + index * PERIOD_NS for index in range(6)
    ]
    shades = [np.asarray(frame.load()).mean() for frame in recording.frames()]
    assert shades == pytest.approx([20, 50, 80, 110, 140, 170], abs=6)


def test_what_comes_before_the_first_whole_picture_of_a_video_is_left_out(tmp_path):
    schemas = pytest.importorskip("foxglove_schemas_protobuf.CompressedVideo_pb2")
    data = encoded("libx264", 4)
    messages = [schemas.CompressedVideo(format="h264", data=one) for one in data[1:3] + data]
    write_protobuf(tmp_path / "drive.mcap", messages)
    frames = list(open_recording(tmp_path / "drive.mcap", ReadOptions()).frames())
    assert frames[0].capture_time_ns == FIRST_NS + 2 * PERIOD_NS
    assert len(frames) == 4


def test_a_codec_that_is_not_known_is_refused_or_its_messages_are_skipped(tmp_path):
    schemas = pytest.importorskip("foxglove_schemas_protobuf.CompressedVideo_pb2")
    write_protobuf(tmp_path / "drive.mcap", [schemas.CompressedVideo(format="mjpg", data=b"1")])
    recording = open_recording(tmp_path / "drive.mcap", ReadOptions())
    with pytest.raises(MediaError, match="no codec 'mjpg'; known are: h264, h265"):
        list(recording.frames())
    bad_rows = BadRows(skip=True)
    skipping = open_recording(tmp_path / "drive.mcap", ReadOptions(bad_rows=bad_rows))
    with pytest.raises(MediaError, match="has no frame"):
        list(skipping.frames())
    assert bad_rows.summary()[0].startswith("skipped 1 rows: a message cannot be read")


@pytest.mark.parametrize("compression", [*CompressionType, None])
def test_any_damage_ends_in_frames_or_a_typed_error(tmp_path, compression):
    path, rng = tmp_path / "drive.mcap", random.Random(7)
    if compression is None:
        write_ros(path)
    else:
        write_foxglove(path, count=4, chunk_size=1, compression=compression)
    whole, refused = path.read_bytes(), 0
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(8, len(whole))] = rng.choice((0, 255, rng.randrange(256)))
        path.write_bytes(damaged)
        try:
            list(open_recording(path, ReadOptions()).frames())
        except MediaError:
            refused += 1
    assert refused
