"""Translates between protobuf and the server's own words; checks every field that comes in."""

from __future__ import annotations

import functools
import math
import struct
from typing import Any, NamedTuple

from steerstream.checksum import checksum_seed, fields_checksum, horizon_checksum
from steerstream.lens import LensModel
from steerstream.v1 import command_pb2, drive_service_pb2, frame_pb2, model_pb2, session_pb2
from steerstream_bundle.contract import LONGEST_NAME, TrainedCamera
from steerstream_bundle.contract import Horizon as ModelHorizon
from steerstream_bundle.pictures import Image, JpegImage, Nv12Image, RawImage
from steerstream_bundle.view import Applied
from steerstream_service.admission.catalogue import Model
from steerstream_service.config import Config
from steerstream_service.domain import (
    Camera,
    Command,
    ControlValues,
    DrainingNotice,
    ExpiringNotice,
    FramePolicy,
    Horizon,
    Notice,
    Opening,
    PaceNotice,
    Skip,
    Stddevs,
    TicketNotice,
    Timings,
)
from steerstream_service.errors import BadTicketError, InvalidFieldError, NotOpenError
from steerstream_service.session.frame_stages import FrameRecord
from steerstream_service.session.ticket import MAX_TICKET_BYTES

_MAX_VEHICLE_ID = 128
_FRAME_RATE_BOUNDS_HZ = (0.1, 1000.0)
"""Below, a session would be idle between two frames; above, no camera is as fast."""
_SPEED_BOUND_MPS = 150.0
"""540 km/h: beyond it a measured speed is a fault of the sensor."""
_CAMERA_BOUNDS = {
    "horizontal_fov_deg": (0.0, 360.0),
    "mount_height_m": (0.0, 100.0),
    "horizon_fraction": (-10.0, 10.0),
}
_CAMERA_PIXELS = ("width_px", "height_px", "focal_x_px", "focal_y_px", "principal_x_px",
    "principal_y_px")  # fmt: skip
_MAX_CAMERA_PX = 1e6
_MAX_DISTORTION, _LARGEST_DISTORTION = 5, 1e3
_MAX_ACT_IN_MS = 10_000.0
"""Beyond it a stated delay is a fault of the vehicle's clock."""
_MOST_RESETS = 1024
_MAX_UINT32 = 0xFFFF_FFFF
_LATEST_VALUES = {
    session_pb2.FRAME_POLICY_UNSPECIFIED,
    session_pb2.FRAME_POLICY_LATEST,
}


def opening(request: drive_service_pb2.DriveRequest) -> Opening:
    """Read the first message of a stream.

    Raises:
        NotOpenError: the message is not `open`.
        BadTicketError: no server issues so large a ticket.
        InvalidFieldError: a field is out of its range; the message names it.
    """
    if not request.HasField("open"):
        found = request.WhichOneof("message") or "empty"
        raise NotOpenError(f"the first message must be open, is {found}")
    message = request.open
    if len(message.ticket) > MAX_TICKET_BYTES:
        raise BadTicketError(
            f"open.ticket has {len(message.ticket):,} bytes, and may have {MAX_TICKET_BYTES:,}; "
            "open without it"
        )
    rate = message.frame_rate_hz
    if rate:
        _number("open.frame_rate_hz", rate, *_FRAME_RATE_BOUNDS_HZ)
    budget = _number("open.budget_ms", message.budget_ms, 0.0, math.inf)
    return Opening(
        vehicle_id=_vehicle_id(message.vehicle_id),
        model=_model_name(message.model) or None,
        budget_ms=budget or None,
        policy=_policy(message.frame_policy),
        camera=_camera(message.camera),
        ticket=message.ticket,
        frame_rate_hz=rate or None,
        replays_rings=message.replays_rings,
        wants_horizon=not message.without_horizon,
    )


