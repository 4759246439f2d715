from __future__ import annotations

import math

import pytest

from steerstream import (
    Camera,
    ControlValues,
    Draining,
    ErrorReason,
    Expiring,
    FramePolicy,
    Limit,
    ProtocolError,
    Shedding,
    SkipReason,
    TicketIssued,
    Validity,
    ViewEncoding,
    wire,
)
from steerstream.checksum import command_checksum, horizon_checksum
from steerstream.testing import FakeServer
from steerstream.v1 import command_pb2, drive_service_pb2, session_pb2
from tests.steerstream import views


@pytest.mark.parametrize(
    ("ours", "theirs", "prefix"),
    [
        (Limit, command_pb2.Limit, "LIMIT_"),
        (Validity, command_pb2.Validity, "VALIDITY_"),
        (SkipReason, command_pb2.SkipReason, "SKIP_REASON_"),
    ],
)
def test_enums_are_those_of_the_contract(ours, theirs, prefix):
    assert {prefix + member.name: member.value for member in ours} == dict(theirs.items())


def test_frame_policies_are_those_of_the_contract_but_for_unspecified():
    names = {f"FRAME_POLICY_{policy.name}": policy.value for policy in FramePolicy}
    assert {"FRAME_POLICY_UNSPECIFIED": 0, **names} == dict(session_pb2.FramePolicy.items())


def test_encodings_of_views_are_those_of_the_contract_but_for_unspecified():
    names = {f"VIEW_ENCODING_{encoding.name}": encoding.value for encoding in ViewEncoding}
    assert {"VIEW_ENCODING_UNSPECIFIED": 0, **names} == dict(session_pb2.ViewEncoding.items())


def test_error_reasons_are_those_of_the_contract():
    assert [reason.value for reason in ErrorReason] == session_pb2.ErrorReason.keys()


def a_command(**changes) -> command_pb2.Command:
    fields = {
        "sequence_number": 7,
        "capture_time_ns": 123,
        "raw": command_pb2.ControlValues(steering_wheel_angle_rad=0.2, speed_mps=9.0),
        "limited": command_pb2.ControlValues(steering_wheel_angle_rad=0.1, speed_mps=9.0),
        "active_limits": [command_pb2.LIMIT_STEERING_RATE, 98],
        "validity": command_pb2.VALIDITY_VALID,
        "age_ms": 4.0,
        "alive_counter": 3,
        "state_epoch": 1,
        "step_count": 12,
        "timings": command_pb2.StageTimings(queue_us=1, decode_us=2, infer_us=3, total_us=6),
    }
    message = command_pb2.Command(**{**fields, **changes})
    message.checksum = command_checksum("s-1", message)
    return message


def test_a_command_is_read_whole():
    command = wire.command("s-1", a_command(), sent_ns=1_000_000, received_ns=11_000_000)
    assert command.raw == ControlValues(steering_wheel_angle_rad=0.2, speed_mps=9.0)
    assert command.limited.steering_torque_nm is None
    assert command.active_limits == (Limit.STEERING_RATE, Limit.UNSPECIFIED)
    assert (command.sequence_number, command.alive_counter, command.step_count) == (7, 3, 12)
    assert command.round_trip_ms == 10.0
    assert command.checksum_ok
    assert command.is_fresh


def test_standard_deviations_are_read_and_absent_ones_are_none():
    message = command_pb2.ControlValues(
        steering_wheel_angle_rad=0.2,
        steering_wheel_angle_stddev_rad=0.05,
        steering_torque_stddev_nm=0.5,
    )
    values = wire.command("s-1", a_command(raw=message), sent_ns=0, received_ns=0).raw
    assert values.steering_wheel_angle_stddev_rad == 0.05
    assert values.speed_stddev_mps is None
    assert values.steering_torque_stddev_nm == 0.5


@pytest.mark.parametrize("field", ["sequence_number", "alive_counter", "state_epoch"])
def test_a_changed_safety_field_breaks_the_checksum(field):
    message = a_command()
    setattr(message, field, getattr(message, field) + 1)
    assert not wire.command("s-1", message, sent_ns=0, received_ns=0).checksum_ok


def test_a_changed_angle_breaks_the_checksum():
    message = a_command()
    message.limited.steering_wheel_angle_rad = 0.11
    assert not wire.command("s-1", message, sent_ns=0, received_ns=0).is_fresh


def test_a_command_of_another_session_breaks_the_checksum():
    assert not wire.command("s-2", a_command(), sent_ns=0, received_ns=0).checksum_ok


def test_a_fresh_command_is_as_old_as_its_frame_whatever_the_server_says():
    for word_ms in (4.0, math.nan, -1e9, math.inf):
        command = wire.command("s-1", a_command(age_ms=word_ms), sent_ns=0, received_ns=10_000_000)
        assert command.is_fresh
        assert command.age_at_ms(10_000_000) == 10.0
        assert command.age_at_ms(15_000_000) == 15.0


