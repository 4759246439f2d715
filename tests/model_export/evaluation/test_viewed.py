"""An evaluation by views is what a vehicle gets that sends them."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

import steerstream
from model_export.__main__ import main
from model_export.errors import DataError
from model_export.evaluation.evaluate import evaluate
from model_export.evaluation.viewed import Views
from steerstream import FramePolicy, ViewUse
from steerstream_bundle.contract import (
    GREATEST_RMSE_RATIO,
    STEERING_WHEEL_ANGLE,
    Crop,
    FrameInput,
)
from steerstream_bundle.loading import reduced_path
from steerstream_bundle.pictures import JpegImage, to_input
from tests.bundle.jpeg_files import exif, with_segments
from tests.service import bundles
from tests.service.vehicle import LONG_BUDGET_MS, jpeg, pictures, running

INPUT = FrameInput(tensor="frames", height_px=8, width_px=16, crop=Crop(top=0.5))
FRAMES = 6


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recording")
    rows = ["frame_id,filename,steering_angle_rad"]
    for number, picture in enumerate(pictures(FRAMES, 0, (48, 64, 3))):
        smooth = cv2.GaussianBlur(picture, (9, 9), 0)
        (folder / f"{number}.jpg").write_bytes(jpeg(smooth))
        rows.append(f"{50_000_000 * number},{number}.jpg,0.1")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


async def test_outputs_are_those_of_a_vehicle_that_sends_views(recording, tmp_path):
    path = bundles.recurrent(tmp_path / "tiny.onnx")
    found = evaluate(path, recording / "labels.csv", as_views=True)
    angles = []
    async with (
        running(path) as run,
        steerstream.connect(run.address) as client,
        client.open_session(
            vehicle_id="car", frame_policy=FramePolicy.EVERY, budget_ms=LONG_BUDGET_MS
        ) as session,
    ):
        for number in range(FRAMES):
            command = await session.request(
                (recording / f"{number}.jpg").read_bytes(),
                capture_time_ns=1 + 50_000_000 * number,
                view=ViewUse.ALWAYS,
            )
            angles.append(command.raw.steering_wheel_angle_rad)
    assert found.outputs[:, 0] == pytest.approx(angles, abs=1e-5)
    whole = evaluate(path, recording / "labels.csv")
    assert np.abs(found.outputs[:, 0] - whole.outputs[:, 0]).max() > 1e-5


@pytest.mark.data
@pytest.mark.parametrize("precision", ["f32", "int8"])
def test_the_default_network_steers_a_real_drive_by_views_as_well(bundle_path, data_dir, precision):
    """The same as `measure view`, for the bundle that ships and its 8-bit one."""
    path = bundle_path if precision == "f32" else reduced_path(bundle_path, precision)
    labels = data_dir / "udacity_ch2_hmb3" / "labels.csv"
    whole, seen = (
        evaluate(path, labels, split="validation", as_views=as_views) for as_views in (False, True)
    )
    angle = STEERING_WHEEL_ANGLE
    assert seen.heads()[angle].rmse <= GREATEST_RMSE_RATIO * whole.heads()[angle].rmse
    assert 0 < np.abs(seen.outputs - whole.outputs)[:, 0].max() <= 0.05
    assert seen.view_bytes is not None
    assert seen.view_bytes < 8_000


def test_what_a_view_takes_is_reported(recording, tmp_path, capsys):
    path, out = bundles.recurrent(tmp_path / "tiny.onnx"), tmp_path / "out.json"
    options = ["--labels", str(recording / "labels.csv"), "--json", str(out)]
    assert main(["evaluate", str(path), *options, "--view"]) == 0
    assert "shown as views: 0." in capsys.readouterr().out
    assert 100 < json.loads(out.read_text())["view_bytes"] < 1500
    assert main(["evaluate", str(path), *options]) == 0
    assert "view" not in capsys.readouterr().out
    assert "view_bytes" not in json.loads(out.read_text())


def test_a_picture_that_a_client_sends_as_it_is_is_shown_as_it_is(tmp_path):
    data = with_segments(jpeg(cv2.resize(pictures(1, 0, (6, 8, 3))[0], (64, 48))), exif(3))
    path, views = tmp_path / "picture.jpg", Views(INPUT)
    path.write_bytes(data)
    found = views.of_file(path)
    np.testing.assert_array_equal(found, to_input(JpegImage(data), INPUT, 10_000))
    assert views.mean_bytes > len(data)


def test_a_picture_that_cannot_be_read_is_an_error_with_its_label(tmp_path):
    path = tmp_path / "picture.jpg"
    with pytest.raises(DataError, match=r"labels.csv:7: .*picture.jpg: No such file"):
        Views(INPUT).of_file(path, "labels.csv:7")
    path.write_bytes(b"a picture")
    with pytest.raises(DataError, match=r"picture.jpg: not a JPEG"):
        Views(INPUT).of_file(path)


def test_the_input_that_has_travelled_is_close_to_itself():
    views = Views(INPUT)
    smooth = cv2.GaussianBlur(pictures(1, 0, INPUT.shape)[0], (5, 5), 0)
    assert np.abs(views.of_input(smooth).astype(int) - smooth).mean() < 4
    assert (views.frames, views.mean_bytes) == (1, views.size_bytes)
