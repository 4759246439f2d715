"""The closed loop on recorded pictures: its own error, and that it tells drivers from copies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from steerstream.errors import MediaError
from steerstream_simulation.picture_drive import drive_here
from steerstream_simulation.picture_world import PUT_BACK_BEYOND_M, PictureWorld, new_score
from steerstream_simulation.recorded_drive import PictureSequence, read_sequences
from tests.simulation.recordings import write_recording

BEND = [0.3 * np.sin(index / 12) for index in range(120)]
Steer = Callable[[PictureWorld, int], float]


def driven(sequence: PictureSequence, steer: Steer, start_m: float = 0.0) -> PictureWorld:
    """A drive whose every command acts at once."""
    world = PictureWorld(sequence, start_m=start_m)
    for index in range(sequence.frames):
        world.advance_to(index * sequence.period_s)
        world.command = world.command._replace(steering_wheel_angle_rad=steer(world, index))
    world.advance_to(sequence.frames * sequence.period_s)
    return world


def recorded(world: PictureWorld, index: int) -> float:
    return float(world.sequence.angles_rad[index])


def led_back(world: PictureWorld, _index: int) -> float:
    return world.expert_label(0.0).steering_wheel_angle_rad


@pytest.fixture(scope="module")
def bend(tmp_path_factory: pytest.TempPathFactory) -> PictureSequence:
    (sequence,) = read_sequences(write_recording(tmp_path_factory.mktemp("bend"), BEND))
    return sequence


def test_with_the_recorded_angle_the_vehicle_keeps_to_the_recorded_path(
    bend: PictureSequence,
) -> None:
    score = driven(bend, recorded).score
    assert score.elapsed_s == pytest.approx(6.0)
    assert score.lateral_error_max_m < 0.2
    assert score.interventions == 0


def test_on_the_recorded_path_it_sees_the_recorded_frames(bend: PictureSequence) -> None:
    world = PictureWorld(bend)
    for index in range(0, bend.frames, 10):
        world.advance_to(index * bend.period_s)
        world.vehicle.offset_m = world.vehicle.heading_rad = 0.0
        np.testing.assert_array_equal(world.capture(), bend.picture(index))


def test_the_recorded_angle_does_not_lead_back_and_the_law_does(bend: PictureSequence) -> None:
    copied, steered = (driven(bend, steer, start_m=0.4).score for steer in (recorded, led_back))
    assert copied.summary()["lateral_error_mean_m"] > 0.35
    assert steered.summary()["lateral_error_mean_m"] < 0.12


def test_who_goes_straight_on_in_a_bend_is_put_back(bend: PictureSequence) -> None:
    world = driven(bend, lambda _world, _index: 0.0)
    assert world.score.interventions > 0
    assert world.score.lateral_error_max_m < PUT_BACK_BEYOND_M + 0.1
    assert world.score.autonomy_percent < 50.0


def test_drives_of_one_recording_are_counted_together_and_begin_anew(bend: PictureSequence) -> None:
    policies = []

    def new_policy() -> Callable[[np.ndarray], tuple[float, float]]:
        policies.append(1)
        return lambda _picture: (0.0, 15.0)

    score = drive_here([bend], new_policy, delay_ms=50.0, starts_m=(0.0, 0.4))
    again = drive_here([bend], new_policy, delay_ms=50.0, starts_m=(0.0, 0.4))
    assert score == again
    assert score.elapsed_s == pytest.approx(12.0)
    assert len(policies) == 4


def test_speeds_of_the_recording_are_driven(tmp_path: Path) -> None:
    labels = write_recording(tmp_path, [0.0] * 40, extra="speed_mps=8")
    (sequence,) = read_sequences(labels, speed_mps=15.0)
    assert driven(sequence, recorded).score.distance_m == pytest.approx(16.0, abs=0.1)


def test_a_recording_is_driven_between_its_breaks(tmp_path: Path) -> None:
    labels = write_recording(tmp_path, [0.0] * 60, breaks=(25, 30))
    assert [sequence.frames for sequence in read_sequences(labels)] == [25, 30]


def test_blocks_are_driven_without_the_others_that_they_are_among(tmp_path: Path) -> None:
    angles = [0.1] * 30 + [0.2] * 30 + [0.3] * 30
    labels = write_recording(tmp_path, angles, blocks=["3"] * 30 + ["4"] * 30 + ["5"] * 30)
    assert [sequence.frames for sequence in read_sequences(labels)] == [90]
    (middle,) = read_sequences(labels, blocks=["4"])
    assert middle.angles_rad.tolist() == [0.2] * 30
    first, last = read_sequences(labels, blocks=["3", "5"])
    assert {*first.angles_rad, *last.angles_rad} == {0.1, 0.3}
    with pytest.raises(MediaError, match=r"no row of block '2'; there are: 3, 4, 5"):
        read_sequences(labels, blocks=["4", "2"])


def test_what_cannot_be_driven_is_refused_by_its_row(tmp_path: Path) -> None:
    labels = write_recording(tmp_path, [0.0] * 30)
    text = labels.read_text()
    labels.write_text(text.replace(",0.0\n", ",\n"))
    with pytest.raises(MediaError, match=r"labels.csv:2: needs a filename and a steering_angle"):
        read_sequences(labels)
    labels.write_text("\n".join(text.splitlines()[:10]) + "\n")
    with pytest.raises(MediaError, match="no 20 frames without a break"):
        read_sequences(labels)
    labels.write_text(text)
    (tmp_path / "3.png").unlink()
    with pytest.raises(MediaError, match=r"3.png: cannot be read as a picture"):
        read_sequences(labels)[0].picture(3)


def test_recorded_torques_are_the_experts(tmp_path: Path) -> None:
    labels = write_recording(tmp_path, [0.1] * 30, extra="steering_torque_nm=0.5")
    world = PictureWorld(read_sequences(labels)[0], score=new_score())
    assert world.expert_label(0.05) == (0.1, 15.0, 0.5)


@pytest.mark.data
def test_its_own_error_on_the_real_drive(data_dir: Path) -> None:
    for sequence in read_sequences(data_dir / "udacity_ch2_hmb3" / "labels.csv"):
        assert driven(sequence, recorded).score.lateral_error_max_m < 0.2
