"""Evaluation's figures are those of a plain loop, recomputed by hand."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path

import numpy as np
import pytest

from model_export.__main__ import main
from model_export.data.udacity_ch2 import read_picture
from model_export.errors import DataError
from model_export.evaluation.bundle_runner import BundleDriver, BundleRunner
from model_export.evaluation.evaluate import Evaluation, evaluate, report
from model_export.evaluation.frame_loss import FrameLoss
from steerstream.v1 import session_pb2
from steerstream_bundle.preprocess import prepare
from tests.service import bundles
from tests.service.vehicle import running, values


@pytest.fixture
def labels(small_data: Path, tmp_path: Path) -> Path:
    """Ten rows with a break in the middle, angle and speed labelled, torque absent."""
    names = sorted((small_data / "udacity_ch2_hmb3" / "frames").iterdir())
    lines = ["frame_id,filename,steering_angle_rad,speed_mps,block,split"]
    for index in range(10):
        frame_id = 50_000_000 * index + (200_000_000 if index >= 5 else 0)
        split = "validation" if index >= 5 else "train"
        lines.append(f"{frame_id},{names[index].name},{0.1 * index},12,{index // 5},{split}")
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def images(small_data: Path) -> Path:
    return small_data / "udacity_ch2_hmb3" / "frames"


def by_hand(bundle: Path, images: Path) -> np.ndarray:
    runner = BundleRunner(bundle)
    driver, frame = BundleDriver(runner), runner.contract.frame
    outputs = []
    for index, path in enumerate(sorted(images.iterdir())[:10]):
        if index == 5:
            driver.reset()
        outputs.append(list(driver.outputs(read_picture(path, frame)).values()))
    return np.array(outputs)


def test_figures_are_those_of_a_plain_loop(bundle: Path, labels: Path, images: Path):
    evaluation = evaluate(bundle, labels, images)
    outputs = by_hand(bundle, images)
    np.testing.assert_array_equal(evaluation.outputs, outputs)
    summary = evaluation.summary()
    truth = 0.1 * np.arange(10)
    mean = evaluation.contract.outputs[0].training_mean
    score = summary["heads"]["steering_wheel_angle"]
    rms = {
        "rmse": outputs[:, 0] - truth,
        "rmse_zero": truth,
        "rmse_mean": truth - mean,
    }
    for name, errors in rms.items():
        assert score[name] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-6)
    assert score["mae"] == pytest.approx(np.abs(outputs[:, 0] - truth).mean(), rel=1e-6)
    assert summary["frames"] == 10
    assert set(summary["heads"]) == {"steering_wheel_angle", "speed"}
    assert summary["heads"]["speed"]["rmse_zero"] == pytest.approx(12)


def test_splits_and_blocks_are_reported_apart(bundle: Path, labels: Path, images: Path):
    summary = evaluate(bundle, labels, images).summary()
    assert summary["splits"]["validation"] == summary["blocks"]["1"]
    assert summary["splits"]["train"]["frames"] == 5
    validation = evaluate(bundle, labels, images, split="validation").summary()
    assert validation["heads"] == summary["splits"]["validation"]["heads"]


def test_the_table_warns_of_training_rows(bundle: Path, labels: Path, images: Path):
    assert any("of training" in line for line in report(evaluate(bundle, labels, images)))
    alone = report(evaluate(bundle, labels, images, split="validation"))
    assert not any("of training" in line for line in alone)


@pytest.fixture
def command(bundle: Path, labels: Path, images: Path) -> list[str]:
    return ["evaluate", str(bundle), "--labels", str(labels), "--images", str(images)]


def test_the_command_writes_figures_and_picture(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out, plot = tmp_path / "out" / "e.json", tmp_path / "out" / "e.png"
    assert main([*command, "--json", str(out), "--plot", str(plot)]) == 0
    figures = json.loads(out.read_text())
    assert figures["heads"]["steering_wheel_angle"]["rmse"] > 0
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "steering_wheel_angle rad" in capsys.readouterr().out


def test_a_recording_in_another_format_is_evaluated_alike(
    command: list[str],
    bundle: Path,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    """Ten pictures of the simulator's log with the angles of the labels file."""
    assert main([*command, "--json", str(tmp_path / "labels.json")]) == 0
    capsys.readouterr()
    log = tmp_path / "driving_log.csv"
    paths = sorted(images.iterdir())[:10]
    rows = [f"{path.name},l.jpg,r.jpg,{-0.01 * at},0,0,0" for at, path in enumerate(paths)]
    log.write_text("\n".join(rows))
    words = ["evaluate", str(bundle), "--source", str(log), "--images", str(images)]
    assert main([*words, "--json", str(tmp_path / "log.json")]) == 2
    assert "is -1 to 1: give --max-angle-deg" in capsys.readouterr().err
    words += ["--max-angle-deg", str(math.degrees(10.0))]
    assert main([*words, "--json", str(tmp_path / "log.json")]) == 0
    found, known = (
        json.loads((tmp_path / f"{name}.json").read_text())["heads"]["steering_wheel_angle"]
        for name in ("log", "labels")
    )
    assert found["rmse_zero"] == pytest.approx(known["rmse_zero"])


