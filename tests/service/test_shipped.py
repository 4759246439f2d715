"""The bundle that ships, over live streams: outputs as in the bare loop, in each precision."""

from __future__ import annotations

import asyncio
import itertools

import numpy as np
import pytest

from model_export.data.labels import read_labels
from model_export.data.udacity_ch2 import read_picture
from model_export.evaluation.bundle_runner import BundleDriver, BundleRunner
from steerstream.v1 import session_pb2
from steerstream_bundle.contract import SPEED, STEERING_TORQUE, STEERING_WHEEL_ANGLE
from steerstream_bundle.loading import reduced_path
from tests.service.vehicle import FRAME_NS, pictures, running, values

HEADS = (STEERING_WHEEL_ANGLE, SPEED, STEERING_TORQUE)
TOLERANCE = 1e-5
PROMISED = (0.05, 0.5, 0.2)
"""What 8 bits change at most in a frame: rad, m/s, Nm (docs/protocol.md)."""


@pytest.fixture(params=["f32", "int8"])
def precision(request):
    return request.param


@pytest.fixture
def runner(bundle_path, precision):
    """The bare loop over the bundle of that precision."""
    return BundleRunner(bundle_path if precision == "f32" else reduced_path(bundle_path, precision))


def outputs(driver: BundleDriver, picture: np.ndarray) -> list[float]:
    row = driver.outputs(picture)
    return [row.get(head, 0.0) for head in HEADS]


async def test_outputs_equal_the_bare_loop_s_whatever_shares_the_batch(
    bundle_path, precision, runner
):
    """Pictures of several sizes, from many sessions at once."""
    sizes = itertools.cycle([(66, 200, 3), (120, 160, 3), (240, 320, 3)])
    films = [pictures(20, seed, size) for seed, size in zip(range(9), sizes, strict=False)]
    async with running(bundle_path, precision=precision) as run:
        cars = [await run.vehicle(vehicle_id=f"car-{n}") for n in range(len(films))]
        answers = await asyncio.gather(
            *(car.replay(film) for car, film in zip(cars, films, strict=True))
        )
    for film, rows in zip(films, answers, strict=True):
        driver = BundleDriver(runner)
        expected = [outputs(driver, picture) for picture in film]
        np.testing.assert_allclose(rows, expected, atol=TOLERANCE)


@pytest.mark.data
async def test_outputs_on_the_real_drive_equal_the_evaluation_s(
    bundle_path, precision, runner, data_dir
):
    """The camera's own JPEGs, with a reset where the evaluation resets, among other sessions."""
    table = read_labels(data_dir / "udacity_ch2_hmb3" / "labels.csv")
    first = next(index for index, starts in enumerate(table.starts) if starts and index > 30) - 30
    window = range(first, first + 60)
    driver, frame = BundleDriver(runner), runner.contract.frame
    async with running(bundle_path, precision=precision) as run:
        car = await run.vehicle()
        others = [await run.vehicle() for _ in range(3)]
        noise = asyncio.gather(
            *(other.replay(pictures(60, n, (66, 200, 3))) for n, other in enumerate(others))
        )
        for number, index in enumerate(window):
            path = table.images[index]
            if table.starts[index]:
                driver.reset()
                await car.send(reset=session_pb2.Reset())
            await car.frame(jpeg=path.read_bytes(), capture_time_ns=1 + FRAME_NS * number)
            command = await car.answer()
            expected = outputs(driver, read_picture(path, frame))
            assert values(command.raw) == pytest.approx(expected, abs=TOLERANCE)
        assert command.state_epoch == 1
        await noise


@pytest.mark.data
@pytest.mark.parametrize("name", ["pilotnet_lstm", "pilotnet", "cnn3d"])
def test_8_bits_change_outputs_by_no_more_than_is_promised(bundle_path, data_dir, name):
    """Over frames of the real drive that no training saw, each with its own carried state."""
    table = read_labels(data_dir / "udacity_ch2_hmb3" / "labels.csv").of_split("validation")
    whole_path = bundle_path.with_stem(name)
    runners = [BundleRunner(path) for path in (whole_path, reduced_path(whole_path, "int8"))]
    drivers, frame = [BundleDriver(runner) for runner in runners], runners[0].contract.frame
    worst = np.zeros(len(HEADS))
    for path, starts in zip(table.images, table.starts, strict=True):
        if starts:
            for driver in drivers:
                driver.reset()
        picture = read_picture(path, frame)
        whole, reduced = (np.array(outputs(driver, picture)) for driver in drivers)
        worst = np.maximum(worst, np.abs(whole - reduced))
    assert (worst <= PROMISED).all()
    assert worst[0] > TOLERANCE, "both bundles are the same"
