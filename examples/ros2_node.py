# ruff: noqa: INP001
"""A ROS 2 node: a camera's pictures in, Ackermann commands out; see docs/simulators/ros2.md.

`python examples/ros2_node.py --ros-args -p target:=HOST:50051 -r image:=/front/image/compressed`
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

import rclpy
from ackermann_msgs.msg import AckermannDrive, AckermannDriveStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

import steerstream.blocking
from steerstream import Action, SessionEnded, SteerstreamError, ViewUse

# A picture that waits is old: the newest replaces it, and none is sent twice over a bad network.
NEWEST = QoSProfile(
    reliability=ReliabilityPolicy.BEST_EFFORT, history=HistoryPolicy.KEEP_LAST, depth=1
)
# A command must arrive, and only the newest counts.
COMMANDS = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=1
)


class DriveNode(Node):
    """Sends the newest picture, and publishes what the guard lets through.

    While the guard says RELEASE nothing is published. What listens must stop, or hand over to the
    driver, when commands cease: a mux with a timeout does.
    """

    def __init__(self) -> None:
        super().__init__("steerstream")
        parameter = {
            name: self.declare_parameter(name, default).value
            for name, default in {
                "target": "localhost:50051",
                "vehicle_id": "ros2",
                "model": "",
                "budget_ms": 50.0,
                "command_rate_hz": 50.0,
                "steering_ratio": 14.8,
                "speed_without_head_mps": 0.0,
            }.items()
        }
        self._ratio = parameter["steering_ratio"]
        self._speed_without_head_mps = parameter["speed_without_head_mps"]
        # Simulated time neither runs as this machine's clock does nor at a steady rate.
        self._is_simulated = self.get_parameter("use_sim_time").value
        self._client = steerstream.blocking.connect(parameter["target"].split(","))
        self._session = self._client.drive_session(
            vehicle_id=parameter["vehicle_id"],
            model=parameter["model"] or None,
            budget_ms=parameter["budget_ms"],
            live=not self._is_simulated,
        )
        self._own_speed_mps: float | None = None
        self._newest: CompressedImage | None = None
        self._wakes = threading.Condition()
        self._is_closed = False
        self._action = Action.RELEASE
        self._sender = threading.Thread(target=self._send, name="steerstream sender")
        self._sender.start()
        self._publisher = self.create_publisher(AckermannDriveStamped, "ackermann_cmd", COMMANDS)
        self.create_subscription(CompressedImage, "image", self._on_image, NEWEST)
        self.create_subscription(Odometry, "odom", self._on_odometry, NEWEST)
        self.create_timer(1.0 / parameter["command_rate_hz"], self._publish)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._wakes:
            self._is_closed = True
            self._wakes.notify()
        self._client.close()
        self._sender.join()
        self.destroy_node()

    def _on_odometry(self, message: Odometry) -> None:
        self._own_speed_mps = float(message.twist.twist.linear.x)

    def _on_image(self, message: CompressedImage) -> None:
        if "jpeg" not in message.format and "jpg" not in message.format:
            self.get_logger().error(
                f"pictures are {message.format!r}; set the camera's image_transport to jpeg",
                throttle_duration_sec=5.0,
            )
            return
        with self._wakes:
            self._newest = message
            self._wakes.notify()

    def _send(self) -> None:
        """Send in a thread, so that a slow network holds up neither commands nor odometry."""
        while True:
            with self._wakes:
                self._wakes.wait_for(lambda: self._newest is not None or self._is_closed)
                message, self._newest = self._newest, None
                if self._is_closed or message is None:
                    return
            try:
                self._session.send_frame(
                    bytes(message.data),
                    capture_time_ns=self._capture_time_ns(message.header),
                    vehicle_speed_mps=self._own_speed_mps,
                    view=ViewUse.ALWAYS,
                )
            except SessionEnded as error:
                if not self._is_closed:
                    self.get_logger().fatal(f"the session is over: {error}")
                return
            except SteerstreamError as error:
                self.get_logger().error(
                    f"a picture was not sent: {error}", throttle_duration_sec=5.0
                )

    def _capture_time_ns(self, header: Header) -> int:
        """Return the header's stamp by a clock that nobody sets, as capture times must be."""
        stamp_ns = header.stamp.sec * 1_000_000_000 + header.stamp.nanosec
        if self._is_simulated:
            return stamp_ns
        return time.monotonic_ns() - (self.get_clock().now().nanoseconds - stamp_ns)

    def _publish(self) -> None:
        if not self._sender.is_alive():
            # What started the node may start it again; a node without a session is of no use.
            raise SystemExit(1)
        safe = self._session.safe_command()
        if safe.action is not self._action:
            self._action = safe.action
            self.get_logger().warning(" ".join([safe.action.name, *map(str, safe.reasons)]))
        if safe.steering_wheel_angle_rad is None:
            return
        speed_mps = self._speed_without_head_mps if safe.speed_mps is None else safe.speed_mps
        drive = AckermannDrive(
            # Both count left as positive; ROS means the angle of the wheels on the road.
            steering_angle=float(safe.steering_wheel_angle_rad / self._ratio),
            steering_angle_velocity=0.0,
            speed=float(speed_mps),
            acceleration=0.0,
            jerk=0.0,
        )
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id="base_link")
        self._publisher.publish(AckermannDriveStamped(header=header, drive=drive))


def main() -> None:
    """Run the node until it is shut down."""
    rclpy.init()
    try:
        with DriveNode() as node:
            rclpy.spin(node)
    except KeyboardInterrupt:
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