def frame(message: frame_pb2.Frame, arrived_ns: int) -> FrameRecord:
    """Read a frame, and make its record; its picture is checked when it is decoded.

    A field out of its range spoils its frame, not the session.
    """
    speed = message.vehicle_speed_mps if message.HasField("vehicle_speed_mps") else None
    record = FrameRecord(
        message.sequence_number, message.capture_time_ns, _image(message), speed, arrived_ns
    )
    record.is_replayed = message.replayed
    if message.HasField("view_applied"):
        record.view_applied = _view_applied(message.view_applied)
    if message.HasField("act_in_ms"):
        record.stated_act_in_s = message.act_in_ms / 1e3
        if not 0 <= message.act_in_ms <= _MAX_ACT_IN_MS:
            record.invalid = (
                f"frame.act_in_ms must be a number from 0 to {_MAX_ACT_IN_MS:g}, is "
                f"{message.act_in_ms}; leave it out where it is not known"
            )
    # Written with `not`, so that NaN is refused too.
    if speed is not None and not abs(speed) <= _SPEED_BOUND_MPS:
        record.invalid = (
            f"frame.vehicle_speed_mps must be a number from {-_SPEED_BOUND_MPS:g} to "
            f"{_SPEED_BOUND_MPS:g}, is {speed}; leave it out where it is not known"
        )
    return record


def opened(
    *,
    session_id: str,
    model: model_pb2.ModelContract,
    budget_ms: float,
    policy: FramePolicy,
    resumed: bool,
    limits: model_pb2.ServerLimits,
    view: session_pb2.View,
    maps_to: TrainedCamera | None = None,
) -> drive_service_pb2.DriveResponse:
    """Return the answer to `open`.

    Args:
        session_id: the session's name.
        model: what drives it.
        budget_ms: the granted budget.
        policy: the frame policy.
        resumed: whether it goes on with the state of a ticket.
        limits: the bounds on what the client sends.
        view: what the server wants to see of every picture.
        maps_to: the camera to whose picture the vehicle's are mapped; None where they are not.
    """
    wanted: dict[str, Any] = {"view": view}
    if maps_to is not None:
        mapping = session_pb2.CameraMapping(view=view, camera=_trained_camera(maps_to))
        wanted = {"camera_mapping": mapping}
    return drive_service_pb2.DriveResponse(
        opened=session_pb2.SessionOpened(
            session_id=session_id,
            model=model,
            granted_budget_ms=budget_ms,
            frame_policy=session_pb2.FramePolicy.ValueType(policy),
            resumed=resumed,
            limits=limits,
            **wanted,
        )
    )


class Answerer:
    """Writes the messages of one session.

    Args:
        session_id: the session's name, which is part of every command's checksum.
    """

    def __init__(self, session_id: str) -> None:
        self._seed = checksum_seed(session_id)

    def answer(self, message: Command | Skip | Notice) -> drive_service_pb2.DriveResponse:
        """Return an answer to a frame, or a notice."""
        response = drive_service_pb2.DriveResponse()
        if isinstance(message, Command):
            _write_command(response.command, message, self._seed)
        elif isinstance(message, Skip):
            _write_skip(response.skipped, message, self._seed)
        elif isinstance(message, DrainingNotice):
            response.notice.draining.ends_in_ms = message.ends_in_ms
        elif isinstance(message, ExpiringNotice):
            response.notice.expiring.ends_in_ms = message.ends_in_ms
        elif isinstance(message, TicketNotice):
            response.notice.ticket.ticket = message.ticket
            response.notice.ticket.sequence_number = message.sequence_number
            response.notice.ticket.valid_for_ms = message.valid_for_ms
            if message.replay_from is not None:
                response.notice.ticket.replay_from = message.replay_from
        elif isinstance(message, PaceNotice):
            response.notice.pace.period_ms = message.period_ms
            response.notice.pace.first_in_ms = message.first_in_ms
        else:
            response.notice.shedding.ends_in_ms = message.ends_in_ms
            response.notice.shedding.retry_after_ms = message.retry_after_ms
        return response