def test_a_full_disk_costs_the_picture_and_nothing_else(
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    full_disk: contextlib.AbstractContextManager[None],
):
    out, plot = tmp_path / "e.json", tmp_path / "e.png"
    with full_disk:
        assert main([*command, "--json", str(out), "--plot", str(plot)]) == 2
    said = capsys.readouterr()
    assert "steering_wheel_angle rad" in said.out
    assert said.err.endswith(f"File too large: '{plot}'\n")
    assert json.loads(out.read_text())["heads"]
    assert not plot.exists()


def test_labels_without_pictures_or_heads_are_refused(bundle: Path, tmp_path: Path):
    path = tmp_path / "labels.csv"
    path.write_text("frame_id,speed_mps\n1,2\n")
    with pytest.raises(DataError, match="no column filename"):
        evaluate(bundle, path)
    path.write_text("frame_id,filename\n1,a.jpg\n")
    with pytest.raises(DataError, match="labels none of the heads"):
        evaluate(bundle, path)


def test_a_picture_that_is_missing_is_named_with_the_row_that_names_it(
    bundle: Path, labels: Path, images: Path
):
    lines = labels.read_text().splitlines()
    lines[4] = lines[4].replace(".jpg", "-gone.jpg")
    labels.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"labels\.csv:5: .*-gone\.jpg: No such file"):
        evaluate(bundle, labels, images, "train")


# Frames that are lost, and standard deviations: a bundle that takes the one and gives the other.


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundles.timed(tmp_path_factory.mktemp("timed") / "timed.onnx")


@pytest.fixture
def drive(images: Path, tmp_path: Path) -> Path:
    """Eighty frames at 20 Hz with frames missing after the 50th; angle and torque labelled."""
    lines = ["frame_id,filename,steering_angle_rad,steering_torque_nm,block,split"]
    for index, path in enumerate(sorted(images.iterdir())):
        frame_id = 50_000_000 * (index + (30 if index >= 50 else 0))
        split = "validation" if index >= 60 else "train"
        values = f"{0.1 * np.sin(index):.4f},{0.05 * index - 2:.4f}"
        lines.append(f"{frame_id},{path.name},{values},{index // 40},{split}")
    path = tmp_path / "drive.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def seen_by_hand(evaluation: Evaluation) -> np.ndarray:
    """What the timed bundle says of the frames shown, [N, 3 + 2]: with its formula, not with it."""
    table, frame = evaluation.table, evaluation.contract.frame
    rows, found = np.flatnonzero(evaluation.shown), []
    gaps_s = np.diff(table.frame_ids[rows], prepend=0) / 1e9
    begins = table.starts[rows] | (gaps_s > 0.3)
    for part in np.split(np.arange(len(rows)), np.flatnonzero(begins)[1:]):
        pictures = [prepare(read_picture(table.images[rows[at]], frame), frame) for at in part]
        found.append(bundles.expected_timed(np.array(pictures), [0.05, *gaps_s[part[1:]]]))
    return np.concatenate(found)


@pytest.mark.parametrize(
    "loss", [FrameLoss(), FrameLoss(drop=0.3), FrameLoss(drop=0.9, seed=2), FrameLoss(rate_hz=10)]
)
def test_the_network_is_told_the_true_interval(
    timed: Path, drive: Path, images: Path, loss: FrameLoss
):
    evaluation = evaluate(timed, drive, images, loss=loss)
    expected = seen_by_hand(evaluation)
    shown = evaluation.shown
    np.testing.assert_allclose(evaluation.outputs[shown], expected[:, :3], atol=1e-4)
    np.testing.assert_allclose(evaluation.stddevs[shown][:, [0, 2]], expected[:, 3:], atol=1e-5)
    assert np.isnan(evaluation.outputs[~shown]).all()
    assert np.isnan(evaluation.stddevs[:, 1]).all()
    assert shown.all() == (not loss)


def test_the_state_outlives_lost_frames_but_not_the_tables_breaks(
    timed: Path, drive: Path, images: Path
):
    """A stddev of 0.15 is one period of 20 Hz: at 4 Hz, that of an epoch's first frame alone."""
    evaluation = evaluate(timed, drive, images, loss=FrameLoss(rate_hz=4))
    first = np.isclose(evaluation.stddevs[evaluation.shown][:, 0], 0.15)
    assert np.flatnonzero(evaluation.shown)[first].tolist() == [0, 50]


