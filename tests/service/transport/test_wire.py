"""The server's words are those of the wire contract."""

from __future__ import annotations

import dataclasses
import math

import pytest

from steerstream.checksum import command_checksum
from steerstream.v1 import command_pb2, frame_pb2, session_pb2
from steerstream_bundle.pictures import JpegImage, Nv12Image, RawImage
from steerstream_bundle.view import Applied
from steerstream_service import domain, errors
from steerstream_service.domain import Command, ControlValues, Timings, Validity
from steerstream_service.transport import wire


@pytest.mark.parametrize(
    ("ours", "theirs", "prefix"),
    [
        (domain.FramePolicy, session_pb2.FramePolicy, "FRAME_POLICY"),
        (domain.Validity, command_pb2.Validity, "VALIDITY"),
        (domain.SkipReason, command_pb2.SkipReason, "SKIP_REASON"),
        (domain.Limit, command_pb2.Limit, "LIMIT"),
        (errors.ErrorReason, session_pb2.ErrorReason, "ERROR_REASON"),
    ],
)
def test_enumerations_are_the_contract_s(ours, theirs, prefix):
    expected = {f"{prefix}_{item.name}": item.value for item in ours}
    assert {**expected, f"{prefix}_UNSPECIFIED": 0} == dict(theirs.items())


def test_every_stream_error_has_a_code_and_a_reason_of_its_own():
    kinds = errors.StreamError.__subclasses__()
    assert {kind.reason for kind in kinds} == set(errors.ErrorReason)
    assert all(kind.code for kind in kinds)


def test_a_frame_is_read():
    message = frame_pb2.Frame(sequence_number=2**64 - 1, capture_time_ns=2**63, jpeg=b"x")
    frame = wire.frame(message, 7)
    assert (frame.sequence_number, frame.capture_time_ns) == (2**64 - 1, 2**63)
    assert (frame.image, frame.vehicle_speed_mps) == (JpegImage(b"x"), None)
    assert frame.arrived_ns == 7
    raw = frame_pb2.Rgb8Image(width_px=1, height_px=2, pixels=b"abcdef")
    frame = wire.frame(frame_pb2.Frame(rgb8=raw, vehicle_speed_mps=0.0), 8)
    assert (frame.image, frame.vehicle_speed_mps) == (RawImage(1, 2, b"abcdef"), 0.0)
    video = frame_pb2.Nv12Image(width_px=2, height_px=2, planes=b"abcdef", full_range=True)
    assert wire.frame(frame_pb2.Frame(nv12=video), 9).image == Nv12Image(2, 2, b"abcdef", True)
    assert wire.frame(frame_pb2.Frame(), 9).image is None


