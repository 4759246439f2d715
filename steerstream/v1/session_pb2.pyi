from steerstream.v1 import model_pb2 as _model_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FramePolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FRAME_POLICY_UNSPECIFIED: _ClassVar[FramePolicy]
    FRAME_POLICY_LATEST: _ClassVar[FramePolicy]
    FRAME_POLICY_EVERY: _ClassVar[FramePolicy]

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_OPEN: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_FIELD: _ClassVar[ErrorReason]
    ERROR_REASON_UNKNOWN_MODEL: _ClassVar[ErrorReason]
    ERROR_REASON_BAD_TICKET: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_SESSIONS: _ClassVar[ErrorReason]
    ERROR_REASON_BUDGET_TOO_SMALL: _ClassVar[ErrorReason]
    ERROR_REASON_DRAINING: _ClassVar[ErrorReason]
    ERROR_REASON_IDLE: _ClassVar[ErrorReason]
    ERROR_REASON_INTERNAL: _ClassVar[ErrorReason]
FRAME_POLICY_UNSPECIFIED: FramePolicy
FRAME_POLICY_LATEST: FramePolicy
FRAME_POLICY_EVERY: FramePolicy
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_NOT_OPEN: ErrorReason
ERROR_REASON_INVALID_FIELD: ErrorReason
ERROR_REASON_UNKNOWN_MODEL: ErrorReason
ERROR_REASON_BAD_TICKET: ErrorReason
ERROR_REASON_TOO_MANY_SESSIONS: ErrorReason
ERROR_REASON_BUDGET_TOO_SMALL: ErrorReason
ERROR_REASON_DRAINING: ErrorReason
ERROR_REASON_IDLE: ErrorReason
ERROR_REASON_INTERNAL: ErrorReason

class OpenSession(_message.Message):
    __slots__ = ("vehicle_id", "model", "budget_ms", "frame_policy", "camera", "ticket", "frame_rate_hz")
    VEHICLE_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    BUDGET_MS_FIELD_NUMBER: _ClassVar[int]
    FRAME_POLICY_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    FRAME_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    vehicle_id: str
    model: str
    budget_ms: float
    frame_policy: FramePolicy
    camera: CameraDescription
    ticket: bytes
    frame_rate_hz: float
    def __init__(self, vehicle_id: _Optional[str] = ..., model: _Optional[str] = ..., budget_ms: _Optional[float] = ..., frame_policy: _Optional[_Union[FramePolicy, str]] = ..., camera: _Optional[_Union[CameraDescription, _Mapping]] = ..., ticket: _Optional[bytes] = ..., frame_rate_hz: _Optional[float] = ...) -> None: ...

class CameraDescription(_message.Message):
    __slots__ = ("width_px", "height_px", "horizontal_fov_deg", "mount_height_m", "horizon_fraction")
    WIDTH_PX_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_PX_FIELD_NUMBER: _ClassVar[int]
    HORIZONTAL_FOV_DEG_FIELD_NUMBER: _ClassVar[int]
    MOUNT_HEIGHT_M_FIELD_NUMBER: _ClassVar[int]
    HORIZON_FRACTION_FIELD_NUMBER: _ClassVar[int]
    width_px: int
    height_px: int
    horizontal_fov_deg: float
    mount_height_m: float
    horizon_fraction: float
    def __init__(self, width_px: _Optional[int] = ..., height_px: _Optional[int] = ..., horizontal_fov_deg: _Optional[float] = ..., mount_height_m: _Optional[float] = ..., horizon_fraction: _Optional[float] = ...) -> None: ...

class SessionOpened(_message.Message):
    __slots__ = ("session_id", "model", "granted_budget_ms", "frame_policy", "resumed", "limits")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    GRANTED_BUDGET_MS_FIELD_NUMBER: _ClassVar[int]
    FRAME_POLICY_FIELD_NUMBER: _ClassVar[int]
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    model: _model_pb2.ModelContract
    granted_budget_ms: float
    frame_policy: FramePolicy
    resumed: bool
    limits: _model_pb2.ServerLimits
    def __init__(self, session_id: _Optional[str] = ..., model: _Optional[_Union[_model_pb2.ModelContract, _Mapping]] = ..., granted_budget_ms: _Optional[float] = ..., frame_policy: _Optional[_Union[FramePolicy, str]] = ..., resumed: _Optional[bool] = ..., limits: _Optional[_Union[_model_pb2.ServerLimits, _Mapping]] = ...) -> None: ...

class Reset(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Notice(_message.Message):
    __slots__ = ("draining", "expiring", "ticket")
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    EXPIRING_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    draining: Draining
    expiring: Expiring
    ticket: Ticket
    def __init__(self, draining: _Optional[_Union[Draining, _Mapping]] = ..., expiring: _Optional[_Union[Expiring, _Mapping]] = ..., ticket: _Optional[_Union[Ticket, _Mapping]] = ...) -> None: ...

class Draining(_message.Message):
    __slots__ = ("ends_in_ms",)
    ENDS_IN_MS_FIELD_NUMBER: _ClassVar[int]
    ends_in_ms: int
    def __init__(self, ends_in_ms: _Optional[int] = ...) -> None: ...

class Expiring(_message.Message):
    __slots__ = ("ends_in_ms",)
    ENDS_IN_MS_FIELD_NUMBER: _ClassVar[int]
    ends_in_ms: int
    def __init__(self, ends_in_ms: _Optional[int] = ...) -> None: ...

class Ticket(_message.Message):
    __slots__ = ("ticket", "sequence_number", "valid_for_ms")
    TICKET_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    VALID_FOR_MS_FIELD_NUMBER: _ClassVar[int]
    ticket: bytes
    sequence_number: int
    valid_for_ms: int
    def __init__(self, ticket: _Optional[bytes] = ..., sequence_number: _Optional[int] = ..., valid_for_ms: _Optional[int] = ...) -> None: ...
