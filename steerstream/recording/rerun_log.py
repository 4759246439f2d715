"""Shows a recording in Rerun, while it is made or afterwards."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from steerstream.answers import SkipReason
from steerstream.errors import MediaError
from steerstream.extras import library_needs
from steerstream.recording import topics
from steerstream.recording.reader import Recording
from steerstream.recording.topics import Entry
from steerstream.v1 import command_pb2, recording_pb2

with library_needs("showing a drive in Rerun", "rerun"):
    import rerun as rr
    import rerun.blueprint as rrb

SUFFIX = ".rrd"

VIEWER = "viewer"
"""In the place of an address: a viewer that is begun on this machine."""

_HOST, _PORT = "127.0.0.1", 9876
_BEGUN_S, _LOOK_S = 10.0, 0.05
"""How long a viewer may take until it listens."""
_CLOCK = "clock"
_HEADS = {
    "steering_wheel_angle_rad": "steering",
    "speed_mps": "speed",
    "steering_torque_nm": "torque",
}
_BAD_NEWS = frozenset({topics.SKIPPED, topics.VERDICT, topics.LOSS})
_ACTIONS = {
    recording_pb2.GUARD_ACTION_FOLLOW: "FOLLOW",
    recording_pb2.GUARD_ACTION_HOLD: "HOLD",
    recording_pb2.GUARD_ACTION_RELEASE: "RELEASE",
}


def _session_news(message: Any) -> str:  # noqa: ANN401
    session, model = message.opened.session_id, message.opened.model
    return f"{session}: {model.name}, {model.precision} on {model.provider}"


_NEWS: dict[str, Callable[[Any], str]] = {
    topics.SKIPPED: lambda message: f"{SkipReason(message.reason).name}: {message.detail}",
    topics.VERDICT: lambda message: ", ".join(message.reasons),
    topics.NOTICE: lambda message: "" if message.HasField("ticket") else str(message).strip(),
    topics.RESET: lambda _: "the recurrent state is set back",
    topics.SESSION: _session_news,
    topics.END: lambda message: message.reason or "the vehicle ended it",
    topics.LOSS: lambda message: f"{message.messages} messages are missing",
}
"""What a message says to people; empty where it is no news."""


def viewer_program() -> str | None:
    """Return the viewer beside this Python; None where it has none and `PATH` may.

    An environment that nobody activated is not in `PATH`.
    """
    return shutil.which("rerun", path=str(Path(sys.executable).parent))


def begin_viewer() -> str:
    """Begin a viewer that this machine alone reaches, or use the one that is there.

    Rerun's own `spawn` has it listen at every address, where anybody may show it anything.

    Returns:
        Its address.

    Raises:
        OSError: there is no viewer, or it does not begin.
    """
    address = f"rerun+http://{_HOST}:{_PORT}/proxy"
    if _is_there():
        return address
    command = [viewer_program() or "rerun", "--bind", _HOST, "--port", str(_PORT)]
    command.append("--expect-data-soon")
    # It outlives this program, and Ctrl-C there.
    viewer = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
    until_s = time.monotonic() + _BEGUN_S
    while not _is_there():
        if viewer.poll() is not None:
            raise OSError(f"the viewer ended with exit code {viewer.returncode}")
        if time.monotonic() > until_s:
            viewer.kill()
            raise OSError(f"the viewer does not listen after {_BEGUN_S:g} s")
        time.sleep(_LOOK_S)
    return address


def _is_there() -> bool:
    with contextlib.suppress(OSError), socket.create_connection((_HOST, _PORT), timeout=1.0):
        return True
    return False


class RerunLog:
    """Takes the messages of a recording, and shows them in Rerun.

    Args:
        to: a file whose name ends in `.rrd`, a viewer's address such as
            `rerun+http://127.0.0.1:9876/proxy`, or `VIEWER`.

    Raises:
        MediaError: the file cannot be written, or the viewer is not reached.
        MissingExtra: Rerun is not installed.
    """

    def __init__(self, to: str) -> None:
        self._stream = rr.RecordingStream("steerstream")
        self._action = 0
        try:
            if to.endswith(SUFFIX):
                Path(to).parent.mkdir(parents=True, exist_ok=True)
                self._stream.save(to)
            else:
                self._stream.connect_grpc(begin_viewer() if to == VIEWER else to)
        except (OSError, RuntimeError, ValueError) as error:
            raise MediaError(f"cannot show a drive at {to}: {error}") from error
        self._stream.send_blueprint(blueprint())

    def write(self, entries: Iterable[Entry], time_ns: int) -> None:
        """Show messages of one moment.

        Args:
            entries: topics and messages.
            time_ns: the moment, in Unix nanoseconds.
        """
        self._stream.set_time(_CLOCK, timestamp=np.datetime64(time_ns, "ns"))
        for topic, message in entries:
            self._show(topic, message)

    def close(self) -> None:
        """Hand over what waits, and let go of the file or the viewer."""
        self._stream.flush()
        self._stream.disconnect()

    def _show(self, topic: str, message: Any) -> None:  # noqa: ANN401
        match topic:
            case topics.CAMERA:
                jpeg = rr.EncodedImage(contents=message.data, media_type="image/jpeg")
                self._stream.log("camera", jpeg)
            case topics.CAMERA_RAW:
                self._stream.log("camera", _raw(message))
            case topics.COMMAND:
                self._show_command(message)
            case topics.VERDICT:
                self._number("latency/round_trip_ms", message.round_trip_ms)
            case topics.SAFE_COMMAND:
                self._show_safe_command(message)
        if topic in _NEWS and (text := _NEWS[topic](message)):
            level = rr.TextLogLevel.WARN if topic in _BAD_NEWS else rr.TextLogLevel.INFO
            self._tell(topic, text, level)

    def _show_command(self, command: command_pb2.Command) -> None:
        for field, name in _HEADS.items():
            for kind, values in (("raw", command.raw), ("limited", command.limited)):
                if values.HasField(field):  # type: ignore[arg-type]
                    self._number(f"{name}/{kind}", getattr(values, field))
        self._number("latency/server_ms", command.timings.total_us / 1e3)

    def _show_safe_command(self, told: recording_pb2.RecordedSafeCommand) -> None:
        for field, name in _HEADS.items():
            if told.HasField(field):  # type: ignore[arg-type]
                self._number(f"{name}/followed", getattr(told, field))
        if told.action != self._action:
            self._action = told.action
            reasons = ", ".join(told.reasons)
            is_good = told.action == recording_pb2.GUARD_ACTION_FOLLOW
            level = rr.TextLogLevel.INFO if is_good else rr.TextLogLevel.WARN
            action = _ACTIONS.get(told.action, "")
            self._tell(topics.SAFE_COMMAND, f"{action} {reasons}".strip(), level)

    def _number(self, path: str, value: float) -> None:
        self._stream.log(path, rr.Scalars(value))

    def _tell(self, topic: str, text: str, level: rr.TextLogLevel) -> None:
        self._stream.log(f"news{topic}", rr.TextLog(text, level=level))


def _raw(message: Any) -> rr.Image:  # noqa: ANN401
    if message.encoding == "nv12":
        return rr.Image(
            bytes=message.data,
            width=message.width,
            height=message.height,
            pixel_format=rr.PixelFormat.NV12,
        )
    pixels = np.frombuffer(message.data, np.uint8)
    return rr.Image(pixels.reshape(message.height, message.width, 3))


def blueprint() -> rrb.Blueprint:
    """Return how Rerun shows a drive: the picture, values over time, latency, and news."""
    return rrb.Blueprint(
        rrb.Horizontal(
            rrb.Vertical(
                rrb.Spatial2DView(origin="camera", name="camera"),
                rrb.TextLogView(origin="news", name="news"),
            ),
            rrb.Vertical(
                rrb.TimeSeriesView(origin="steering", name="steering wheel angle, rad"),
                rrb.TimeSeriesView(origin="speed", name="speed, m/s"),
                rrb.TimeSeriesView(origin="torque", name="steering torque, Nm"),
                rrb.TimeSeriesView(origin="latency", name="latency, ms"),
            ),
        )
    )


def write_rrd(recording: Recording, path: Path) -> None:
    """Write a recording as a file of Rerun.

    Args:
        recording: the recording.
        path: the file; its name ends in `.rrd`.

    Raises:
        MediaError: the recording cannot be read, or the file cannot be written.
    """
    log = RerunLog(str(path))
    try:
        for topic, message, time_ns in recording.messages():
            log.write([(topic, message)], time_ns)
    finally:
        log.close()
