"""Writing a recording as an MCAP file that Foxglove's programs open: pictures and reports."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from steerstream.answers import ControlValues
from steerstream.extras import package
from steerstream.sources.pictures import to_jpeg
from steerstream.sources.recording import RecordedFrame

CAMERA, STEERING = "/camera", "/steering_report"

_FIELDS = {
    "steering_wheel_angle": "steering_wheel_angle_rad",
    "speed": "speed_mps",
    "steering_wheel_torque": "steering_torque_nm",
}
"""Of a report, named as those of Dataspeed's vehicles, in the same units."""

_TIME = {
    "type": "object",
    "properties": {"sec": {"type": "integer"}, "nsec": {"type": "integer"}},
}


def _schema(**fields: dict[str, str]) -> bytes:
    properties = {"timestamp": _TIME, **fields}
    return json.dumps({"type": "object", "properties": properties}).encode()


_TEXT, _BYTES, _NUMBER = (
    {"type": "string"},
    {"type": "string", "contentEncoding": "base64"},
    {"type": "number"},
)
_PICTURE_SCHEMA = _schema(frame_id=_TEXT, data=_BYTES, format=_TEXT)
_REPORT_SCHEMA = _schema(**dict.fromkeys(_FIELDS, _NUMBER))


class McapDrive:
    """An MCAP file that takes frames; a context manager.

    Args:
        path: of the file.

    Raises:
        MissingExtra: mcap is not installed.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        writer = package("mcap.writer", extra="mcap", purpose="writing MCAP files")
        self._file = path.open("wb")
        self._writer = writer.Writer(self._file)
        self._writer.start(library="steerstream convert")
        self._camera = self._channel(CAMERA, "foxglove.CompressedImage", _PICTURE_SCHEMA)
        self._steering = self._channel(STEERING, "steerstream/SteeringReport", _REPORT_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._file:
            self._writer.finish()

    def add(self, frame: RecordedFrame) -> None:
        """Write a frame: its picture, and a report where its steering is known.

        Raises:
            MediaError: its picture cannot be read.
            OSError: the file cannot be written.
        """
        data = base64.b64encode(to_jpeg(frame.load())).decode()
        content = {"frame_id": "camera", "data": data, "format": "jpeg"}
        self._write(self._camera, frame.capture_time_ns, content)
        report = _report(frame.truth)
        if report:
            self._write(self._steering, frame.capture_time_ns, report)

    def _channel(self, topic: str, name: str, schema: bytes) -> int:
        number = self._writer.register_schema(name, "jsonschema", schema)
        return int(self._writer.register_channel(topic, "json", number))

    def _write(self, channel: int, time_ns: int, content: dict[str, Any]) -> None:
        stamp = {"sec": time_ns // 10**9, "nsec": time_ns % 10**9}
        data = json.dumps({"timestamp": stamp, **content}).encode()
        self._writer.add_message(channel, time_ns, data, time_ns)


def _report(truth: ControlValues | None) -> dict[str, float]:
    """Return what is known; nothing where the steering is not, which every report tells."""
    if truth is None or truth.steering_wheel_angle_rad is None:
        return {}
    values = {name: getattr(truth, field) for name, field in _FIELDS.items()}
    return {name: float(value) for name, value in values.items() if value is not None}
