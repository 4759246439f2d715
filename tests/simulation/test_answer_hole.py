"""A hole in the answers: a horizon that is right saves what holding costs."""

from __future__ import annotations

import dataclasses
import json

import pytest

from steerstream import ActingDelay, Command, ControlValues, Horizon, HorizonStep
from steerstream.testing.server_process import serve
from steerstream_simulation.answer_hole import changing_bend_m, drive_through, table
from steerstream_simulation.command import main
from steerstream_simulation.drivers import Frame
from steerstream_simulation.guarded_drive import GuardedVehicle
from steerstream_simulation.world import World
from tests.steerstream.values import COMMAND

SECONDS = 12.0
SEED = 0
DELAY_MS = 50.0


class Oracle:
    """Steers as the expert does, and knows what that will be half a second ahead."""

    def __init__(self, world: World) -> None:
        self._world = world

    def _angle_rad(self, ahead_s: float) -> float:
        vehicle = self._world.vehicle
        place_m = self._world.position.arc_length_m + ahead_s * vehicle.speed_mps
        curvature = self._world.road.curvature_at(place_m)
        return vehicle.parameters.steering_wheel_angle_rad(curvature, vehicle.speed_mps)

    async def __call__(self, frame: Frame, _act_in_ms: float | None) -> Command:
        now = self._world.expert_label(0.05)
        bend_rad = self._angle_rad(DELAY_MS / 1e3)

        def values(ahead_s: float) -> ControlValues:
            turn_rad = self._angle_rad(DELAY_MS / 1e3 + ahead_s) - bend_rad
            return ControlValues(now.steering_wheel_angle_rad + turn_rad, now.speed_mps, 0.0)

        steps = tuple(HorizonStep(50 * at, values(0.05 * at)) for at in range(1, 11))
        return _command(frame, values(0.0), Horizon(steps, values(0.5)))


def _command(frame: Frame, values: ControlValues, horizon: Horizon) -> Command:

    return dataclasses.replace(
        COMMAND,
        sequence_number=frame.sequence_number,
        capture_time_ns=frame.capture_time_ns,
        alive_counter=frame.sequence_number % 65_536,
        raw=values,
        limited=values,
        horizon=horizon,
    )


async def passage(hole_ms: float, *, plays_horizon: bool = True):
    world = World(SEED, seconds=SECONDS)
    vehicle = GuardedVehicle(
        world,
        Oracle(world),
        acting=ActingDelay(fixed_ms=DELAY_MS),
        max_act_in_ms=DELAY_MS,
        plays_horizon=plays_horizon,
    )
    return await drive_through(
        vehicle,
        world,
        place_m=changing_bend_m(world, SECONDS),
        hole_ms=hole_ms,
        delay_ms=DELAY_MS,
    )


async def test_a_horizon_that_is_right_saves_most_of_what_holding_costs():
    whole = await passage(0.0)
    held, played = await passage(500.0, plays_horizon=False), await passage(500.0)
    assert whole.has_horizon
    assert not played.let_go
    assert held.astray_m(whole) > 0.03
    assert played.astray_m(whole) < held.astray_m(whole) / 3


async def test_a_drive_is_the_same_each_time():
    assert await passage(300.0) == await passage(300.0)


def test_the_command_drives_each_road_with_each_hole(bundle_path, tmp_path, capsys):
    report = tmp_path / "hole.json"
    with serve(bundle_path, options=["--precision", "f32"]) as server:
        options = ["--hole-ms", "300", "--roads", "1", "--seconds", "6", "--json", str(report)]
        assert main(["hole", "--target", server.address, *options]) == 0
    found = json.loads(report.read_text())
    assert found["model"] == "pilotnet_lstm"
    (row,) = found["holes"]
    assert row["hole_ms"] == 300.0
    assert row["roads"][0]["whole_m"] > 0
    assert "300 ms" in capsys.readouterr().out


@pytest.mark.parametrize(("ratio", "text"), [(None, "-"), (0.25, "0.25")])
def test_the_table_says_where_there_is_nothing_to_play(ratio, text):
    row = {"hole_ms": 300.0, "held_m": 0.2, "played_m": 0.05, "ratio": ratio}
    report = {"model": "m", "roads": 1, "delay_ms": 50.0, "has_horizon": ratio is not None}
    lines = table({**report, "holes": [row]}).splitlines()
    assert ("has no horizon" in lines[1]) is (ratio is None)
    assert lines[-1].endswith(text)