def model_contract(model: Model) -> model_pb2.ModelContract:
    """Return what a client may want to know of a model."""
    bundle = model.bundle
    contract = bundle.contract
    provenance = contract.provenance
    return model_pb2.ModelContract(
        name=model.name,
        bundle_sha256=bundle.sha256,
        input_width_px=contract.frame.width_px,
        input_height_px=contract.frame.height_px,
        crop=model_pb2.CropFractions(
            top=contract.frame.crop.top,
            bottom=contract.frame.crop.bottom,
            left=contract.frame.crop.left,
            right=contract.frame.crop.right,
        ),
        rate_hz=contract.rate_hz,
        outputs=[
            model_pb2.ModelOutput(
                head=output.head, unit=output.unit, minimum=output.minimum, maximum=output.maximum
            )
            for output in contract.outputs
        ],
        state=[
            model_pb2.ModelState(name=tensor.input, shape=tensor.shape, kind=tensor.kind)
            for tensor in contract.state
        ],
        reset_after_ms=contract.gap.reset_after_ms,
        warm_up_steps=contract.warm_up_steps,
        limits_profile=contract.limits_profile,
        sources=[
            model_pb2.TrainingSource(
                name=source.name,
                frames=source.frames,
                heads=source.heads,
                licence=source.licence,
                rendered=source.rendered,
            )
            for source in provenance.sources
        ],
        scores=[
            model_pb2.HeldOutScore(
                source=score.source,
                head=score.head,
                frames=score.frames,
                rmse=score.rmse,
                note=score.note,
            )
            for score in provenance.scores
        ],
        git_revision=provenance.git_revision,
        precision=bundle.precision,
        provider=bundle.runtime.provider.name,
        runtime_reason=bundle.reason,
        horizon=_horizon_contract(contract.horizon),
        max_act_in_ms=1e3 * contract.max_act_in_s,
        camera=_trained_camera(contract.camera) if contract.camera.is_known else None,
    )


def _trained_camera(camera: TrainedCamera) -> model_pb2.TrainedCamera:
    return model_pb2.TrainedCamera(
        horizontal_fov_deg=camera.horizontal_fov_deg,
        aspect_ratio=camera.aspect_ratio,
        mount_height_m=camera.mount_height_m,
        horizon_fraction=camera.horizon_fraction,
    )


def _horizon_contract(horizon: ModelHorizon) -> model_pb2.HorizonContract | None:
    if not horizon.outputs:
        return None
    return model_pb2.HorizonContract(
        steps=horizon.steps,
        spacing_ms=horizon.spacing_ms,
        heads=[output.head for output in horizon.outputs],
    )


def server_limits(config: Config) -> model_pb2.ServerLimits:
    """Return the bounds on what clients send."""
    return model_pb2.ServerLimits(
        max_message_bytes=config.max_message_bytes,
        max_pixels=config.max_pixels,
        max_waiting_frames=config.max_waiting_frames,
        idle_timeout_ms=_milliseconds(config.idle_timeout_s),
        max_sessions=config.max_sessions,
        min_budget_ms=config.min_budget_ms,
        max_budget_ms=config.max_budget_ms,
    )


def limits_until(
    limits: model_pb2.ServerLimits, valid_for_s: float | None
) -> model_pb2.ServerLimits:
    """Return the bounds of a session that ends after a while; None for one that does not."""
    if valid_for_s is None:
        return limits
    copied = model_pb2.ServerLimits()
    copied.CopyFrom(limits)
    # At least one, for zero says that nothing ends it.
    copied.token_valid_for_ms = max(1, int(valid_for_s * 1e3))
    return copied


# Coming in.


def _number(name: str, value: float, low: float, high: float) -> float:
    if not (math.isfinite(value) and low <= value <= high):
        raise InvalidFieldError(f"{name} must be a number from {low:g} to {high:g}, is {value}")
    return value


def resets(message: session_pb2.Reset) -> int:
    """Return how many resets in a row a message stands for.

    Raises:
        InvalidFieldError: more than one message may.
    """
    if message.count > _MOST_RESETS:
        raise InvalidFieldError(
            f"reset.count must be at most {_MOST_RESETS}, is {message.count}; send another reset"
        )
    return message.count or 1


def _vehicle_id(text: str) -> str:
    if not (1 <= len(text) <= _MAX_VEHICLE_ID and text.isascii() and text.isprintable()):
        raise InvalidFieldError(
            f"open.vehicle_id must be 1 to {_MAX_VEHICLE_ID} printable ASCII characters"
        )
    return text


def _model_name(text: str) -> str:
    if len(text) > LONGEST_NAME:
        raise InvalidFieldError(f"open.model must be at most {LONGEST_NAME} characters")
    return text


def _policy(value: int) -> FramePolicy:
    if value in _LATEST_VALUES:
        return FramePolicy.LATEST
    if value != session_pb2.FRAME_POLICY_EVERY:
        raise InvalidFieldError(f"open.frame_policy must be LATEST or EVERY, is number {value}")
    return FramePolicy.EVERY


