"""Turns what a session tells its observer into the messages of a recording; pure functions."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.RawImage_pb2 import RawImage
from google.protobuf.message import Message

from steerstream.answers import (
    Command,
    ControlValues,
    Draining,
    Expiring,
    FrameAnswer,
    Notice,
    Pace,
    Shedding,
    TicketIssued,
)
from steerstream.guard import Action, GuardReason, SafeCommand
from steerstream.recording import topics
from steerstream.recording.topics import Entry
from steerstream.v1 import command_pb2, frame_pb2, recording_pb2, session_pb2

_CAMERA_FRAME = "camera"
_MAX_UINT32 = 0xFFFF_FFFF
_ACTIONS = {
    Action.FOLLOW: recording_pb2.GUARD_ACTION_FOLLOW,
    Action.HOLD: recording_pb2.GUARD_ACTION_HOLD,
    Action.RELEASE: recording_pb2.GUARD_ACTION_RELEASE,
}


def frame(sent: frame_pb2.Frame, time_ns: int) -> Iterator[Entry]:
    """Yield the picture of a frame, where it has one, and what else the frame says.

    Args:
        sent: the frame as it was sent.
        time_ns: when, in Unix nanoseconds.
    """
    rest = frame_pb2.Frame()
    rest.CopyFrom(sent)
    match rest.WhichOneof("image"):
        case "jpeg":
            jpeg = CompressedImage(frame_id=_CAMERA_FRAME, format="jpeg", data=rest.jpeg)
            jpeg.timestamp.FromNanoseconds(time_ns)
            yield topics.CAMERA, jpeg
            rest.jpeg = b""
        case "rgb8":
            yield _raw("rgb8", rest.rgb8, rest.rgb8.pixels, 3, time_ns)
            rest.rgb8.pixels = b""
        case "nv12":
            yield _raw("nv12", rest.nv12, rest.nv12.planes, 1, time_ns)
            rest.nv12.planes = b""
    yield topics.FRAME, rest


def _raw(
    encoding: str,
    image: frame_pb2.Rgb8Image | frame_pb2.Nv12Image,
    data: bytes,
    column_bytes: int,
    time_ns: int,
) -> Entry:
    raw = RawImage(
        frame_id=_CAMERA_FRAME,
        width=image.width_px,
        height=image.height_px,
        encoding=encoding,
        # A width that no picture has would not fit; the frame itself says it as it was sent.
        step=min(image.width_px * column_bytes, _MAX_UINT32),
        data=data,
    )
    raw.timestamp.FromNanoseconds(time_ns)
    return topics.CAMERA_RAW, raw


def whole_frame(rest: frame_pb2.Frame, picture: bytes) -> frame_pb2.Frame:
    """Return a frame as it was sent, from what `frame` made of it.

    Args:
        rest: the frame without its picture.
        picture: the picture's bytes.
    """
    whole = frame_pb2.Frame()
    whole.CopyFrom(rest)
    match whole.WhichOneof("image"):
        case "jpeg":
            whole.jpeg = picture
        case "rgb8":
            whole.rgb8.pixels = picture
        case "nv12":
            whole.nv12.planes = picture
    return whole


def answer(given: FrameAnswer, reasons: tuple[GuardReason, ...]) -> Iterator[Entry]:
    """Yield an answer, and what the guard said of it."""
    if isinstance(given, Command):
        yield topics.COMMAND, command(given)
    else:
        skipped = command_pb2.FrameSkipped(
            sequence_number=given.sequence_number,
            capture_time_ns=given.capture_time_ns,
            reason=command_pb2.SkipReason.ValueType(given.reason),
            detail=given.detail,
        )
        if given.held is not None:
            skipped.held.CopyFrom(command(given.held))
        yield topics.SKIPPED, skipped
    yield (
        topics.VERDICT,
        recording_pb2.RecordedVerdict(
            sequence_number=given.sequence_number,
            round_trip_ms=given.round_trip_ms,
            reasons=[reason.name for reason in reasons],
        ),
    )


def command(given: Command) -> command_pb2.Command:
    """Return the message that a command came from, without its checksums."""
    timings = given.timings
    message = command_pb2.Command(
        sequence_number=given.sequence_number,
        capture_time_ns=given.capture_time_ns,
        active_limits=map(command_pb2.Limit.ValueType, given.active_limits),
        validity=command_pb2.Validity.ValueType(given.validity),
        age_ms=given.age_ms,
        alive_counter=given.alive_counter,
        state_epoch=given.state_epoch,
        step_count=given.step_count,
        timings=command_pb2.StageTimings(
            queue_us=timings.queue_us,
            decode_us=timings.decode_us,
            infer_us=timings.infer_us,
            total_us=timings.total_us,
            batch_size=timings.batch_size,
        ),
    )
    _set_values(message.raw, given.raw)
    _set_values(message.limited, given.limited)
    if given.horizon is not None:
        for step in given.horizon.steps:
            _set_values(message.horizon.steps.add(after_ms=step.after_ms).limited, step.limited)
        _set_values(message.horizon.last_raw, given.horizon.last_raw)
    return message


def _set_values(message: command_pb2.ControlValues, values: ControlValues) -> None:
    # A message whose heads are all absent is there all the same, as in the answer.
    message.SetInParent()
    for name in ControlValues.__dataclass_fields__:
        value = getattr(values, name)
        if value is not None:
            setattr(message, name, value)


def notice(given: Notice) -> Iterator[Entry]:
    """Yield a notice; of a ticket only which frame it is of, for its bytes open a session."""
    message = session_pb2.Notice()
    match given:
        case Draining(ends_in_ms):
            message.draining.ends_in_ms = ends_in_ms
        case Expiring(ends_in_ms):
            message.expiring.ends_in_ms = ends_in_ms
        case Shedding(ends_in_ms, retry_after_ms):
            message.shedding.ends_in_ms = ends_in_ms
            message.shedding.retry_after_ms = retry_after_ms
        case Pace(period_ms, first_in_ms):
            message.pace.period_ms = period_ms
            message.pace.first_in_ms = first_in_ms
        case TicketIssued(_, sequence_number, valid_for_ms):
            message.ticket.sequence_number = sequence_number
            message.ticket.valid_for_ms = valid_for_ms
    yield topics.NOTICE, message


def safe_command(told: SafeCommand) -> Iterator[Entry]:
    """Yield what the guard told the vehicle."""
    yield (
        topics.SAFE_COMMAND,
        recording_pb2.RecordedSafeCommand(
            action=_ACTIONS[told.action],
            steering_wheel_angle_rad=told.steering_wheel_angle_rad,
            speed_mps=told.speed_mps,
            steering_torque_nm=told.steering_torque_nm,
            age_ms=told.age_ms,
            reasons=[reason.name for reason in told.reasons],
        ),
    )


def one(topic: str, message: Message) -> Iterator[Entry]:
    """Yield a message as it is."""
    yield topic, message


def processor() -> str:
    """Return the name of this machine's processor; empty where it has none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
