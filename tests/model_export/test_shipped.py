"""The bundles of models/, all served at once by the README's `steerstream serve`."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

import steerstream
from model_export.config import HEADS
from model_export.evaluation.bundle_runner import BundleDriver, BundleRunner, Prediction
from model_export.evaluation.unseen import SOURCES
from steerstream import Command, ControlValues, Encoding, FramePolicy, ViewUse
from steerstream.testing.server_process import serve
from steerstream_bundle import quickest
from steerstream_bundle.contract import GREATEST_RMSE_RATIO
from steerstream_bundle.loading import full_precision
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.world import World
from tests.service.vehicle import FRAME_NS, LONG_BUDGET_MS, pictures

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = {path.stem: path for path in full_precision(ROOT / "models")}
REDUCED = sorted((ROOT / "models").glob("*.int8.onnx"))
UNITS = ("_rad", "_mps", "_nm")
STEPS = 8
TOLERANCE = 1e-4
MOST_APART_RAD = 0.05
"""What a view's compression changes at most in a frame (docs/protocol.md)."""


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """The address of a server that was started as the README says, on a port of its own."""
    lines = (ROOT / "README.md").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("steerstream serve --model models/ "))
    words = shlex.split(line)[2:]
    given = dict(zip(words[::2], words[1::2], strict=True))
    # Outputs are compared with those of the bundles as they are.
    options = ["--default-model", given["--default-model"], "--precision", "f32"]
    # What they answer is looked at here, not whether this machine carries them all at 20 Hz.
    settings = {"max_load": 100.0, "shed_after_s": 3600.0}
    with serve(ROOT / given["--model"], options=options, settings=settings) as server:
        yield server.address


async def streamed(
    address: str,
    name: str,
    film: np.ndarray,
    view: ViewUse = ViewUse.NEVER,
    encoding: Encoding = Encoding.RGB8,
) -> list[ControlValues]:
    """What a vehicle that asks for a model by name is answered, frame by frame."""
    async with (
        steerstream.connect(address) as client,
        client.open_session(
            vehicle_id=f"car-{name}",
            model=name,
            budget_ms=LONG_BUDGET_MS,
            frame_policy=FramePolicy.EVERY,
        ) as session,
    ):
        assert session.info.model.name == name
        answers = [
            await session.request(
                picture, capture_time_ns=1 + FRAME_NS * number, encoding=encoding, view=view
            )
            for number, picture in enumerate(film)
        ]
    return [answer.raw for answer in answers if isinstance(answer, Command)]


def rendered(world: World, time_s: float) -> np.ndarray:
    world.advance_to(time_s)
    return world.capture()


def rows(said: Sequence[Prediction]) -> list[list[float]]:
    """Outputs and deviations [frames, 6]; NaN where a bundle has none."""
    return [
        [part.get(head, np.nan) for part in prediction for head in HEADS] for prediction in said
    ]


def wire_rows(answers: Sequence[ControlValues]) -> list[list[float]]:
    names = [
        f"{head}{kind}{unit}"
        for kind in ("", "_stddev")
        for head, unit in zip(HEADS, UNITS, strict=True)
    ]
    found = [[getattr(values, name) for name in names] for values in answers]
    return [[np.nan if value is None else value for value in row] for row in found]


@pytest.mark.parametrize("view", [ViewUse.NEVER, ViewUse.PIXELS])
async def test_a_client_picks_each_by_name_and_gets_the_evaluation_s_outputs(
    served: str, view: ViewUse
):
    """All at once, with their standard deviations, from raw pictures, whole or as raw views."""
    films = {name: pictures(STEPS, seed, (240, 320, 3)) for seed, name in enumerate(BUNDLES)}
    answers = await asyncio.gather(*(streamed(served, name, films[name], view) for name in BUNDLES))
    for (name, path), found in zip(BUNDLES.items(), answers, strict=True):
        driver = BundleDriver(BundleRunner(path))
        expected = rows([driver.predict(picture) for picture in films[name]])
        np.testing.assert_allclose(
            wire_rows(found), expected, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name
        )


async def test_views_as_each_server_likes_them_best_steer_as_whole_pictures_do(served: str):
    """On rendered roads; `python -m model_export measure view` measures it on real ones too."""
    world = World(7, seconds=1.0, camera=CameraConfig(width_px=640, height_px=480))
    film = np.stack([rendered(world, step / 20) for step in range(STEPS)])
    for name in BUNDLES:
        whole = await streamed(served, name, film)
        seen = await streamed(served, name, film, ViewUse.PIXELS, Encoding.AUTO)
        angles = [[said.steering_wheel_angle_rad for said in answers] for answers in (whole, seen)]
        assert angles[0] != angles[1], "no picture was compressed"
        assert angles[1] == pytest.approx(angles[0], abs=MOST_APART_RAD), name


async def test_a_vehicle_that_names_none_is_driven_by_the_default(served: str):
    async with (
        steerstream.connect(served) as client,
        client.open_session(vehicle_id="any") as session,
    ):
        assert session.info.model.name == "pilotnet_lstm"


def test_8_bit_bundles_are_made_from_the_shipped_ones_and_may_be_chosen():
    assert {path.name for path in REDUCED} >= {"pilotnet_lstm.int8.onnx", "pilotnet.int8.onnx"}
    wholes = [path.with_suffix("").with_suffix(".onnx") for path in REDUCED]
    for bundle in quickest.load_all(wholes, precision="int8").values():
        scores = bundle.contract.provenance.scores
        assert {score.source for score in scores} == set(SOURCES.values())
        assert all(score.ratio <= GREATEST_RMSE_RATIO for score in scores)


def test_all_five_networks_ship():
    assert set(BUNDLES) == {"pilotnet", "pilotnet_lstm", "komanda", "cnn3d", "chauffeur"}


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_is_named_as_its_file(name: str):
    contract = BundleRunner(BUNDLES[name]).contract
    assert contract.name == name
    assert contract.provenance.sources
    assert contract.provenance.scores
