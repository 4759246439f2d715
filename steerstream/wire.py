"""Converts between messages of the wire contract and this package's values; pure functions."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypedDict, Unpack

from google.protobuf.message import Message

from steerstream import lens
from steerstream.answers import (
    Command,
    ControlValues,
    Draining,
    Expiring,
    Horizon,
    HorizonStep,
    Limit,
    Notice,
    Pace,
    Shedding,
    Skipped,
    SkipReason,
    StageTimings,
    TicketIssued,
    Validity,
)
from steerstream.arguments import finite_number, shown
from steerstream.checksum import command_checksum, horizon_checksum
from steerstream.errors import BadRequest, ProtocolError
from steerstream.lens import LensModel
from steerstream.models import (
    Camera,
    CropFractions,
    FramePolicy,
    HeldOutScore,
    Model,
    ModelHorizon,
    ModelOutput,
    ModelState,
    ServedModels,
    ServerLimits,
    SessionInfo,
    TrainedCamera,
    TrainingSource,
    View,
    ViewEncoding,
)
from steerstream.v1 import command_pb2, drive_service_pb2, model_pb2, session_pb2

if TYPE_CHECKING:
    from steerstream.v1 import frame_pb2


_MIN_BUDGET_MS, _MAX_BUDGET_MS = 1e-3, 3_600_000.0
_MIN_RATE_HZ, _MAX_RATE_HZ = 1e-3, 1e6
"""Of a rate that is stated. A smaller one has a period that no clock could wait for."""
_LEAST_CROP = 1e-3
"""Of a picture's height and width; with less, rounding might leave nothing of it."""
_MAX_VIEW_SIDE_PX = 8192
"""The largest side of a network's input that a bundle can have."""
_MAX_ACT_IN_MS = 10_000.0
"""Of what a bundle can have been trained with."""


class OpenFields(TypedDict):
    """The fields of the opening, beside its policy.

    Attributes:
        vehicle_id: the vehicle's name.
        model: a served model's name; None for the server's default.
        budget_ms: milliseconds that a frame may take in the server; None for its default.
        camera: the camera that the frames come from; None where nothing is known of it.
        ticket: of an earlier session, to go on where it stopped; None to begin.
        frame_rate_hz: frames a second that will be sent; None for the model's own rate.
    """

    vehicle_id: str
    model: str | None
    budget_ms: float | None
    camera: Camera | None
    ticket: bytes | None
    frame_rate_hz: float | None


def open_request(
    *, frame_policy: FramePolicy, **fields: Unpack[OpenFields]
) -> drive_service_pb2.DriveRequest:
    """Return the message that opens a session.

    Raises:
        BadRequest: a value is of a type that its field cannot hold.
    """
    request = drive_service_pb2.DriveRequest()
    camera = fields["camera"]
    plain = {name: value for name, value in fields.items() if name != "camera"}
    _fill(request.open, frame_policy=frame_policy, **plain)
    if camera is not None:
        write_camera(request.open.camera, camera)
    return request


def write_camera(message: session_pb2.CameraDescription, camera: Camera) -> None:
    """Write a camera's description.

    Raises:
        BadRequest: a value is of a type that its field cannot hold.
    """
    message.SetInParent()
    plain = dataclasses.asdict(camera)
    lens_model, distortion = plain.pop("lens"), plain.pop("distortion")
    if not isinstance(lens_model, LensModel):
        raise BadRequest(f"lens cannot be {shown(lens_model)}; it is a LensModel")
    if not isinstance(distortion, tuple | list):
        raise BadRequest(f"distortion cannot be {shown(distortion)}; it is a tuple of numbers")
    _fill(message, **plain, lens_model=lens_model)
    message.distortion.extend(finite_number("distortion", each) for each in distortion)


def _fill(message: Message, **fields: object) -> None:
    """Set the fields of a message that are not None.

    Raises:
        BadRequest: a value is of a type that its field cannot hold.
    """
    for name, value in fields.items():
        if value is None:
            continue
        # Protocol Buffers would take True as 1.
        if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
            raise BadRequest(f"{name} cannot be {shown(value)}")
        try:
            setattr(message, name, value)
        except (TypeError, ValueError, OverflowError) as error:
            raise BadRequest(f"{name} cannot be {shown(value)}: {error}") from error