def _camera(message: session_pb2.CameraDescription) -> Camera:
    for name, (low, high) in _CAMERA_BOUNDS.items():
        _number(f"open.camera.{name}", getattr(message, name), low, high)
    for name in _CAMERA_PIXELS:
        _number(f"open.camera.{name}", getattr(message, name), 0.0, _MAX_CAMERA_PX)
    if int(message.lens_model) not in set(LensModel):
        raise InvalidFieldError(
            f"open.camera.lens_model must be one that the server knows, is {message.lens_model}"
        )
    if len(message.distortion) > _MAX_DISTORTION:
        raise InvalidFieldError(f"open.camera.distortion has at most {_MAX_DISTORTION} numbers")
    for coefficient in message.distortion:
        _number("open.camera.distortion", coefficient, -_LARGEST_DISTORTION, _LARGEST_DISTORTION)
    return Camera(
        message.width_px,
        message.height_px,
        message.horizontal_fov_deg,
        message.mount_height_m,
        message.horizon_fraction,
        LensModel(message.lens_model),
        tuple(message.distortion),
        message.focal_x_px,
        message.focal_y_px,
        message.principal_x_px,
        message.principal_y_px,
    )


def write_view_applied(message: frame_pb2.ViewApplied, applied: Applied) -> None:
    """Write the part of its own picture that a vehicle sent."""
    message.source_width_px = applied.source_width_px
    message.source_height_px = applied.source_height_px
    message.top_px = applied.top_px
    message.bottom_px = applied.bottom_px
    message.left_px = applied.left_px
    message.right_px = applied.right_px
    message.mapped = applied.is_mapped


def _view_applied(message: frame_pb2.ViewApplied) -> Applied:
    return Applied(
        message.source_width_px,
        message.source_height_px,
        message.top_px,
        message.bottom_px,
        message.left_px,
        message.right_px,
        message.mapped,
    )


def _image(message: frame_pb2.Frame) -> Image | None:
    kind = message.WhichOneof("image")
    if kind == "jpeg":
        return JpegImage(message.jpeg)
    if kind == "rgb8":
        raw = message.rgb8
        return RawImage(raw.width_px, raw.height_px, raw.pixels)
    if kind == "nv12":
        video = message.nv12
        return Nv12Image(video.width_px, video.height_px, video.planes, video.full_range)
    return None


# Going out.


# Fields are set one by one: a message that is made from keywords takes three times as long.


def _write_command(message: command_pb2.Command, command: Command, seed: int) -> None:
    message.sequence_number = command.sequence_number
    message.capture_time_ns = command.capture_time_ns
    _write_values(message.raw, command.raw)
    if command.stddevs is not None:
        _write_stddevs(message.raw, command.stddevs)
    _write_values(message.limited, command.limited)
    if command.active_limits:
        message.active_limits.extend(map(command_pb2.Limit.ValueType, command.active_limits))
    message.validity = command_pb2.Validity.ValueType(command.validity)
    message.age_ms = command.age_ms
    message.alive_counter = command.alive_counter
    message.state_epoch = state_epoch = command.state_epoch & _MAX_UINT32
    message.step_count = command.step_count
    _write_timings(message.timings, command.timings)
    limited = command.limited
    message.checksum = fields_checksum(
        seed,
        sequence_number=command.sequence_number,
        capture_time_ns=command.capture_time_ns,
        alive_counter=command.alive_counter,
        validity=command.validity,
        state_epoch=state_epoch,
        angle_rad=limited.steering_wheel_angle_rad,
        speed_mps=limited.speed_mps,
        torque_nm=limited.steering_torque_nm,
    )
    if command.horizon is not None:
        _write_horizon(message, command.horizon)


