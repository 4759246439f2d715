from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Frame(_message.Message):
    __slots__ = ("sequence_number", "capture_time_ns", "jpeg", "rgb8", "vehicle_speed_mps")
    SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    JPEG_FIELD_NUMBER: _ClassVar[int]
    RGB8_FIELD_NUMBER: _ClassVar[int]
    VEHICLE_SPEED_MPS_FIELD_NUMBER: _ClassVar[int]
    sequence_number: int
    capture_time_ns: int
    jpeg: bytes
    rgb8: Rgb8Image
    vehicle_speed_mps: float
    def __init__(self, sequence_number: _Optional[int] = ..., capture_time_ns: _Optional[int] = ..., jpeg: _Optional[bytes] = ..., rgb8: _Optional[_Union[Rgb8Image, _Mapping]] = ..., vehicle_speed_mps: _Optional[float] = ...) -> None: ...

class Rgb8Image(_message.Message):
    __slots__ = ("width_px", "height_px", "pixels")
    WIDTH_PX_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_PX_FIELD_NUMBER: _ClassVar[int]
    PIXELS_FIELD_NUMBER: _ClassVar[int]
    width_px: int
    height_px: int
    pixels: bytes
    def __init__(self, width_px: _Optional[int] = ..., height_px: _Optional[int] = ..., pixels: _Optional[bytes] = ...) -> None: ...
