from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Limit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LIMIT_UNSPECIFIED: _ClassVar[Limit]
    LIMIT_STEERING_ANGLE: _ClassVar[Limit]
    LIMIT_STEERING_RATE: _ClassVar[Limit]
    LIMIT_LATERAL_ACCELERATION: _ClassVar[Limit]
    LIMIT_LATERAL_JERK: _ClassVar[Limit]
    LIMIT_SPEED: _ClassVar[Limit]
    LIMIT_ACCELERATION: _ClassVar[Limit]
    LIMIT_STEERING_TORQUE: _ClassVar[Limit]
    LIMIT_STEERING_TORQUE_RATE: _ClassVar[Limit]

class Validity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VALIDITY_UNSPECIFIED: _ClassVar[Validity]
    VALIDITY_VALID: _ClassVar[Validity]
    VALIDITY_WARMING_UP: _ClassVar[Validity]
    VALIDITY_HELD: _ClassVar[Validity]
    VALIDITY_FALLBACK: _ClassVar[Validity]

class SkipReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SKIP_REASON_UNSPECIFIED: _ClassVar[SkipReason]
    SKIP_REASON_LATE: _ClassVar[SkipReason]
    SKIP_REASON_SUPERSEDED: _ClassVar[SkipReason]
    SKIP_REASON_DUPLICATE: _ClassVar[SkipReason]
    SKIP_REASON_OUT_OF_ORDER: _ClassVar[SkipReason]
    SKIP_REASON_UNDECODABLE: _ClassVar[SkipReason]
    SKIP_REASON_OVERLOADED: _ClassVar[SkipReason]
    SKIP_REASON_FAILED: _ClassVar[SkipReason]
LIMIT_UNSPECIFIED: Limit
LIMIT_STEERING_ANGLE: Limit
LIMIT_STEERING_RATE: Limit
LIMIT_LATERAL_ACCELERATION: Limit
LIMIT_LATERAL_JERK: Limit
LIMIT_SPEED: Limit
LIMIT_ACCELERATION: Limit
LIMIT_STEERING_TORQUE: Limit
LIMIT_STEERING_TORQUE_RATE: Limit
VALIDITY_UNSPECIFIED: Validity
VALIDITY_VALID: Validity
VALIDITY_WARMING_UP: Validity
VALIDITY_HELD: Validity
VALIDITY_FALLBACK: Validity
SKIP_REASON_UNSPECIFIED: SkipReason
SKIP_REASON_LATE: SkipReason
SKIP_REASON_SUPERSEDED: SkipReason
SKIP_REASON_DUPLICATE: SkipReason
SKIP_REASON_OUT_OF_ORDER: SkipReason
SKIP_REASON_UNDECODABLE: SkipReason
SKIP_REASON_OVERLOADED: SkipReason
SKIP_REASON_FAILED: SkipReason

class Command(_message.Message):
    __slots__ = ("sequence_number", "capture_time_ns", "raw", "limited", "active_limits", "validity", "age_ms", "alive_counter", "checksum", "state_epoch", "step_count", "timings")
    SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    LIMITED_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_LIMITS_FIELD_NUMBER: _ClassVar[int]
    VALIDITY_FIELD_NUMBER: _ClassVar[int]
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    ALIVE_COUNTER_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    STATE_EPOCH_FIELD_NUMBER: _ClassVar[int]
    STEP_COUNT_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    sequence_number: int
    capture_time_ns: int
    raw: ControlValues
    limited: ControlValues
    active_limits: _containers.RepeatedScalarFieldContainer[Limit]
    validity: Validity
    age_ms: float
    alive_counter: int
    checksum: int
    state_epoch: int
    step_count: int
    timings: StageTimings
    def __init__(self, sequence_number: _Optional[int] = ..., capture_time_ns: _Optional[int] = ..., raw: _Optional[_Union[ControlValues, _Mapping]] = ..., limited: _Optional[_Union[ControlValues, _Mapping]] = ..., active_limits: _Optional[_Iterable[_Union[Limit, str]]] = ..., validity: _Optional[_Union[Validity, str]] = ..., age_ms: _Optional[float] = ..., alive_counter: _Optional[int] = ..., checksum: _Optional[int] = ..., state_epoch: _Optional[int] = ..., step_count: _Optional[int] = ..., timings: _Optional[_Union[StageTimings, _Mapping]] = ...) -> None: ...

class ControlValues(_message.Message):
    __slots__ = ("steering_wheel_angle_rad", "speed_mps", "steering_torque_nm", "steering_wheel_angle_stddev_rad", "speed_stddev_mps", "steering_torque_stddev_nm")
    STEERING_WHEEL_ANGLE_RAD_FIELD_NUMBER: _ClassVar[int]
    SPEED_MPS_FIELD_NUMBER: _ClassVar[int]
    STEERING_TORQUE_NM_FIELD_NUMBER: _ClassVar[int]
    STEERING_WHEEL_ANGLE_STDDEV_RAD_FIELD_NUMBER: _ClassVar[int]
    SPEED_STDDEV_MPS_FIELD_NUMBER: _ClassVar[int]
    STEERING_TORQUE_STDDEV_NM_FIELD_NUMBER: _ClassVar[int]
    steering_wheel_angle_rad: float
    speed_mps: float
    steering_torque_nm: float
    steering_wheel_angle_stddev_rad: float
    speed_stddev_mps: float
    steering_torque_stddev_nm: float
    def __init__(self, steering_wheel_angle_rad: _Optional[float] = ..., speed_mps: _Optional[float] = ..., steering_torque_nm: _Optional[float] = ..., steering_wheel_angle_stddev_rad: _Optional[float] = ..., speed_stddev_mps: _Optional[float] = ..., steering_torque_stddev_nm: _Optional[float] = ...) -> None: ...

class StageTimings(_message.Message):
    __slots__ = ("queue_us", "decode_us", "infer_us", "total_us", "batch_size")
    QUEUE_US_FIELD_NUMBER: _ClassVar[int]
    DECODE_US_FIELD_NUMBER: _ClassVar[int]
    INFER_US_FIELD_NUMBER: _ClassVar[int]
    TOTAL_US_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    queue_us: int
    decode_us: int
    infer_us: int
    total_us: int
    batch_size: int
    def __init__(self, queue_us: _Optional[int] = ..., decode_us: _Optional[int] = ..., infer_us: _Optional[int] = ..., total_us: _Optional[int] = ..., batch_size: _Optional[int] = ...) -> None: ...

class FrameSkipped(_message.Message):
    __slots__ = ("sequence_number", "capture_time_ns", "reason", "detail", "held")
    SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    sequence_number: int
    capture_time_ns: int
    reason: SkipReason
    detail: str
    held: Command
    def __init__(self, sequence_number: _Optional[int] = ..., capture_time_ns: _Optional[int] = ..., reason: _Optional[_Union[SkipReason, str]] = ..., detail: _Optional[str] = ..., held: _Optional[_Union[Command, _Mapping]] = ...) -> None: ...
