# ruff: noqa: INP001
"""Drive a car in CARLA: `python examples/carla_client.py HOST:50051`; see docs/simulators/carla.md.

Lock-step: the simulator stands still until the answer to its last picture has come.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import queue
from collections.abc import Iterator

import carla
import numpy as np
from numpy.typing import NDArray

import steerstream.blocking
from steerstream import Camera, FramePolicy, SafeCommand

RATE_HZ = 20.0
CAMERA = Camera(640, 480, horizontal_fov_deg=18.0, mount_height_m=1.3, horizon_fraction=0.45)
CAMERA_FORWARD_M = 1.0
STEERING_RATIO = 14.8
PICTURE_TIMEOUT_S = 10.0


def pixels(image: carla.Image) -> NDArray[np.uint8]:
    """Return a picture of CARLA, which is BGRA, in RGB."""
    bgra = np.frombuffer(image.raw_data, np.uint8).reshape(image.height, image.width, 4)
    return np.ascontiguousarray(bgra[:, :, 2::-1])


def pitch_deg(camera: Camera) -> float:
    """Return how far a camera is turned up, so that its horizon lies where it should."""
    half_width = 0.5 * camera.width_px
    focal_px = half_width / math.tan(math.radians(0.5 * camera.horizontal_fov_deg))
    below_middle_px = (camera.horizon_fraction - 0.5) * camera.height_px
    return math.degrees(math.atan2(below_middle_px, focal_px))


def control(safe: SafeCommand) -> carla.VehicleAckermannControl | carla.VehicleControl:
    """Return what the car does: the guard's values, and a stop where it says RELEASE.

    Nobody sits in the simulator's car who could take over.
    """
    if safe.steering_wheel_angle_rad is None:
        return carla.VehicleControl(throttle=0.0, steer=0.0, brake=1.0)
    # CARLA means the angle of the wheels on the road, and its right is positive.
    return carla.VehicleAckermannControl(
        steer=-safe.steering_wheel_angle_rad / STEERING_RATIO, speed=safe.speed_mps or 0.0
    )


def apply(vehicle: carla.Vehicle, safe: SafeCommand) -> None:
    """Let the car follow the guard."""
    wanted = control(safe)
    if isinstance(wanted, carla.VehicleControl):
        vehicle.apply_control(wanted)
    else:
        vehicle.apply_ackermann_control(wanted)


def drive(
    world: carla.World,
    vehicle: carla.Vehicle,
    pictures: queue.Queue[carla.Image],
    session: steerstream.blocking.Session,
    steps: int,
) -> None:
    """Drive a number of steps in lock-step.

    Args:
        world: in synchronous mode.
        vehicle: the car.
        pictures: filled by its camera.
        session: with `FramePolicy.EVERY`, and not live, because the simulator has its own time.
        steps: pictures to drive by.
    """
    for _ in range(steps):
        frame = world.tick()
        # The camera may be a picture behind, or have one of before it was asked to keep step.
        while (image := pictures.get(timeout=PICTURE_TIMEOUT_S)).frame < frame:
            pass
        session.request(
            pixels(image),
            capture_time_ns=round(image.timestamp * 1e9),
            vehicle_speed_mps=vehicle.get_velocity().length(),
        )
        apply(vehicle, session.safe_command())


@contextlib.contextmanager
def in_lock_step(world: carla.World) -> Iterator[None]:
    """Keep the world in synchronous mode; left in it, it would stand still for everybody else."""
    before = world.get_settings()
    settings = world.get_settings()
    settings.synchronous_mode = True
    settings.fixed_delta_seconds = 1.0 / RATE_HZ
    world.apply_settings(settings)
    try:
        yield
    finally:
        world.apply_settings(before)


@contextlib.contextmanager
def spawned(world: carla.World, pictures: queue.Queue[carla.Image]) -> Iterator[carla.Vehicle]:
    """Put a car with a camera on the map's first free spawn point, for the time of a block.

    Args:
        world: where to.
        pictures: where its camera puts what it takes.
    """
    library = world.get_blueprint_library()
    places = world.get_map().get_spawn_points()
    model = library.find("vehicle.lincoln.mkz_2020")
    tried = (world.try_spawn_actor(model, place) for place in places)
    vehicle = next(actor for actor in tried if actor is not None)
    with contextlib.ExitStack() as stack:
        stack.callback(vehicle.destroy)
        lens = library.find("sensor.camera.rgb")
        lens.set_attribute("image_size_x", str(CAMERA.width_px))
        lens.set_attribute("image_size_y", str(CAMERA.height_px))
        lens.set_attribute("fov", str(CAMERA.horizontal_fov_deg))
        at = carla.Transform(
            carla.Location(x=CAMERA_FORWARD_M, z=CAMERA.mount_height_m),
            carla.Rotation(pitch=pitch_deg(CAMERA)),
        )
        camera = world.spawn_actor(lens, at, attach_to=vehicle)
        stack.callback(camera.destroy)
        camera.listen(pictures.put)
        stack.callback(camera.stop)
        yield vehicle


def main() -> None:
    """Drive a car in a running simulator."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("target", help="HOST:PORT of the steerstream server")
    parser.add_argument("--carla", default="localhost", help="host of the simulator")
    parser.add_argument("--port", type=int, default=2000, help="its port")
    parser.add_argument("--steps", type=int, default=1200, help="pictures to drive by")
    options = parser.parse_args()
    simulator = carla.Client(options.carla, options.port)
    simulator.set_timeout(PICTURE_TIMEOUT_S)
    world = simulator.get_world()
    pictures: queue.Queue[carla.Image] = queue.Queue()
    with (
        steerstream.blocking.connect(options.target) as client,
        client.open_session(
            vehicle_id="carla",
            frame_policy=FramePolicy.EVERY,
            frame_rate_hz=RATE_HZ,
            camera=CAMERA,
            live=False,
        ) as session,
        in_lock_step(world),
        spawned(world, pictures) as vehicle,
    ):
        drive(world, vehicle, pictures, session, options.steps)


if __name__ == "__main__":
    main()