@pytest.mark.parametrize(
    ("word_ms", "age_ms"), [(40.0, 55.0), (math.nan, math.inf), (-1.0, math.inf)]
)
def test_a_held_command_is_older_by_what_the_server_says_if_that_is_an_age(word_ms, age_ms):
    message = a_command(age_ms=word_ms, validity=command_pb2.VALIDITY_HELD)
    held = wire.command("s-1", message, sent_ns=0, received_ns=10_000_000)
    assert held.age_at_ms(15_000_000) == age_ms


def test_a_skip_is_read_with_what_to_hold():
    message = command_pb2.FrameSkipped(
        sequence_number=8,
        reason=command_pb2.SKIP_REASON_LATE,
        detail="too late",
        held=a_command(),
    )
    skipped = wire.skipped("s-1", message, sent_ns=0, received_ns=2_000_000)
    assert (skipped.reason, skipped.detail) == (SkipReason.LATE, "too late")
    assert skipped.held is not None
    assert skipped.held.sequence_number == 7
    assert skipped.round_trip_ms == 2.0


def test_a_skip_without_a_command_to_hold_has_none():
    message = command_pb2.FrameSkipped(sequence_number=8)
    assert wire.skipped("s-1", message, sent_ns=0, received_ns=0).held is None


@pytest.mark.parametrize(
    ("message", "value"),
    [
        ({"draining": session_pb2.Draining(ends_in_ms=5)}, Draining(5)),
        ({"shedding": session_pb2.Shedding(ends_in_ms=5, retry_after_ms=9)}, Shedding(5, 9)),
        ({"expiring": session_pb2.Expiring(ends_in_ms=6)}, Expiring(6)),
        (
            {"ticket": session_pb2.Ticket(ticket=b"x", sequence_number=7, valid_for_ms=8)},
            TicketIssued(b"x", 7, 8),
        ),
        ({}, None),
    ],
)
def test_notices_are_read(message, value):
    assert wire.notice(session_pb2.Notice(**message)) == value


@pytest.mark.parametrize("field", ["period_ms", "first_in_ms"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 1e300])
def test_a_pace_that_no_session_can_keep_is_refused(field, value):
    pace = session_pb2.Pace(**{"period_ms": 50, "first_in_ms": 5, field: value})
    with pytest.raises(ProtocolError, match=field):
        wire.notice(session_pb2.Notice(pace=pace))


def test_the_open_message_carries_everything():
    camera = Camera(640, 480, 60.0, 1.4, 0.45)
    opening = wire.open_request(
        vehicle_id="car",
        model="m",
        budget_ms=40.0,
        frame_policy=FramePolicy.EVERY,
        camera=camera,
        ticket=b"t",
        frame_rate_hz=30.0,
    ).open
    assert (opening.vehicle_id, opening.model, opening.budget_ms) == ("car", "m", 40.0)
    assert opening.frame_policy == session_pb2.FRAME_POLICY_EVERY
    assert (opening.ticket, opening.frame_rate_hz) == (b"t", 30.0)
    assert (opening.camera.width_px, opening.camera.horizon_fraction) == (640, 0.45)


def test_the_opened_message_is_read_whole():
    opened = FakeServer().open(session_pb2.OpenSession(budget_ms=20.0))
    info = wire.session_info(drive_service_pb2.DriveResponse(opened=opened))
    assert (info.session_id, info.granted_budget_ms) == ("fake-1", 20.0)
    assert info.frame_policy is FramePolicy.LATEST
    assert [output.head for output in info.model.outputs] == [
        "steering_wheel_angle",
        "speed",
        "steering_torque",
    ]


def declared(**changes):
    opened = FakeServer(view=views.VIEW).open(session_pb2.OpenSession())
    for name, value in changes.items():
        setattr(opened.view, name, value)
    return opened


def read_view(opened):
    return wire.session_info(drive_service_pb2.DriveResponse(opened=opened)).view


def test_the_view_is_read_and_absent_where_there_is_none():
    assert read_view(declared()) == views.VIEW
    assert read_view(FakeServer().open(session_pb2.OpenSession())) is None


def test_an_encoding_of_a_newer_server_is_passed_over():
    opened = declared()
    del opened.view.encodings[:]
    opened.view.encodings.extend([99, 0, session_pb2.VIEW_ENCODING_RGB8])
    assert read_view(opened).encodings == (ViewEncoding.RGB8,)


@pytest.mark.parametrize(
    "changes",
    [
        {"width_px": 0},
        {"height_px": 0},
        {"width_px": 8193},
        {"height_px": 2**32 - 1},
        {"jpeg_quality": 0},
        {"jpeg_quality": 101},
    ],
)
def test_a_view_that_no_network_has_breaks_the_contract(changes):
    with pytest.raises(ProtocolError, match=next(iter(changes))):
        read_view(declared(**changes))


@pytest.mark.parametrize(
    "edges", [{"top": 0.9}, {"left": 1.0}, {"right": 0.0}, {"bottom": 0.2}, {"left": 1 - 2**-53}]
)
def test_a_view_of_nothing_breaks_the_contract(edges):
    opened = declared()
    for name, value in edges.items():
        setattr(opened.view.crop, name, value)
    with pytest.raises(ProtocolError, match="an empty part of a picture"):
        read_view(opened)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, -1.0, 1e12])
