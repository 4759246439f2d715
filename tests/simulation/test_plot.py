import dataclasses

import cv2
import numpy as np
import pytest

from steerstream import Command, ControlValues, Horizon, HorizonStep
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.closed_loop import drive_lock_step
from steerstream_simulation.drivers import LocalDriver, Reply, expert_policy
from steerstream_simulation.plot import AHEAD_LABEL, RELEASED_LABEL, DrivePlot, angles_ahead
from steerstream_simulation.world import World


async def test_a_drive_becomes_one_picture(tmp_path):
    world = World(1, seconds=1.0, camera=CameraConfig(width_px=128, height_px=96))
    plot = DrivePlot(20, budget_ms=50.0, rate_hz=20.0)
    driver = LocalDriver(expert_policy(world), latency_ms=60.0)
    await drive_lock_step(world, driver, frames=20, observe=plot)
    plot.save(tmp_path / "new" / "drive.png")
    picture = cv2.imread(str(tmp_path / "new" / "drive.png"))
    assert picture is not None
    assert picture.shape == (825, 1200, 3)
    assert picture[:225].std() > 20


SMALL = CameraConfig(width_px=128, height_px=96)


def with_horizon(reply: Reply, turns_rad: float) -> Reply:
    """The same reply, whose command says that the angle changes so much in half a second."""
    answer = reply.answer
    assert isinstance(answer, Command)
    now_rad = answer.limited.steering_wheel_angle_rad
    assert now_rad is not None
    steps = tuple(
        HorizonStep(50 * at, ControlValues(now_rad + turns_rad * at / 10, 10.0))
        for at in range(1, 11)
    )
    horizon = Horizon(steps, steps[-1].limited)
    return dataclasses.replace(reply, answer=dataclasses.replace(answer, horizon=horizon))


async def test_each_quarter_shows_the_moment_before_the_greatest_change_and_what_was_said_of_it():
    world = World(1, seconds=2.0, camera=SMALL)
    plot = DrivePlot(40, budget_ms=50.0, rate_hz=20.0)

    def observe(moment, reply):
        number = moment.frame.sequence_number
        plot(moment, with_horizon(reply, 0.5 if number % 10 == 3 else 0.1))

    await drive_lock_step(world, LocalDriver(expert_policy(world)), frames=40, observe=observe)
    figure = plot.draw()
    captions = [axes.texts[0].get_text() for axes in figure.axes if axes.images]
    assert captions == [f"{number / 20:.1f} s" for number in (3, 13, 23, 33)]
    insets = [axes.child_axes[0] for axes in figure.axes if axes.images]
    for inset in insets:
        said = next(line for line in inset.lines if line.get_label() == "said")
        begin, *_, end = np.column_stack(said.get_data())
        assert end - begin == pytest.approx([0.5, 0.5])
    labels = [line.get_label() for axes in figure.axes for line in axes.lines]
    assert labels.count(AHEAD_LABEL) == 1


def test_a_frame_without_an_answer_said_nothing():
    assert angles_ahead(None) == []


async def latency_panel(*, answer_ms: float, delay_ms: float | None):
    """The lowest panel of a drive whose every answer takes a time, and is charged another."""
    world = World(1, seconds=1.0, camera=SMALL)
    plot = DrivePlot(20, budget_ms=50.0, rate_hz=20.0)
    driver = LocalDriver(expert_policy(world), latency_ms=answer_ms)
    await drive_lock_step(world, driver, frames=20, delay_ms=delay_ms, observe=plot)
    return [axes for axes in plot.draw().axes if not axes.images][-1]


async def test_a_stated_delay_and_what_the_answers_took_are_two_lines():
    panel = await latency_panel(answer_ms=3.0, delay_ms=150.0)
    lines = {line.get_label(): line.get_ydata() for line in panel.lines}
    assert set(lines["delay"]) == {150.0}
    assert not set(lines["round trip"]) & {0.0, 150.0}


@pytest.mark.parametrize(
    ("answer_ms", "is_line"), [(3.0, False), (20.0, False), (30.0, True), (60.0, True)]
)
async def test_a_budget_is_a_line_in_view_or_its_legend_says_that_it_is_above(answer_ms, is_line):
    panel = await latency_panel(answer_ms=answer_ms, delay_ms=None)
    found = {line.get_label(): line.get_ydata() for line in panel.lines}
    if is_line:
        assert max(found["budget 50 ms"]) < panel.get_ylim()[1]
    else:
        assert panel.get_ylim()[1] < 50.0
        assert len(found["budget 50 ms, above"]) == 0


async def test_time_without_a_guard_is_shaded_and_named_once():
    world = World(1, seconds=1.0, camera=SMALL)
    plot = DrivePlot(20, budget_ms=50.0, rate_hz=20.0)

    def observe(moment, reply):
        plot(dataclasses.replace(moment, is_released=moment.frame.sequence_number in {5, 6}), reply)

    await drive_lock_step(world, LocalDriver(expert_policy(world)), frames=20, observe=observe)
    lane, *others = [axes for axes in plot.draw().axes if not axes.images]
    shades = [patch.get_extents() for patch in lane.patches]
    assert len(shades) == 2
    assert [text.get_text() for text in lane.get_legend().get_texts()].count(RELEASED_LABEL) == 1
    for axes in others:
        assert len(axes.patches) == 2
        assert RELEASED_LABEL not in {text.get_text() for text in axes.get_legend().get_texts()}
