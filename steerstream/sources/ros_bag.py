"""Bags of ROS 1 and of ROS 2."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from steerstream.errors import MediaError
from steerstream.extras import package
from steerstream.sources.message_log import open_log
from steerstream.sources.messages import plain_type
from steerstream.sources.options import ReadOptions
from steerstream.sources.recording import Recording

_ROS_1 = b"#ROSBAG V"
_SQLITE = b"SQLite format 3"
_PURPOSE = "reading ROS bags"

_STEERING_REPORT = """\
std_msgs/Header header
float32 steering_wheel_angle
float32 steering_wheel_angle_cmd
float32 steering_wheel_torque
float32 speed
bool enabled
bool override
bool driver
bool fault_wdc
bool fault_bus1
bool fault_bus2
bool fault_calibration
bool fault_connector
"""
"""Of Dataspeed's vehicles, which the recordings of Udacity's car hold. Bags of ROS 2 before Iron do
not say what their types are, and ROS itself does not have this one."""


def recognises(path: Path) -> bool:
    """Return whether a path is a bag of ROS 1, or a folder or file of ROS 2."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file()
    with path.open("rb") as file:
        begins = file.read(16)
    if path.suffix == ".db3":
        return begins.startswith(_SQLITE)
    return begins.startswith(_ROS_1)


def open_recording(path: Path, options: ReadOptions) -> Recording:
    """Open a bag.

    Args:
        path: of a bag of ROS 1, or of the folder of one of ROS 2.
        options: the camera is a topic, and the steering `topic:field`.

    Raises:
        MediaError: it cannot be read, or has no camera, or several.
        MissingExtra: rosbags is not installed.
    """
    return open_log(RosLog(path.parent if path.suffix == ".db3" else path), options)


class RosLog:
    """The messages of a bag, by the time of their recording.

    Args:
        path: of a bag of ROS 1, or of the folder of one of ROS 2.

    Raises:
        MediaError: it cannot be read.
        MissingExtra: rosbags is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._reading = package("rosbags.highlevel", extra="ros", purpose=_PURPOSE)
        self._typesys = package("rosbags.typesys", extra="ros", purpose=_PURPOSE)
        with self._opened() as reader:
            self.topics = {
                connection.topic: plain_type(connection.msgtype)
                for connection in reader.connections
            }

    def read(self, topics: Collection[str]) -> Iterator[tuple[str, int, Callable[[], Any]]]:
        """Yield messages as topic, time of their recording in nanoseconds, and decoder."""
        with self._opened() as reader:
            wanted = [one for one in reader.connections if one.topic in topics]
            for connection, time_ns, data in reader.messages(connections=wanted):
                yield (
                    connection.topic,
                    time_ns,
                    functools.partial(self._decode, reader, connection, data),
                )

    def _decode(self, reader: Any, connection: Any, data: bytes) -> Any:  # noqa: ANN401
        try:
            return reader.deserialize(data, connection.msgtype)
        except KeyError:
            raise MediaError(
                f"{self.name}: does not say what {connection.msgtype} is, the type of"
                f" {connection.topic}"
            ) from None
        except self._reading.AnyReaderError as error:
            raise MediaError(
                f"{self.name}: a message of {connection.topic} is damaged: {error}"
            ) from None

    def _opened(self) -> Any:  # noqa: ANN401
        types = self._typesys.get_typestore(self._typesys.Stores.ROS2_HUMBLE)
        for package_name in ("dbw_mkz_msgs", "dbw_fca_msgs", "dbw_ford_msgs"):
            name = f"{package_name}/msg/SteeringReport"
            types.register(self._typesys.get_types_from_msg(_STEERING_REPORT, name))
        reader = self._reading.AnyReader([self._path], default_typestore=types)
        return _Opened(reader, self._reading.AnyReaderError)


class _Opened:
    """Opens a reader of rosbags, whose errors become this package's."""

    def __init__(self, reader: Any, error: type[Exception]) -> None:  # noqa: ANN401
        self._reader, self._error = reader, error

    def __enter__(self) -> Any:  # noqa: ANN401
        try:
            self._reader.open()
        except self._error as error:
            path = self._reader.paths[0]
            # A bag of ROS 1 has its index at its end, and so loses it where it is cut off.
            hint = "; `rosbag reindex` mends one that was cut off" if path.suffix == ".bag" else ""
            raise MediaError(f"cannot read the bag {path}: {error}{hint}") from None
        return self._reader

    def __exit__(self, *_: object) -> None:
        self._reader.close()
