"""Descriptions at the opening of a session: the client's camera, the server's models and limits."""

from __future__ import annotations

import dataclasses
import enum

from steerstream.lens import LensModel, Mapping


class FramePolicy(enum.IntEnum):
    """What happens to a waiting frame when a newer one of the session arrives."""

    LATEST = 1
    """The newer frame supersedes it. For vehicles."""
    EVERY = 2
    """All frames are answered, in order. For lock-step simulators and replay."""


@dataclasses.dataclass(frozen=True, slots=True)
class Camera:
    """A forward camera; None where something is not known of it.

    Attributes:
        width_px: columns of its pictures.
        height_px: rows of its pictures.
        horizontal_fov_deg: horizontal field of view.
        mount_height_m: height of the lens above the ground.
        horizon_fraction: row of the horizon on a level road, as a fraction of the height.
        lens: how its lens bends straight lines.
        distortion: coefficients of that, as OpenCV has them: k1, k2, p1, p2 and perhaps k3 for
            BROWN_CONRADY; k1 to k4 for FISHEYE.
        focal_x_px: focal length along rows, in pixels, in place of the field of view.
        focal_y_px: focal length along columns, in pixels; None for that along rows.
        principal_x_px: column of the principal point; None for the middle.
        principal_y_px: row of the principal point; None for the middle.
    """

    width_px: int | None = None
    height_px: int | None = None
    horizontal_fov_deg: float | None = None
    mount_height_m: float | None = None
    horizon_fraction: float | None = None
    lens: LensModel = LensModel.PINHOLE
    distortion: tuple[float, ...] = ()
    focal_x_px: float | None = None
    focal_y_px: float | None = None
    principal_x_px: float | None = None
    principal_y_px: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class TrainedCamera:
    """The camera that a model was trained with; it has no distortion.

    Attributes:
        horizontal_fov_deg: field of view across its whole picture.
        aspect_ratio: its picture's width by its height.
        mount_height_m: height of the lens above the ground.
        horizon_fraction: row of the horizon on a level road, as a fraction of the height.
    """

    horizontal_fov_deg: float
    aspect_ratio: float
    mount_height_m: float
    horizon_fraction: float


@dataclasses.dataclass(frozen=True, slots=True)
class CropFractions:
    """The part of a picture that a network sees, as fractions of its height and width."""

    top: float
    bottom: float
    left: float
    right: float


class ViewEncoding(enum.IntEnum):
    """How a view travels."""

    JPEG_444 = 1
    """A JPEG file with colour at full resolution."""
    RGB8 = 2
    """Raw pixels."""


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """What a server wants to see of every picture.

    Attributes:
        crop: the part of the vehicle's own picture; where it is mapped, of the picture of the
            model's camera.
        width_px: columns to which it is scaled.
        height_px: rows to which it is scaled.
        encodings: how it may travel, the best first; those that this version knows.
        jpeg_quality: 1 to 100, where it travels as JPEG.
        mapping: where each of its pixels lies in the vehicle's own picture; None where it is a part
            of that, scaled.
    """

    crop: CropFractions
    width_px: int
    height_px: int
    encodings: tuple[ViewEncoding, ...]
    jpeg_quality: int
    mapping: Mapping | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ModelOutput:
    """One head: its name, its unit, and the range of its plausible values."""

    head: str
    unit: str
    minimum: float
    maximum: float


@dataclasses.dataclass(frozen=True, slots=True)
class ModelState:
    """One tensor of the recurrent state: its name, its shape for one session, what it holds."""

    name: str
    shape: tuple[int, ...]
    kind: str


@dataclasses.dataclass(frozen=True, slots=True)
class ModelHorizon:
    """How far ahead a model says what comes next: steps, milliseconds between them, and heads."""

    steps: int
    spacing_ms: int
    heads: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class TrainingSource:
    """One source of training data; `rendered` is True where pictures were drawn."""

    name: str
    frames: int
    heads: tuple[str, ...]
    licence: str
    rendered: bool


@dataclasses.dataclass(frozen=True, slots=True)
class HeldOutScore:
    """One score on data that the model was not trained on, in the head's unit."""

    source: str
    head: str
    frames: int
    rmse: float
    note: str


@dataclasses.dataclass(frozen=True, slots=True)
class Model:
    """The contract of a served model.

    Attributes:
        name: its name.
        bundle_sha256: SHA-256 of its bundle, in hexadecimal.
        input_width_px: columns of the picture that the network sees.
        input_height_px: rows of the picture that the network sees.
        crop: the part of a picture that is used.
        rate_hz: frames a second that it was trained at.
        outputs: its heads.
        state: its recurrent state; empty if it has none.
        reset_after_ms: a gap between two capture times beyond which the state is reset.
        warm_up_steps: frames after a reset whose commands are WARMING_UP.
        limits_profile: name of the server's limits profile.
        sources: what it was trained on.
        scores: how it did on data that it was not trained on.
        git_revision: revision of the code that made it.
        precision: what its weights are computed in: `f32`, `f16` or `int8`.
        provider: what runs it: `cpu`, `openvino`, `cuda` or `tensorrt`.
        runtime_reason: why the server chose these two.
        horizon: of its commands; None if it has none.
        max_act_in_ms: the longest time from a picture until its command acts that it was trained
            with; 0 if it is not told that.
        camera: that it was trained with; None if nobody knows.
    """

    name: str
    bundle_sha256: str
    input_width_px: int
    input_height_px: int
    crop: CropFractions
    rate_hz: float
    outputs: tuple[ModelOutput, ...]
    state: tuple[ModelState, ...]
    reset_after_ms: int
    warm_up_steps: int
    limits_profile: str
    sources: tuple[TrainingSource, ...]
    scores: tuple[HeldOutScore, ...]
    git_revision: str
    precision: str
    provider: str
    runtime_reason: str
    horizon: ModelHorizon | None = None
    max_act_in_ms: float = 0.0
    camera: TrainedCamera | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds on what clients send.

    Attributes:
        max_message_bytes: largest message.
        max_pixels: largest picture, after decoding.
        max_waiting_frames: frames of one session that may wait under EVERY.
        idle_timeout_ms: milliseconds without a frame after which a session ends.
        max_sessions: sessions that the server holds at once.
        min_budget_ms: smallest budget that can be asked for.
        max_budget_ms: largest budget that can be asked for.
        token_valid_for_ms: milliseconds from the opening of a session until it ends because the
            token that opened it has expired; 0 where no token ends it.
    """

    max_message_bytes: int
    max_pixels: int
    max_waiting_frames: int
    idle_timeout_ms: int
    max_sessions: int
    min_budget_ms: float
    max_budget_ms: float
    token_valid_for_ms: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class ServedModels:
    """The served models, the name of the default one, and what the server accepts."""

    models: tuple[Model, ...]
    default_model: str
    limits: ServerLimits


@dataclasses.dataclass(frozen=True, slots=True)
class SessionInfo:
    """The terms that the server granted.

    Attributes:
        session_id: the server's name for the session.
        model: contract of the model that drives.
        granted_budget_ms: milliseconds that a frame may take in the server.
        frame_policy: the policy in force.
        resumed: whether the session goes on with the state of the ticket.
        limits: bounds on what this session may send.
        view: what the server wants to see of every picture; None where it takes whole ones alone.
    """

    session_id: str
    model: Model
    granted_budget_ms: float
    frame_policy: FramePolicy
    resumed: bool
    limits: ServerLimits
    view: View | None = None
