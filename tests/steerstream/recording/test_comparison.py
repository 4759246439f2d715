from __future__ import annotations

import dataclasses
import math

import pytest

from steerstream import ControlValues, Horizon, HorizonStep, Limit, Validity
from steerstream.recording.comparison import Terms, differences, largest_difference
from tests.steerstream.values import COMMAND

EXACT = Terms(is_exact=True, same_precision=True, knows_limits=True, first_epoch=0)
ROUNDED = dataclasses.replace(EXACT, is_exact=False)
OTHER_PRECISION = dataclasses.replace(ROUNDED, same_precision=False)
VALUES = ControlValues(0.1, 10.0, 0.5, 0.01, 0.1, 0.1)
RECORDED = dataclasses.replace(COMMAND, raw=VALUES, limited=ControlValues(0.1, 10.0, 0.5))


def fields(terms, recorded=RECORDED, **changes):
    replayed = dataclasses.replace(RECORDED, **changes)
    return [each.field for each in differences(recorded, replayed, terms)]


def moved(by):
    return dataclasses.replace(VALUES, steering_wheel_angle_rad=0.1 + by)


@pytest.mark.parametrize(
    ("terms", "by", "differs"),
    [
        (EXACT, 0.0, False), (EXACT, 1e-15, True), (ROUNDED, 0.99e-5, False),
        (ROUNDED, -1.01e-5, True), (OTHER_PRECISION, 0.049, False), (OTHER_PRECISION, 0.051, True),
    ],
)  # fmt: skip
def test_values_may_differ_by_what_is_promised_and_no_more(terms, by, differs):
    found = fields(terms, raw=moved(by))
    assert found == ["raw.steering_wheel_angle_rad"] * differs


def test_a_difference_says_both_values():
    [found] = differences(RECORDED, dataclasses.replace(RECORDED, raw=moved(1.0)), EXACT)
    assert (found.recorded, found.replayed) == ("0.1", "1.1")


@pytest.mark.parametrize("terms", [EXACT, ROUNDED, OTHER_PRECISION])
def test_a_missing_value_is_a_difference_and_none_on_both_sides_is_not(terms):
    lacks = dataclasses.replace(VALUES, speed_mps=None)
    assert fields(terms, raw=lacks) == ["raw.speed_mps"]
    assert fields(terms, dataclasses.replace(RECORDED, raw=lacks), raw=lacks) == []


def test_values_that_are_no_numbers_are_equal_to_each_other_alone():
    wrong = dataclasses.replace(VALUES, speed_mps=math.nan)
    assert fields(EXACT, dataclasses.replace(RECORDED, raw=wrong), raw=wrong) == []
    assert fields(ROUNDED, raw=wrong) == ["raw.speed_mps"]
    endless = dataclasses.replace(VALUES, speed_mps=math.inf)
    assert fields(ROUNDED, dataclasses.replace(RECORDED, raw=endless), raw=endless) == []


def test_the_state_is_compared_from_where_the_replay_began():
    later = dataclasses.replace(RECORDED, state_epoch=5)
    assert fields(dataclasses.replace(EXACT, first_epoch=5), later) == []
    assert fields(EXACT, later) == ["state_epoch"]
    assert fields(ROUNDED, step_count=2) == ["step_count"]
    assert fields(OTHER_PRECISION, validity=Validity.HELD) == ["validity"]


def test_limits_are_compared_where_they_came_from_the_same_commands():
    limited = ControlValues(0.0, 10.0, 0.5)
    assert fields(ROUNDED, limited=limited) == ["limited.steering_wheel_angle_rad"]
    assert fields(EXACT, active_limits=(Limit.SPEED,)) == ["active_limits"]
    # A value at the edge of a limit may fall to either side where it is rounded otherwise.
    assert fields(ROUNDED, active_limits=(Limit.SPEED,)) == []
    unknown = dataclasses.replace(EXACT, knows_limits=False)
    assert fields(unknown, limited=limited, active_limits=(Limit.SPEED,)) == []


def test_horizons_are_compared_step_by_step():
    def horizon(*angles, after=50):
        steps = (
            HorizonStep(after * at, ControlValues(angle)) for at, angle in enumerate(angles, 1)
        )
        return Horizon(tuple(steps), ControlValues(angles[-1]))

    recorded = dataclasses.replace(RECORDED, horizon=horizon(0.1, 0.2))
    assert fields(EXACT, recorded, horizon=horizon(0.1, 0.2)) == []
    assert fields(EXACT, recorded, horizon=None) == ["horizon"]
    assert fields(EXACT, recorded, horizon=horizon(0.3, 0.2)) == [
        "horizon.steps[0].limited.steering_wheel_angle_rad"
    ]
    assert fields(EXACT, recorded, horizon=horizon(0.1)) == [
        "horizon.steps", "horizon.last_raw.steering_wheel_angle_rad",
    ]  # fmt: skip
    assert "horizon.steps[0].after_ms" in fields(
        EXACT, recorded, horizon=horizon(0.1, 0.2, after=40)
    )


def test_how_far_values_are_apart_is_told_for_each_head_that_both_have():
    other = dataclasses.replace(RECORDED, raw=ControlValues(0.35, None, 0.5))
    assert largest_difference(RECORDED, other) == {
        "steering_wheel_angle_rad": pytest.approx(0.25), "steering_torque_nm": 0.0,
    }  # fmt: skip
