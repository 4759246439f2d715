from steerstream.v1 import command_pb2 as _command_pb2
from steerstream.v1 import frame_pb2 as _frame_pb2
from steerstream.v1 import model_pb2 as _model_pb2
from steerstream.v1 import session_pb2 as _session_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DriveRequest(_message.Message):
    __slots__ = ("open", "frame", "reset")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    open: _session_pb2.OpenSession
    frame: _frame_pb2.Frame
    reset: _session_pb2.Reset
    def __init__(self, open: _Optional[_Union[_session_pb2.OpenSession, _Mapping]] = ..., frame: _Optional[_Union[_frame_pb2.Frame, _Mapping]] = ..., reset: _Optional[_Union[_session_pb2.Reset, _Mapping]] = ...) -> None: ...

class DriveResponse(_message.Message):
    __slots__ = ("opened", "command", "skipped", "notice")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    opened: _session_pb2.SessionOpened
    command: _command_pb2.Command
    skipped: _command_pb2.FrameSkipped
    notice: _session_pb2.Notice
    def __init__(self, opened: _Optional[_Union[_session_pb2.SessionOpened, _Mapping]] = ..., command: _Optional[_Union[_command_pb2.Command, _Mapping]] = ..., skipped: _Optional[_Union[_command_pb2.FrameSkipped, _Mapping]] = ..., notice: _Optional[_Union[_session_pb2.Notice, _Mapping]] = ...) -> None: ...

class DescribeModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeModelsResponse(_message.Message):
    __slots__ = ("models", "default_model", "limits")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_MODEL_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[_model_pb2.ModelContract]
    default_model: str
    limits: _model_pb2.ServerLimits
    def __init__(self, models: _Optional[_Iterable[_Union[_model_pb2.ModelContract, _Mapping]]] = ..., default_model: _Optional[str] = ..., limits: _Optional[_Union[_model_pb2.ServerLimits, _Mapping]] = ...) -> None: ...
