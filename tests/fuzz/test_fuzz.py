"""A short run of `python -m tests.fuzz`, and faults that it must find."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest

from steerstream.guard import Guard
from steerstream.v1 import command_pb2, drive_service_pb2
from steerstream_service.admission.admission import Admission
from steerstream_service.session import vehicle_limits
from tests.fuzz import __main__ as command
from tests.fuzz.messages import damage, numbers, spoil

MESSAGES = {"server": 2_000, "client": 4_000, "files": 3_000}


@pytest.mark.parametrize("target", command.TARGETS)
def test_no_message_does_harm(target):
    tally = command.run(target, MESSAGES[target], seed=2)
    assert tally.messages >= MESSAGES[target]
    assert not tally.faults


def test_the_same_seed_sends_the_same_messages():
    first, second = (command.run("server", 300, seed=3).counts for _ in range(2))
    assert first == second
    assert first != command.run("server", 300, seed=4).counts


def test_a_slot_that_is_not_given_back_is_found(monkeypatch):
    monkeypatch.setattr(Admission, "release", lambda self, lease: True)
    tally = command.run("server", 200, seed=1)
    assert any(fault.startswith("slots, load and tasks") for fault in tally.faults)


def test_values_beyond_the_limits_are_found(monkeypatch):
    apply = vehicle_limits.apply

    def lose_speed(raw, profile, **before):
        values, acted = apply(raw, profile, **before)
        return dataclasses.replace(values, speed_mps=math.nan), acted

    monkeypatch.setattr(vehicle_limits, "apply", lose_speed)
    tally = command.run("server", 500, seed=1)
    assert any("not finite" in fault for fault in tally.faults)
    assert any("beyond its limits" in fault for fault in tally.faults)


def test_a_guard_that_lets_a_value_through_is_found(monkeypatch):
    safe_command = Guard.safe_command

    def add_a_turn(self, now_ns):
        safe = safe_command(self, now_ns)
        angle = safe.steering_wheel_angle_rad
        return dataclasses.replace(safe, steering_wheel_angle_rad=angle and angle + 2 * math.pi)

    monkeypatch.setattr(Guard, "safe_command", add_a_turn)
    tally = command.run("client", 500, seed=1)
    assert any("beyond the bounds" in fault for fault in tally.faults)


def test_every_field_of_a_message_is_spoiled_in_time():
    rng = random.Random(0)
    seen = set()
    for _ in range(2_000):
        request = drive_service_pb2.DriveRequest()
        spoil(rng, request)
        seen |= {field.name for _, part in request.ListFields() for field, _ in part.ListFields()}
    frame, opening = (
        drive_service_pb2.DriveRequest.DESCRIPTOR.fields_by_name[name].message_type.fields_by_name
        for name in ("frame", "open")
    )
    assert {*frame, *opening} <= seen


def test_damage_is_repeatable_and_changes_most_data():
    data = bytes(range(64))
    damaged = [damage(random.Random(seed), data) for seed in range(100)]
    assert damaged == [damage(random.Random(seed), data) for seed in range(100)]
    assert sum(each != data for each in damaged) > 90


def test_numbers_are_found_at_any_depth():
    response = drive_service_pb2.DriveResponse()
    response.skipped.held.CopyFrom(
        command_pb2.Command(raw=command_pb2.ControlValues(speed_mps=math.inf), age_ms=3.0)
    )
    assert numbers(response) == [math.inf, 3.0]