def test_a_view_is_read():
    told = frame_pb2.ViewApplied(
        source_width_px=640,
        source_height_px=480,
        top_px=192,
        bottom_px=432,
        left_px=1,
        right_px=639,
    )
    frame = wire.frame(frame_pb2.Frame(jpeg=b"x", view_applied=told), 0)
    assert frame.view_applied == Applied(640, 480, 192, 432, 1, 639)
    assert wire.frame(frame_pb2.Frame(jpeg=b"x"), 0).view_applied is None
    nothing = frame_pb2.Frame(view_applied=frame_pb2.ViewApplied())
    assert wire.frame(nothing, 0).view_applied == Applied(0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("speed", [math.nan, math.inf, -math.inf, 150.1, -150.1])
def test_an_impossible_speed_spoils_its_frame(speed):
    record = wire.frame(frame_pb2.Frame(vehicle_speed_mps=speed), 0)
    assert record.invalid.startswith("frame.vehicle_speed_mps must be a number from -150 to 150")


@pytest.mark.parametrize("speed", [None, 0.0, -150.0, 150.0])
def test_a_possible_speed_spoils_nothing(speed):
    assert wire.frame(frame_pb2.Frame(vehicle_speed_mps=speed), 0).invalid is None


def command(**changes):
    fields = {
        "sequence_number": 3,
        "capture_time_ns": 4,
        "raw": ControlValues(0.5, None, -0.25),
        "limited": ControlValues(0.25, None, 0.0),
        "active_limits": (domain.Limit.STEERING_RATE, domain.Limit.STEERING_TORQUE),
        "validity": Validity.VALID,
        "age_ms": 1.5,
        "alive_counter": 65_535,
        "state_epoch": 2,
        "step_count": 9,
        "timings": Timings(1_000, 2_999, 3_000, 7_000, 5),
    }
    return Command(**{**fields, **changes})


@pytest.mark.parametrize(
    "heads", [(True, True, True), (True, False, False), (True, True, False), (True, False, True)]
)
@pytest.mark.parametrize(("steps", "spacing_ms"), [(1, 1), (10, 50), (32, 1000)])
def test_a_horizon_is_written_field_by_field(heads, steps, spacing_ms):
    values = [
        ControlValues(*(at / 7 + head if there else None for head, there in enumerate(heads)))
        for at in range(steps)
    ]
    angles, speeds, torques = zip(*map(dataclasses.astuple, values), strict=True)
    horizon = domain.Horizon(
        spacing_ms,
        angles,
        speeds if heads[1] else None,
        torques if heads[2] else None,
        values[-1],
        domain.Stddevs(0.5, None, None),
    )
    message = wire.Answerer("session").answer(command(horizon=horizon)).command
    expected = command_pb2.Command()
    for at, value in enumerate(values, start=1):
        step = expected.horizon.steps.add(after_ms=at * spacing_ms)
        for name, there in zip(
            ("steering_wheel_angle_rad", "speed_mps", "steering_torque_nm"), heads, strict=True
        ):
            if there:
                setattr(step.limited, name, getattr(value, name))
    assert list(message.horizon.steps) == list(expected.horizon.steps)
    assert message.horizon.last_raw.steering_wheel_angle_stddev_rad == 0.5


def test_a_command_is_written():
    message = wire.Answerer("session").answer(command()).command
    assert message.raw.steering_torque_nm == -0.25
    assert not message.limited.HasField("speed_mps")
    assert message.limited.HasField("steering_torque_nm")
    assert list(message.active_limits) == [
        command_pb2.LIMIT_STEERING_RATE,
        command_pb2.LIMIT_STEERING_TORQUE,
    ]
    timings = message.timings
    assert (timings.queue_us, timings.decode_us, timings.infer_us) == (1, 2, 3)
    assert (timings.total_us, timings.batch_size) == (7, 5)
    assert message.checksum == command_checksum("session", message)
    assert message.checksum != command_checksum("another", message)


def test_standard_deviations_are_written_beside_the_raw_values():
    stddevs = domain.Stddevs(0.05, None, 0.5)
    message = wire.Answerer("session").answer(command(stddevs=stddevs)).command
    assert message.raw.steering_wheel_angle_stddev_rad == 0.05
    assert not message.raw.HasField("speed_stddev_mps")
    assert message.raw.steering_torque_stddev_nm == 0.5
    assert not any("stddev" in field.name for field, _ in message.limited.ListFields())
    assert message.checksum == command_checksum("session", message)
    speed = domain.Stddevs(None, 1.5, None)
    message = wire.Answerer("session").answer(command(stddevs=speed)).command
    assert [field.name for field, _ in message.raw.ListFields() if "stddev" in field.name] == [
        "speed_stddev_mps"
    ]


def test_a_time_too_long_for_the_wire_is_capped():
    timings = Timings(-5, 0, 0, 10**18, 1)
    message = wire.Answerer("session").answer(command(timings=timings)).command
    assert (message.timings.queue_us, message.timings.total_us) == (0, 2**32 - 1)


def test_a_skip_is_written_with_what_to_hold():
    reason = domain.SkipReason.LATE
    skip = domain.Skip(5, 6, reason, "why", command(validity=Validity.HELD))
    message = wire.Answerer("session").answer(skip).skipped
    assert (message.sequence_number, message.capture_time_ns, message.detail) == (5, 6, "why")
    assert message.reason == command_pb2.SKIP_REASON_LATE
    assert message.held.checksum == command_checksum("session", message.held)
    bare = wire.Answerer("session").answer(domain.Skip(5, 6, reason, "why", None)).skipped
    assert not bare.HasField("held")


def test_notices_are_written():
    assert wire.Answerer("s").answer(domain.DrainingNotice(7)).notice.draining.ends_in_ms == 7
    assert wire.Answerer("s").answer(domain.ExpiringNotice(8)).notice.expiring.ends_in_ms == 8