def test_held_outputs_are_scored_at_all_frames(timed: Path, drive: Path, images: Path):
    evaluation = evaluate(timed, drive, images, loss=FrameLoss(drop=0.5, seed=1))
    truth, held, last = evaluation.table.labels[:, 0], [], np.nan
    for row, shown in enumerate(evaluation.shown):
        last = evaluation.outputs[row, 0] if shown else last
        held.append(last)
    summary = evaluation.summary()
    rmse = np.sqrt(np.mean((np.array(held) - truth) ** 2))
    score = summary["held"]["heads"]["steering_wheel_angle"]
    assert score["rmse"] == pytest.approx(rmse, rel=1e-6)
    assert "calibration" not in score
    assert summary["held"]["frames"] == 80
    assert summary["held"]["splits"]["validation"]["frames"] == 20
    assert summary["frames"] == evaluation.shown.sum() < 80
    errors = (np.array(held) - truth)[evaluation.shown]
    score = summary["heads"]["steering_wheel_angle"]
    assert score["rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-6)
    assert score["rmse_zero"] == pytest.approx(
        np.sqrt(np.mean(truth[evaluation.shown].astype(float) ** 2)), rel=1e-6
    )
    assert summary["loss"] == {"drop": 0.5, "rate_hz": None, "seed": 1}


def test_calibration_is_that_of_the_errors(timed: Path, drive: Path, images: Path):
    evaluation = evaluate(timed, drive, images, "validation")
    for head, column in (("steering_wheel_angle", 0), ("steering_torque", 2)):
        errors = np.abs(evaluation.outputs - evaluation.table.labels)[:, column]
        stddevs = evaluation.stddevs[:, column]
        assert evaluation.summary()["splits"]["validation"]["heads"][head]["calibration"] == {
            "mean_stddev": pytest.approx(stddevs.mean()),
            "coverage_68": pytest.approx(np.mean(errors <= stddevs)),
            "coverage_95": pytest.approx(np.mean(errors <= 1.96 * stddevs)),
        }


def test_the_table_says_what_was_scored(timed: Path, drive: Path, images: Path):
    text = "\n".join(report(evaluate(timed, drive, images, loss=FrameLoss(drop=0.5, rate_hz=10))))
    assert "sigma" in text.splitlines()[0]
    assert "at 10 Hz, 50% of them lost (seed 0)" in text
    assert "held split validation" in text
    assert "the network is told the interval" in text
    whole = "\n".join(report(evaluate(timed, drive, images)))
    assert "held" not in whole
    assert "lost" not in whole


def test_a_bundle_without_deviations_has_no_calibration(
    drive: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path, out = bundles.recurrent(tmp_path / "tiny.onnx"), tmp_path / "e.json"
    command = ["evaluate", str(path), "--labels", str(drive), "--images", str(images)]
    assert main([*command, "--drop", "0.3", "--rate", "10", "--json", str(out)]) == 0
    figures = json.loads(out.read_text())
    assert "calibration" not in figures["heads"]["steering_torque"]
    assert figures["loss"] == {"drop": 0.3, "rate_hz": 10.0, "seed": 0}
    said = capsys.readouterr().out
    assert "sigma" not in said
    assert "the network is not told the interval" in said


def test_losses_that_cannot_be_are_one_line(
    timed: Path, drive: Path, images: Path, capsys: pytest.CaptureFixture[str]
):
    command = ["evaluate", str(timed), "--labels", str(drive), "--images", str(images)]
    for options, text in (
        (["--drop", "0.95"], "--drop must be"),
        (["--rate", "30"], "at most the recording's 20.0 Hz"),
    ):
        assert main([*command, *options]) == 2
        said = capsys.readouterr().err
        assert text in said
        assert said.count("\n") == 1


async def test_a_live_stream_answers_as_the_evaluation_says(timed: Path, drive: Path, images: Path):
    """The same pictures, capture times and losses over gRPC: values and standard deviations."""
    evaluation = evaluate(timed, drive, images, loss=FrameLoss(drop=0.4, seed=5))
    table, rows = evaluation.table, np.flatnonzero(evaluation.shown)
    found = []
    async with running(timed) as run:
        vehicle = await run.vehicle()
        for row in rows:
            if table.starts[row] and row:
                await vehicle.send(reset=session_pb2.Reset())
            jpeg, time_ns = table.images[row].read_bytes(), int(table.frame_ids[row])
            raw = (await vehicle.drive(None, jpeg=jpeg, capture_time_ns=time_ns)).raw
            stddevs = raw.steering_wheel_angle_stddev_rad, raw.steering_torque_stddev_nm
            found.append((*values(raw), *stddevs))
    expected = np.hstack([evaluation.outputs[rows], evaluation.stddevs[rows][:, [0, 2]]])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert len(np.unique(np.round(evaluation.stddevs[rows][:, 0], 4))) > 3, "intervals differ"


@pytest.mark.data
def test_the_shipped_bundle_keeps_its_promise_on_the_real_drive(bundle_path: Path, data_dir: Path):
    labels = data_dir / "udacity_ch2_hmb3" / "labels.csv"
    score = evaluate(bundle_path, labels, split="validation").heads()["steering_wheel_angle"]
    assert score.rmse <= 0.13
    assert score.rmse_zero == pytest.approx(0.251, abs=1e-3)