def _write_horizon(message: command_pb2.Command, horizon: Horizon) -> None:
    ahead = message.horizon
    heads = (horizon.angles_rad, horizon.speeds_mps, horizon.torques_nm)
    has_heads = (True, horizon.speeds_mps is not None, horizon.torques_nm is not None)
    layout = _steps_layout(len(horizon.angles_rad), horizon.spacing_ms, has_heads)
    pieces, fields = layout.pieces.copy(), layout.fields.copy()
    at = 1
    for place, head in enumerate(heads, start=1):
        if head is not None:
            pieces[at :: layout.stride] = head
            fields[place::4] = head
            at += 2
    ahead.MergeFromString(layout.packed.pack(*pieces))
    _write_values(ahead.last_raw, horizon.last_raw)
    _write_stddevs(ahead.last_raw, horizon.last_stddevs)
    ahead.checksum = horizon_checksum(message.checksum, fields)


class _StepsLayout(NamedTuple):
    """How the steps of a horizon are laid out.

    Attributes:
        packed: of the steps in a message.
        pieces: what is packed so: bytes, and marks where values belong, by turns.
        stride: from a head's mark to its next one.
        fields: what their checksum covers, with NaN where values belong.
    """

    packed: struct.Struct
    pieces: list[bytes | float]
    stride: int
    fields: list[float]


@functools.lru_cache(maxsize=64)
def _steps_layout(steps: int, spacing_ms: int, heads: tuple[bool, ...]) -> _StepsLayout:
    """Return how the steps of a horizon are laid out.

    Setting the fields of twenty messages one by one takes 25 us of every frame. So the bytes
    between the values are taken once from a message that protobuf made.

    Args:
        steps: how many.
        spacing_ms: between two.
        heads: which of angle, speed and torque there are, the same in all steps.
    """
    # Numbers whose bytes are found nowhere else in the message.
    marks = [math.pi * 2.0**-at for at in range(steps * sum(heads))]
    left, made = iter(marks), command_pb2.Horizon()
    for at in range(1, steps + 1):
        values = ControlValues(*(next(left) if there else None for there in heads))
        step = made.steps.add(after_ms=at * spacing_ms)
        _write_values(step.limited, values)
    rest, pieces = made.SerializeToString(), list[bytes | float]()
    layout = "<"
    for mark in marks:
        between, rest = rest.split(struct.pack("<d", mark), 1)
        pieces += [between, mark]
        layout += f"{len(between)}sd"
    fields = [field for at in range(1, steps + 1) for field in (at * spacing_ms, *[math.nan] * 3)]
    return _StepsLayout(struct.Struct(layout), pieces, 2 * sum(heads), fields)


def _write_values(message: command_pb2.ControlValues, values: ControlValues) -> None:
    # Present even where the network has no head: a client may rely on it.
    message.SetInParent()
    if values.steering_wheel_angle_rad is not None:
        message.steering_wheel_angle_rad = values.steering_wheel_angle_rad
    if values.speed_mps is not None:
        message.speed_mps = values.speed_mps
    if values.steering_torque_nm is not None:
        message.steering_torque_nm = values.steering_torque_nm


def _write_stddevs(message: command_pb2.ControlValues, stddevs: Stddevs) -> None:
    if stddevs.steering_wheel_angle_rad is not None:
        message.steering_wheel_angle_stddev_rad = stddevs.steering_wheel_angle_rad
    if stddevs.speed_mps is not None:
        message.speed_stddev_mps = stddevs.speed_mps
    if stddevs.steering_torque_nm is not None:
        message.steering_torque_stddev_nm = stddevs.steering_torque_nm


def _write_timings(message: command_pb2.StageTimings, timings: Timings) -> None:
    message.queue_us = _microseconds(timings.queue_ns)
    message.decode_us = _microseconds(timings.decode_ns)
    message.infer_us = _microseconds(timings.infer_ns)
    message.total_us = _microseconds(timings.total_ns)
    message.batch_size = timings.batch_size


def _write_skip(message: command_pb2.FrameSkipped, skip: Skip, seed: int) -> None:
    message.sequence_number = skip.sequence_number
    message.capture_time_ns = skip.capture_time_ns
    message.reason = command_pb2.SkipReason.ValueType(skip.reason)
    message.detail = skip.detail
    if skip.held is not None:
        _write_command(message.held, skip.held, seed)


def _microseconds(nanoseconds: int) -> int:
    microseconds = nanoseconds // 1000
    if 0 <= microseconds <= _MAX_UINT32:
        return microseconds
    return 0 if microseconds < 0 else _MAX_UINT32


def _milliseconds(seconds: float) -> int:
    return min(round(seconds * 1000), _MAX_UINT32)