def frame_request(frame: frame_pb2.Frame) -> drive_service_pb2.DriveRequest:
    """Return the message that carries a frame."""
    return drive_service_pb2.DriveRequest(frame=frame)


def reset_request(count: int) -> drive_service_pb2.DriveRequest:
    """Return the message that resets the recurrent state.

    Args:
        count: how many resets in a row it stands for, 1 to 1024.
    """
    return drive_service_pb2.DriveRequest(reset=session_pb2.Reset(count=count))


def session_info(
    response: drive_service_pb2.DriveResponse,
    camera: Camera | None = None,
    asked_budget_ms: float = 0.0,
) -> SessionInfo:
    """Read the first answer of a stream.

    Args:
        response: the answer.
        camera: that the session was opened with.
        asked_budget_ms: that was asked for, which the server may not exceed: the client's timeouts
            go by it. 0 for none.

    Raises:
        ProtocolError: it is not `opened`, leaves the policy open, or has a number that cannot be
            true.
    """
    if response.WhichOneof("message") != "opened":
        raise ProtocolError("the server's first answer is not 'opened'; check its version")
    opened = response.opened
    try:
        policy = FramePolicy(opened.frame_policy)
    except ValueError as error:
        raise ProtocolError("the server granted no known frame policy") from error
    return SessionInfo(
        session_id=opened.session_id,
        model=model(opened.model),
        granted_budget_ms=_number(
            opened, "granted_budget_ms", low=_MIN_BUDGET_MS, high=asked_budget_ms or _MAX_BUDGET_MS
        ),
        frame_policy=policy,
        resumed=opened.resumed,
        limits=server_limits(opened.limits),
        view=_wanted_view(opened, camera),
    )


def _wanted_view(opened: session_pb2.SessionOpened, camera: Camera | None) -> View | None:
    if not opened.HasField("camera_mapping"):
        return view(opened.view) if opened.HasField("view") else None
    wanted = view(opened.camera_mapping.view)
    trained = trained_camera(opened.camera_mapping.camera)
    try:
        found = lens.mapping(
            camera or Camera(),
            trained,
            wanted.crop,
            width_px=wanted.width_px,
            height_px=wanted.height_px,
        )
    except lens.UnsuitableCameraError as error:
        raise ProtocolError(f"the server maps a camera of which {error}") from error
    if found is None:
        raise ProtocolError("the server maps a camera that needs no mapping; check its version")
    return dataclasses.replace(wanted, mapping=found)


def trained_camera(message: model_pb2.TrainedCamera) -> TrainedCamera:
    """Read the camera that a model was trained with."""
    return TrainedCamera(
        horizontal_fov_deg=_number(message, "horizontal_fov_deg", low=1.0, high=179.0),
        aspect_ratio=_number(message, "aspect_ratio", low=0.1, high=10.0),
        mount_height_m=_number(message, "mount_height_m", low=0.1, high=10.0),
        horizon_fraction=_number(message, "horizon_fraction", low=-1.0, high=2.0),
    )


def command(
    session_id: str, message: command_pb2.Command, *, sent_ns: int, received_ns: int
) -> Command:
    """Read a command and check its checksum.

    Args:
        session_id: the server's name for the session, which the checksum covers.
        message: the command.
        sent_ns: when its frame was sent, by the client's clock.
        received_ns: when it arrived, by the client's clock.
    """
    timings = message.timings
    return Command(
        sequence_number=message.sequence_number,
        capture_time_ns=message.capture_time_ns,
        raw=control_values(message.raw),
        limited=control_values(message.limited),
        active_limits=tuple(Limit(limit) for limit in message.active_limits),
        validity=Validity(message.validity),
        age_ms=message.age_ms,
        alive_counter=message.alive_counter,
        checksum_ok=_is_sealed(session_id, message),
        state_epoch=message.state_epoch,
        step_count=message.step_count,
        timings=StageTimings(
            queue_us=timings.queue_us,
            decode_us=timings.decode_us,
            infer_us=timings.infer_us,
            total_us=timings.total_us,
            batch_size=timings.batch_size,
        ),
        sent_ns=sent_ns,
        received_ns=received_ns,
        horizon=_horizon(message.horizon) if message.HasField("horizon") else None,
    )


