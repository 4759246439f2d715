"""As much of ROS 2 as a node uses: real messages by rosbags, and a graph of one node."""

from __future__ import annotations

import dataclasses
import enum
import sys
import types
from typing import Any, ClassVar

import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

ACKERMANN_DRIVE = """
float32 steering_angle
float32 steering_angle_velocity
float32 speed
float32 acceleration
float32 jerk
"""
ACKERMANN_DRIVE_STAMPED = """
std_msgs/Header header
AckermannDrive drive
"""

TYPES = get_typestore(Stores.ROS2_JAZZY)
for _name, _text in (
    ("AckermannDrive", ACKERMANN_DRIVE),
    ("AckermannDriveStamped", ACKERMANN_DRIVE_STAMPED),
):
    TYPES.register(get_types_from_msg(_text, f"ackermann_msgs/msg/{_name}"))


def message(name, **fields):
    """A message as it comes out of a recording: written in CDR and read again."""
    return received(TYPES.types[name](**fields))


def received(sent):
    written = TYPES.serialize_cdr(sent, sent.__msgtype__)
    return TYPES.deserialize_cdr(written, sent.__msgtype__)


def stamp(time_ns):
    return TYPES.types["builtin_interfaces/msg/Time"](
        sec=time_ns // 1_000_000_000, nanosec=time_ns % 1_000_000_000
    )


def image(data, *, time_ns, format="jpeg"):  # noqa: A002 - the message's own name
    header = TYPES.types["std_msgs/msg/Header"](stamp=stamp(time_ns), frame_id="camera")
    pixels = np.frombuffer(data, np.uint8)
    return message("sensor_msgs/msg/CompressedImage", header=header, format=format, data=pixels)


class ReliabilityPolicy(enum.Enum):
    RELIABLE = 1
    BEST_EFFORT = 2


class HistoryPolicy(enum.Enum):
    KEEP_LAST = 1


@dataclasses.dataclass
class QoSProfile:
    reliability: ReliabilityPolicy
    history: HistoryPolicy
    depth: int


class Clock:
    """ROS time, which the test sets."""

    def __init__(self):
        self.nanoseconds = 0

    def now(self):
        return self

    def to_msg(self):
        return stamp(self.nanoseconds)


class Logger:
    def __init__(self):
        self.lines = []

    def _say(self, text, *, throttle_duration_sec=0.0):
        self.lines.append(text)

    warning = error = fatal = _say


class Publisher:
    """Writes each message in CDR, as ROS does, and keeps what comes out."""

    def __init__(self, kind, topic, qos):
        self.kind, self.topic, self.qos = kind, topic, qos
        self.published = []

    def publish(self, sent):
        assert type(sent) is self.kind
        self.published.append(received(sent))


class Node:
    """A node whose parameters the test overrides."""

    overrides: ClassVar[dict] = {}
    use_sim_time = False

    def __init__(self, name):
        self.name = name
        self.subscriptions, self.publishers, self.timers = {}, {}, []
        self.clock, self.logger = Clock(), Logger()
        self.is_destroyed = False

    def declare_parameter(self, name, default):
        value = self.overrides.get(name, default)
        assert type(value) is type(default)
        return types.SimpleNamespace(value=value)

    def get_parameter(self, name):
        return types.SimpleNamespace(value=getattr(self, name))

    def create_subscription(self, kind, topic, callback, qos):
        self.subscriptions[topic] = (kind, callback, qos)

    def create_publisher(self, kind, topic, qos):
        self.publishers[topic] = Publisher(kind, topic, qos)
        return self.publishers[topic]

    def create_timer(self, period_s, callback):
        self.timers.append((period_s, callback))

    def get_clock(self):
        return self.clock

    def get_logger(self):
        return self.logger

    def destroy_node(self):
        self.is_destroyed = True


def install(monkeypatch):
    """Put these in the places of ROS 2's packages."""
    modules = {"rclpy": types.ModuleType("rclpy")}
    contents: dict[str, dict[str, Any]] = {
        "rclpy.node": {"Node": Node},
        "rclpy.qos": {
            "HistoryPolicy": HistoryPolicy,
            "QoSProfile": QoSProfile,
            "ReliabilityPolicy": ReliabilityPolicy,
        },
        **{
            f"{package}.msg": {
                kind.rpartition("/")[2]: found
                for kind, found in TYPES.types.items()
                if kind.startswith(f"{package}/msg/")
            }
            for package in ("ackermann_msgs", "nav_msgs", "sensor_msgs", "std_msgs")
        },
    }
    for name, holds in contents.items():
        modules[name] = types.ModuleType(name)
        vars(modules[name]).update(holds)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
