"""Serves the contract by the policy side of `carla-driver-interface`.

It tells the simulator which revision of the contract is spoken, without which the axes of cameras
would silently be others, and puts plans from the rig into the world.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import carla_driver_interface.server
from carla_driver_interface.driver import BaseDriver, DriveContext, DriveResult, SessionState
from carla_driver_interface.geometry import Pose, Trajectory

from steerstream.bridge.alpasim.planner import Optics

if TYPE_CHECKING:
    from carla_driver_interface.protocol import AvailableCamera

    from steerstream.bridge.alpasim.rollouts import Rollouts


class _Driver(BaseDriver):  # type: ignore[misc]
    name = "steerstream"

    def __init__(self, rollouts: Rollouts) -> None:
        self._rollouts = rollouts

    def on_session_start(self, session: SessionState) -> None:
        cameras = {name: _optics(camera) for name, camera in session.cameras.items()}
        self._rollouts.begin(
            session.uuid, {name: optics for name, optics in cameras.items() if optics}
        )

    def on_session_close(self, session: SessionState) -> None:
        self._rollouts.end(session.uuid)

    def drive(self, ctx: DriveContext) -> DriveResult:
        planner, camera = self._rollouts.planner(ctx.session.uuid)
        frame = ctx.session.latest_frame(camera)
        if frame is None:
            # The simulator holds the vehicle where a plan has one pose alone.
            return DriveResult(Trajectory.empty())
        waypoints = planner.plan(
            frame.image_bytes,
            frame.timestamp_us,
            ctx.session.speed_mps(),
            now_us=ctx.time_now_us,
            query_us=ctx.time_query_us,
        )
        plan = Trajectory.empty()
        for time_us, x_m, y_m, yaw_rad in waypoints:
            plan.append(time_us, Pose.from_xyz_yaw(x_m, y_m, 0.0, yaw_rad))
        return DriveResult(plan)


def serving(rollouts: Rollouts, host: str, port: int, runtime: str) -> AbstractContextManager[int]:
    """Serve the contract for the time of a block, which gets the port.

    Args:
        rollouts: drives.
        host: where to listen.
        port: 0 for any free one.
        runtime: `alpasim` or `carla`.

    Raises:
        RuntimeError: the address cannot be had.
    """
    served: AbstractContextManager[int] = carla_driver_interface.server.serving(
        _Driver(rollouts), port=port, host=host, mode=runtime
    )
    return served


def _optics(camera: AvailableCamera) -> Optics | None:
    """Read a pinhole camera; None for a lens of another kind, which no network that ships takes."""
    intrinsics = camera.intrinsics
    if intrinsics.WhichOneof("camera_param") != "opencv_pinhole_param":
        return None
    lens, place = intrinsics.opencv_pinhole_param, Pose.from_proto(camera.rig_to_camera)
    return Optics(
        width_px=intrinsics.resolution_w,
        height_px=intrinsics.resolution_h,
        focal_x_px=lens.focal_length_x,
        focal_y_px=lens.focal_length_y,
        principal_x_px=lens.principal_point_x,
        principal_y_px=lens.principal_point_y,
        height_m=float(place.position[2]),
        forward_z=float(place.rotation_matrix[2, 2]),
    )