@pytest.mark.parametrize(
    "field",
    [
        "granted_budget_ms",
        "limits.min_budget_ms",
        "limits.max_budget_ms",
        "model.rate_hz",
        "model.crop.top",
    ],
)
def test_a_number_of_the_opening_that_cannot_be_true_breaks_the_contract(field, number):
    opened = FakeServer().open(session_pb2.OpenSession())
    *path, name = field.split(".")
    message = opened
    for part in path:
        message = getattr(message, part)
    setattr(message, name, number)
    with pytest.raises(ProtocolError, match=name):
        wire.session_info(drive_service_pb2.DriveResponse(opened=opened))


@pytest.mark.parametrize("rate_hz", [5e-324, 1e-9])
def test_a_rate_whose_period_is_no_time_breaks_the_contract(rate_hz):
    opened = FakeServer().open(session_pb2.OpenSession())
    opened.model.rate_hz = rate_hz
    with pytest.raises(ProtocolError, match="rate_hz"):
        wire.session_info(drive_service_pb2.DriveResponse(opened=opened))


def test_a_rate_may_be_left_out():
    opened = FakeServer().open(session_pb2.OpenSession())
    opened.model.rate_hz = 0.0
    info = wire.session_info(drive_service_pb2.DriveResponse(opened=opened))
    assert info.model.rate_hz == 0.0


def test_no_budget_is_granted_by_zero():
    opened = FakeServer().open(session_pb2.OpenSession())
    opened.granted_budget_ms = 0.0
    with pytest.raises(ProtocolError, match="granted_budget_ms"):
        wire.session_info(drive_service_pb2.DriveResponse(opened=opened))


@pytest.mark.parametrize(
    "response",
    [
        drive_service_pb2.DriveResponse(command=a_command()),
        drive_service_pb2.DriveResponse(opened=session_pb2.SessionOpened()),
        drive_service_pb2.DriveResponse(),
    ],
)
def test_a_first_answer_that_opens_nothing_is_an_error(response):
    with pytest.raises(ProtocolError):
        wire.session_info(response)


def a_horizon(command: command_pb2.Command) -> None:
    for after_ms in (50, 100):
        step = command.horizon.steps.add(after_ms=after_ms)
        step.limited.steering_wheel_angle_rad = after_ms / 1000
    command.horizon.last_raw.steering_wheel_angle_stddev_rad = 0.3
    command.checksum = command_checksum("session", command)
    absent = (math.nan, math.nan)
    command.horizon.checksum = horizon_checksum(
        command.checksum, [50, 0.05, *absent, 100, 0.1, *absent]
    )


def test_a_horizon_is_read():
    message = a_command()
    a_horizon(message)
    command = wire.command("session", message, sent_ns=1, received_ns=2)
    assert command.checksum_ok
    assert command.horizon is not None
    steps = [
        (step.after_ms, step.limited.steering_wheel_angle_rad) for step in command.horizon.steps
    ]
    assert steps == [(50, 0.05), (100, 0.1)]
    assert command.horizon.last_raw.steering_wheel_angle_stddev_rad == 0.3
    assert wire.command("session", a_command(), sent_ns=1, received_ns=2).horizon is None


@pytest.mark.parametrize(
    "damage", ["a value", "a moment", "a step", "another command's", "its sum"]
)
def test_a_damaged_horizon_damages_its_command(damage):
    message = a_command()
    a_horizon(message)
    if damage == "a value":
        message.horizon.steps[1].limited.steering_wheel_angle_rad = 0.2
    elif damage == "a moment":
        message.horizon.steps[1].after_ms = 101
    elif damage == "a step":
        del message.horizon.steps[1]
    elif damage == "another command's":
        message.sequence_number += 1
        message.checksum = command_checksum("session", message)
    else:
        message.horizon.checksum ^= 1
    assert not wire.command("session", message, sent_ns=1, received_ns=2).checksum_ok


def test_a_client_that_knows_no_horizon_finds_the_command_sealed_all_the_same():
    message = a_command()
    a_horizon(message)
    message.ClearField("horizon")
    assert wire.command("session", message, sent_ns=1, received_ns=2).checksum_ok


@pytest.mark.parametrize(
    "camera",
    [
        Camera(),
        Camera(width_px=640, mount_height_m=1.25, horizontal_fov_deg=60.0),
        Camera(focal_x_px=500.0, distortion=(0.1, 0.2, 0.0, 0.0, 0.3)),
    ],
)
def test_a_camera_is_read_as_it_was_written(camera):
    message = session_pb2.CameraDescription()
    wire.write_camera(message, camera)
    assert wire.camera(message) == camera


def test_a_lens_of_a_model_that_is_not_known_is_refused():
    message = session_pb2.CameraDescription.FromString(b"\x30\x4d")
    assert message.lens_model == 77
    with pytest.raises(ProtocolError, match="no model of lenses has the number 77"):
        wire.camera(message)
