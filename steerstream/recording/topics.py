"""The topics of a flight recording, and the type of each one's messages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias

from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.RawImage_pb2 import RawImage
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message

from steerstream.v1 import command_pb2, frame_pb2, recording_pb2, session_pb2

CAMERA = "/camera"
CAMERA_RAW = "/camera/raw"
FRAME = "/frame"
COMMAND = "/command"
SKIPPED = "/skipped"
RESET = "/reset"
NOTICE = "/notice"
SAFE_COMMAND = "/safe_command"
VERDICT = "/verdict"
SESSION = "/session"
END = "/end"
LOSS = "/loss"

TYPES: Mapping[str, type[Message]] = MappingProxyType(
    {
        CAMERA: CompressedImage,
        CAMERA_RAW: RawImage,
        FRAME: frame_pb2.Frame,
        COMMAND: command_pb2.Command,
        SKIPPED: command_pb2.FrameSkipped,
        RESET: session_pb2.Reset,
        NOTICE: session_pb2.Notice,
        SAFE_COMMAND: recording_pb2.RecordedSafeCommand,
        VERDICT: recording_pb2.RecordedVerdict,
        SESSION: recording_pb2.RecordedSession,
        END: recording_pb2.RecordedEnd,
        LOSS: recording_pb2.RecordedLoss,
    }
)

PROFILE = "steerstream"
"""Of the files, in their headers."""

Entry: TypeAlias = tuple[str, Message]
"""A topic and a message for it."""


def schema(kind: type[Message]) -> bytes:
    """Return what a reader must know to decode messages of a type: its file and all it imports."""
    files = FileDescriptorSet()
    # The runtime's descriptors are of a class of its own, with the same methods.
    _collect(kind.DESCRIPTOR.file, files, set())  # type: ignore[arg-type]
    return files.SerializeToString()


def _collect(file: FileDescriptor, files: FileDescriptorSet, seen: set[str]) -> None:
    if file.name in seen:
        return
    seen.add(file.name)
    for imported in file.dependencies:
        _collect(imported, files, seen)
    file.CopyToProto(files.file.add())
