"""The client for CARLA with the real types of its wheel, and a world that stands in for it."""

from __future__ import annotations

import importlib.util
import math
import queue
from pathlib import Path

import numpy as np
import pytest

import steerstream.blocking
from steerstream import Action, FramePolicy, SafeCommand
from steerstream.testing import FakeServer, Reply, Skip

carla = pytest.importorskip("carla", reason="CARLA's wheel exists for Python 3.10 to 3.12 on Linux")

PATH = Path(__file__).resolve().parents[2] / "examples" / "carla_client.py"


class StandIn:
    """Takes the place of an object that only a simulator makes; it has what the real class has."""

    def __init__(self, real, **holds):
        for name in holds:
            assert hasattr(real, name), f"{real.__name__} has no {name}"
        vars(self).update(holds)


@pytest.fixture
def example():
    spec = importlib.util.spec_from_file_location("carla_client", PATH)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def picture(frame, timestamp_s=1.0, pixels=None):
    bgra = np.zeros((48, 64, 4), np.uint8) if pixels is None else pixels
    height, width, _ = bgra.shape
    return StandIn(
        carla.Image, frame=frame, timestamp=timestamp_s, width=width, height=height,
        raw_data=memoryview(bgra.tobytes()),
    )  # fmt: skip


def copied(settings):
    """Settings as the simulator hands them out: changing them changes nothing there."""
    copy = carla.WorldSettings()
    copy.synchronous_mode = settings.synchronous_mode
    copy.fixed_delta_seconds = settings.fixed_delta_seconds
    return copy


class Simulator:
    """A world of one car, whose camera is a frame late at first."""

    def __init__(self, pictures):
        self.frame, self.pictures = 100, pictures
        self.controls, self.events, self.settings = [], [], carla.WorldSettings()
        self.vehicle = StandIn(
            carla.Vehicle,
            apply_control=self.controls.append,
            apply_ackermann_control=self.controls.append,
            get_velocity=lambda: carla.Vector3D(3.0, 4.0, 0.0),
            destroy=lambda: self.events.append("vehicle destroyed"),
        )
        self.camera = StandIn(
            carla.Sensor,
            listen=lambda callback: callback(picture(self.frame)),
            stop=lambda: self.events.append("camera stopped"),
            destroy=lambda: self.events.append("camera destroyed"),
        )
        self.lens: dict[str, str] = {}
        lens = StandIn(carla.ActorBlueprint, set_attribute=self.lens.__setitem__)
        library = StandIn(
            carla.BlueprintLibrary,
            find=lambda name: lens if name == "sensor.camera.rgb" else name,
        )
        places = [carla.Transform(), carla.Transform(carla.Location(x=5.0))]
        self.world = StandIn(
            carla.World,
            tick=self.tick,
            get_settings=lambda: copied(self.settings),
            apply_settings=self.apply_settings,
            get_blueprint_library=lambda: library,
            get_map=lambda: StandIn(carla.Map, get_spawn_points=lambda: places),
            try_spawn_actor=lambda model, place: self.vehicle if place.location.x else None,
            spawn_actor=self.attach,
        )

    def tick(self):
        self.frame += 1
        for frame in (self.frame - 1, self.frame):
            self.pictures.put(picture(frame, timestamp_s=frame / 20))
        return self.frame

    def attach(self, _lens, at, attach_to):
        assert attach_to is self.vehicle
        self.mount = at
        return self.camera

    def apply_settings(self, settings):
        self.settings = copied(settings)
        self.events.append("in lock-step" if settings.synchronous_mode else "free")


def follow(angle_rad, speed_mps=None):
    return SafeCommand(Action.FOLLOW, angle_rad, speed_mps, None, 0.0, ())


def test_left_is_positive_at_the_wheel_and_negative_in_carla(example):
    wanted = example.control(follow(1.48, 9.0))
    assert isinstance(wanted, carla.VehicleAckermannControl)
    assert wanted.steer == pytest.approx(-0.1)
    assert wanted.speed == 9.0


def test_a_car_that_is_released_brakes(example):
    wanted = example.control(SafeCommand(Action.RELEASE, None, None, None, math.inf, ()))
    assert isinstance(wanted, carla.VehicleControl)
    assert (wanted.throttle, wanted.steer, wanted.brake) == (0.0, 0.0, 1.0)


def test_a_picture_of_carla_is_turned_into_rgb(example):
    bgra = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    found = example.pixels(picture(1, pixels=bgra))
    assert found.shape == (2, 3, 3)
    assert found[1, 2].tolist() == [22, 21, 20]


def test_the_camera_looks_down_as_far_as_its_horizon_asks(example):
    camera = steerstream.Camera(640, 480, 18.0, horizon_fraction=0.45)
    assert example.pitch_deg(camera) == pytest.approx(-0.68, abs=0.01)


def test_a_drive_in_lock_step(example):
    pictures: queue.Queue = queue.Queue()
    simulator = Simulator(pictures)
    server = FakeServer([Skip(), Reply(0.148, 5.0), Reply(0.296, 6.0)])
    with (
        steerstream.blocking.connect("fake", transport=server.transport()) as client,
        client.open_session(
            vehicle_id="carla", frame_policy=FramePolicy.EVERY, live=False
        ) as session,
        example.in_lock_step(simulator.world),
        example.spawned(simulator.world, pictures) as vehicle,
    ):
        example.drive(simulator.world, vehicle, pictures, session, 3)
    first, *others = simulator.controls
    assert isinstance(first, carla.VehicleControl)
    assert [round(control.steer, 4) for control in others] == [-0.01, -0.02]
    frames = [request.frame for request in server.received if request.HasField("frame")]
    assert [frame.capture_time_ns for frame in frames] == [
        5_050_000_000,
        5_100_000_000,
        5_150_000_000,
    ]
    assert [frame.vehicle_speed_mps for frame in frames] == [5.0] * 3
    assert simulator.lens == {"image_size_x": "640", "image_size_y": "480", "fov": "18.0"}
    assert simulator.mount.location.z == pytest.approx(1.3)
    assert simulator.events == [
        "in lock-step", "camera stopped", "camera destroyed", "vehicle destroyed", "free",
    ]  # fmt: skip


def test_the_world_runs_on_by_itself_after_an_error(example):
    simulator = Simulator(queue.Queue())
    with pytest.raises(RuntimeError), example.in_lock_step(simulator.world):
        raise RuntimeError
    assert simulator.events == ["in lock-step", "free"]
    assert not simulator.settings.synchronous_mode