def _is_sealed(session_id: str, message: command_pb2.Command) -> bool:
    """Return whether a command and its horizon have the checksums of what they say."""
    if message.checksum != command_checksum(session_id, message):
        return False
    if not message.HasField("horizon"):
        return True
    fields: list[float] = []
    for step in message.horizon.steps:
        values = control_values(step.limited)
        heads = (values.steering_wheel_angle_rad, values.speed_mps, values.steering_torque_nm)
        fields += (step.after_ms, *(math.nan if head is None else head for head in heads))
    return message.horizon.checksum == horizon_checksum(message.checksum, fields)


def _horizon(message: command_pb2.Horizon) -> Horizon:
    steps = (HorizonStep(step.after_ms, control_values(step.limited)) for step in message.steps)
    return Horizon(tuple(steps), control_values(message.last_raw))


def skipped(
    session_id: str, message: command_pb2.FrameSkipped, *, sent_ns: int, received_ns: int
) -> Skipped:
    """Read the answer to a frame for which there is no fresh command.

    Args:
        session_id: the server's name for the session, which checksums cover.
        message: the skip.
        sent_ns: when its frame was sent, by the client's clock.
        received_ns: when it arrived, by the client's clock.
    """
    held = None
    if message.HasField("held"):
        held = command(session_id, message.held, sent_ns=sent_ns, received_ns=received_ns)
    return Skipped(
        sequence_number=message.sequence_number,
        capture_time_ns=message.capture_time_ns,
        reason=SkipReason(message.reason),
        detail=message.detail,
        held=held,
        sent_ns=sent_ns,
        received_ns=received_ns,
    )


def notice(message: session_pb2.Notice) -> Notice | None:
    """Read a notice; None for a kind that this version does not know.

    Raises:
        ProtocolError: a pace is no number, or longer than any session waits.
    """
    match message.WhichOneof("notice"):
        case "draining":
            return Draining(message.draining.ends_in_ms)
        case "expiring":
            return Expiring(message.expiring.ends_in_ms)
        case "shedding":
            return Shedding(message.shedding.ends_in_ms, message.shedding.retry_after_ms)
        case "pace":
            period_ms, first_in_ms = (
                _number(message.pace, name, high=_MAX_BUDGET_MS)
                for name in ("period_ms", "first_in_ms")
            )
            return Pace(period_ms, first_in_ms)
        case "ticket":
            sealed = message.ticket
            first = sealed.replay_from if sealed.HasField("replay_from") else None
            return TicketIssued(sealed.ticket, sealed.sequence_number, sealed.valid_for_ms, first)
        case _:
            return None


def control_values(message: command_pb2.ControlValues) -> ControlValues:
    """Read one value for each head."""
    has = message.HasField
    return ControlValues(
        message.steering_wheel_angle_rad if has("steering_wheel_angle_rad") else None,
        message.speed_mps if has("speed_mps") else None,
        message.steering_torque_nm if has("steering_torque_nm") else None,
        message.steering_wheel_angle_stddev_rad if has("steering_wheel_angle_stddev_rad") else None,
        message.speed_stddev_mps if has("speed_stddev_mps") else None,
        message.steering_torque_stddev_nm if has("steering_torque_stddev_nm") else None,
    )


def served_models(message: drive_service_pb2.DescribeModelsResponse) -> ServedModels:
    """Read the description of a server."""
    return ServedModels(
        models=tuple(model(each) for each in message.models),
        default_model=message.default_model,
        limits=server_limits(message.limits),
    )


def server_limits(message: model_pb2.ServerLimits) -> ServerLimits:
    """Read the bounds on what clients send."""
    return ServerLimits(
        max_message_bytes=message.max_message_bytes,
        max_pixels=message.max_pixels,
        max_waiting_frames=message.max_waiting_frames,
        idle_timeout_ms=message.idle_timeout_ms,
        max_sessions=message.max_sessions,
        min_budget_ms=_number(message, "min_budget_ms", high=_MAX_BUDGET_MS),
        max_budget_ms=_number(message, "max_budget_ms", high=_MAX_BUDGET_MS),
        token_valid_for_ms=message.token_valid_for_ms,
    )


