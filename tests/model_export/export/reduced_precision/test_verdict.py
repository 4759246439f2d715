"""The rule: within 2 % of the RMSE, and for INT8 a fifth faster; both reported either way."""

from __future__ import annotations

import math

import pytest

from model_export.export.reduced_precision.verdict import Figures, Verdict

FP32 = Figures(
    rmse={"real": {"steering_wheel_angle": 0.1}, "rendered": {"speed": 1.0}},
    frames_per_s={1: 1000.0, 8: 1100.0},
    size_bytes=1_000_000,
)


def verdict(precision: str, rmse: float, speed: float, batched: float = 2000.0) -> Verdict:
    figures = Figures(
        rmse={"real": {"steering_wheel_angle": rmse}, "rendered": {"speed": 1.0}},
        frames_per_s={1: speed, 8: batched},
        size_bytes=300_000,
    )
    return Verdict(precision=precision, reference=FP32, candidate=figures)


@pytest.mark.parametrize(
    ("precision", "rmse", "speed"),
    [("int8", 0.1019, 1201), ("int8", 0.05, 3000), ("fp16", 0.1019, 10), ("fp16", 0.1, 1000)],
)
def test_a_bundle_within_the_thresholds_is_accepted(precision: str, rmse: float, speed: float):
    found = verdict(precision, rmse, speed)
    assert found.accepted
    assert list(found.lines())[-1] == "accepted"
    assert found.summary()["verdict"] == "accepted"
    assert found.summary()["reasons"] == []


@pytest.mark.parametrize(
    ("precision", "rmse", "speed", "reasons"),
    [
        ("int8", 0.1021, 1201, ["RMSE of steering_wheel_angle"]),
        ("int8", 0.1, 1199, ["1.199 times FP32's frames a second"]),
        ("int8", math.nan, 900, ["RMSE of steering_wheel_angle", "0.900 times"]),
        ("fp16", 0.11, 5000, ["is 1.100 times FP32's"]),
    ],
)
def test_a_refusal_gives_every_reason(
    precision: str, rmse: float, speed: float, reasons: list[str]
):
    found = verdict(precision, rmse, speed)
    assert not found.accepted
    assert len(found.objections) == len(reasons)
    for objection, reason in zip(found.objections, reasons, strict=True):
        assert reason in objection
    assert list(found.lines())[-1].startswith("refused: ")


def test_another_head_on_another_source_counts_as_the_steering_does():
    rmse = {**FP32.rmse, "rendered": {"speed": 1.03}}
    worse = Figures(rmse=rmse, frames_per_s={1: 2000.0}, size_bytes=1)
    found = Verdict(precision="int8", reference=FP32, candidate=worse)
    assert found.objections == ("RMSE of speed on rendered is 1.030 times FP32's, more than 1.02",)


def test_speed_in_larger_batches_is_told_but_does_not_decide():
    assert verdict("int8", 0.1, 1600, batched=1100).accepted
    assert not verdict("int8", 0.1, 1100, batched=9000).accepted
    found = verdict("int8", 0.1, 1600, batched=1100)
    assert found.summary()["speed_ratio"] == {1: 1.6, 8: 1.0}
    assert any("batch 8" in line and "1.00" in line for line in found.lines())
