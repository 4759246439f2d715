from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModelContract(_message.Message):
    __slots__ = ("name", "bundle_sha256", "input_width_px", "input_height_px", "crop", "rate_hz", "outputs", "state", "reset_after_ms", "warm_up_steps", "limits_profile", "sources", "scores", "git_revision")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_SHA256_FIELD_NUMBER: _ClassVar[int]
    INPUT_WIDTH_PX_FIELD_NUMBER: _ClassVar[int]
    INPUT_HEIGHT_PX_FIELD_NUMBER: _ClassVar[int]
    CROP_FIELD_NUMBER: _ClassVar[int]
    RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RESET_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    WARM_UP_STEPS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_PROFILE_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    GIT_REVISION_FIELD_NUMBER: _ClassVar[int]
    name: str
    bundle_sha256: str
    input_width_px: int
    input_height_px: int
    crop: CropFractions
    rate_hz: float
    outputs: _containers.RepeatedCompositeFieldContainer[ModelOutput]
    state: _containers.RepeatedCompositeFieldContainer[ModelState]
    reset_after_ms: int
    warm_up_steps: int
    limits_profile: str
    sources: _containers.RepeatedCompositeFieldContainer[TrainingSource]
    scores: _containers.RepeatedCompositeFieldContainer[HeldOutScore]
    git_revision: str
    def __init__(self, name: _Optional[str] = ..., bundle_sha256: _Optional[str] = ..., input_width_px: _Optional[int] = ..., input_height_px: _Optional[int] = ..., crop: _Optional[_Union[CropFractions, _Mapping]] = ..., rate_hz: _Optional[float] = ..., outputs: _Optional[_Iterable[_Union[ModelOutput, _Mapping]]] = ..., state: _Optional[_Iterable[_Union[ModelState, _Mapping]]] = ..., reset_after_ms: _Optional[int] = ..., warm_up_steps: _Optional[int] = ..., limits_profile: _Optional[str] = ..., sources: _Optional[_Iterable[_Union[TrainingSource, _Mapping]]] = ..., scores: _Optional[_Iterable[_Union[HeldOutScore, _Mapping]]] = ..., git_revision: _Optional[str] = ...) -> None: ...

class CropFractions(_message.Message):
    __slots__ = ("top", "bottom", "left", "right")
    TOP_FIELD_NUMBER: _ClassVar[int]
    BOTTOM_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    top: float
    bottom: float
    left: float
    right: float
    def __init__(self, top: _Optional[float] = ..., bottom: _Optional[float] = ..., left: _Optional[float] = ..., right: _Optional[float] = ...) -> None: ...

class ModelOutput(_message.Message):
    __slots__ = ("head", "unit", "minimum", "maximum")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    head: str
    unit: str
    minimum: float
    maximum: float
    def __init__(self, head: _Optional[str] = ..., unit: _Optional[str] = ..., minimum: _Optional[float] = ..., maximum: _Optional[float] = ...) -> None: ...

class ModelState(_message.Message):
    __slots__ = ("name", "shape", "kind")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    name: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    kind: str
    def __init__(self, name: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., kind: _Optional[str] = ...) -> None: ...

class TrainingSource(_message.Message):
    __slots__ = ("name", "frames", "heads", "licence", "rendered")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    HEADS_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    RENDERED_FIELD_NUMBER: _ClassVar[int]
    name: str
    frames: int
    heads: _containers.RepeatedScalarFieldContainer[str]
    licence: str
    rendered: bool
    def __init__(self, name: _Optional[str] = ..., frames: _Optional[int] = ..., heads: _Optional[_Iterable[str]] = ..., licence: _Optional[str] = ..., rendered: _Optional[bool] = ...) -> None: ...

class HeldOutScore(_message.Message):
    __slots__ = ("source", "head", "frames", "rmse", "note")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    RMSE_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    source: str
    head: str
    frames: int
    rmse: float
    note: str
    def __init__(self, source: _Optional[str] = ..., head: _Optional[str] = ..., frames: _Optional[int] = ..., rmse: _Optional[float] = ..., note: _Optional[str] = ...) -> None: ...

class ServerLimits(_message.Message):
    __slots__ = ("max_message_bytes", "max_pixels", "max_waiting_frames", "idle_timeout_ms", "max_sessions", "min_budget_ms", "max_budget_ms")
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_PIXELS_FIELD_NUMBER: _ClassVar[int]
    MAX_WAITING_FRAMES_FIELD_NUMBER: _ClassVar[int]
    IDLE_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    MIN_BUDGET_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_BUDGET_MS_FIELD_NUMBER: _ClassVar[int]
    max_message_bytes: int
    max_pixels: int
    max_waiting_frames: int
    idle_timeout_ms: int
    max_sessions: int
    min_budget_ms: float
    max_budget_ms: float
    def __init__(self, max_message_bytes: _Optional[int] = ..., max_pixels: _Optional[int] = ..., max_waiting_frames: _Optional[int] = ..., idle_timeout_ms: _Optional[int] = ..., max_sessions: _Optional[int] = ..., min_budget_ms: _Optional[float] = ..., max_budget_ms: _Optional[float] = ...) -> None: ...