def view(message: session_pb2.View) -> View:
    """Read what a server wants to see.

    Raises:
        ProtocolError: its crop is empty, or a number cannot be true.
    """
    crop = _crop(message.crop)
    if min(crop.bottom - crop.top, crop.right - crop.left) < _LEAST_CROP:
        raise ProtocolError("the server wants to see an empty part of a picture; check its version")
    return View(
        crop=crop,
        width_px=int(_number(message, "width_px", low=1, high=_MAX_VIEW_SIDE_PX)),
        height_px=int(_number(message, "height_px", low=1, high=_MAX_VIEW_SIDE_PX)),
        encodings=tuple(_known_encodings(message)),
        jpeg_quality=int(_number(message, "jpeg_quality", low=1, high=100)),
    )


def view_message(wanted: View) -> session_pb2.View:
    """Return the message that declares a view."""
    crop = wanted.crop
    return session_pb2.View(
        crop=model_pb2.CropFractions(
            top=crop.top, bottom=crop.bottom, left=crop.left, right=crop.right
        ),
        width_px=wanted.width_px,
        height_px=wanted.height_px,
        encodings=map(session_pb2.ViewEncoding.ValueType, wanted.encodings),
        jpeg_quality=wanted.jpeg_quality,
    )


def model(message: model_pb2.ModelContract) -> Model:
    """Read the contract of a model."""
    return Model(
        name=message.name,
        bundle_sha256=message.bundle_sha256,
        input_width_px=message.input_width_px,
        input_height_px=message.input_height_px,
        crop=_crop(message.crop),
        rate_hz=_number(
            message, "rate_hz", low=_MIN_RATE_HZ if message.rate_hz else 0.0, high=_MAX_RATE_HZ
        ),
        outputs=tuple(
            ModelOutput(each.head, each.unit, each.minimum, each.maximum)
            for each in message.outputs
        ),
        state=tuple(ModelState(each.name, tuple(each.shape), each.kind) for each in message.state),
        reset_after_ms=message.reset_after_ms,
        warm_up_steps=message.warm_up_steps,
        limits_profile=message.limits_profile,
        sources=tuple(_training_source(each) for each in message.sources),
        scores=tuple(
            HeldOutScore(each.source, each.head, each.frames, each.rmse, each.note)
            for each in message.scores
        ),
        git_revision=message.git_revision,
        precision=message.precision,
        provider=message.provider,
        runtime_reason=message.runtime_reason,
        horizon=_model_horizon(message.horizon) if message.HasField("horizon") else None,
        max_act_in_ms=_number(message, "max_act_in_ms", high=_MAX_ACT_IN_MS),
        camera=trained_camera(message.camera) if message.HasField("camera") else None,
    )


def _model_horizon(message: model_pb2.HorizonContract) -> ModelHorizon:
    return ModelHorizon(message.steps, message.spacing_ms, tuple(message.heads))


def _known_encodings(message: session_pb2.View) -> Iterator[ViewEncoding]:
    for number in message.encodings:
        with contextlib.suppress(ValueError):
            yield ViewEncoding(number)


def _crop(message: model_pb2.CropFractions) -> CropFractions:
    return CropFractions(
        *(_number(message, side, high=1.0) for side in ("top", "bottom", "left", "right"))
    )


def _number(message: Message, name: str, *, high: float, low: float = 0.0) -> float:
    """Return a number of a server's message within its range."""
    try:
        return finite_number(name, getattr(message, name), low=low, high=high)
    except BadRequest as error:
        raise ProtocolError(f"the server sent {error}; check its version") from error


def _training_source(message: model_pb2.TrainingSource) -> TrainingSource:
    return TrainingSource(
        name=message.name,
        frames=message.frames,
        heads=tuple(message.heads),
        licence=message.licence,
        rendered=message.rendered,
    )


def camera(message: session_pb2.CameraDescription) -> Camera:
    """Read the description of a camera; a number that is not stated is None.

    Raises:
        ProtocolError: it has a lens of a model that is not known here.
    """
    if int(message.lens_model) not in set(LensModel):
        raise ProtocolError(
            f"no model of lenses has the number {message.lens_model}; check the version"
        )
    numbers = {field.name for field in dataclasses.fields(Camera)} - {"lens", "distortion"}
    return Camera(
        lens=LensModel(message.lens_model),
        distortion=tuple(message.distortion),
        **{name: getattr(message, name) or None for name in numbers},
    )
