"""What runs a bundle: the quickest that may, and only what belongs together."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from steerstream_bundle import loading, providers, quickest
from steerstream_bundle.contract import Crop, FrameInput
from steerstream_bundle.errors import BundleError
from tests.service import bundles


@pytest.fixture
def pair(tmp_path):
    """An FP32 bundle, and one beside it that says it was made from it."""
    path = bundles.recurrent(tmp_path / "tiny.onnx")
    bundles.reduced(path)
    return path


def test_a_folder_is_read_in_order_of_its_names(tmp_path):
    bundles.ring(tmp_path / "b.onnx")
    bundles.stateless(tmp_path / "a.onnx")
    assert list(quickest.load_all([tmp_path])) == ["stateless", "ring"]


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(BundleError, match=re.escape("holds no .onnx file")):
        quickest.load_all([tmp_path])


def test_two_bundles_of_one_name_are_refused(tmp_path):
    paths = [bundles.recurrent(tmp_path / name) for name in ("a.onnx", "b.onnx")]
    with pytest.raises(BundleError, match="another bundle is named 'tiny' too"):
        quickest.load_all(paths)


def test_of_a_folder_only_what_stands_by_itself_is_served(pair):
    (bundle,) = quickest.load_all([pair.parent], precision="f32").values()
    assert bundle.precision == "f32"
    assert loading.full_precision(pair.parent) == [pair]


def test_a_bundle_that_belongs_beside_a_missing_one_is_refused(pair):
    pair.rename(pair.with_name("other.onnx"))
    text = f"{loading.reduced_path(pair, 'int8')}: belongs beside {pair}, which is not there"
    with pytest.raises(BundleError, match=re.escape(text)):
        quickest.load_all([pair.parent])


@pytest.mark.parametrize("precision", ["f32", "int8"])
def test_a_precision_that_is_asked_for_is_served_without_measuring(pair, monkeypatch, precision):
    monkeypatch.setattr(quickest, "_seconds_a_frame", None)
    (bundle,) = quickest.load_all([pair], precision=precision).values()
    assert bundle.precision == precision
    assert bundle.reason == f"{precision} was asked for"


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [((2e-3, 1e-3), "int8"), ((1.09e-3, 1e-3), "f32"), ((1e-3, 2e-3), "f32")],
)
def test_the_quicker_is_served_if_it_is_clearly_quicker(pair, monkeypatch, seconds, chosen):
    monkeypatch.setattr(quickest, "_seconds_a_frame", lambda opened: seconds)
    (bundle,) = quickest.load_all([pair]).values()
    assert bundle.precision == chosen
    f32, int8 = (f"{1e6 * each:.0f} us" for each in seconds)
    assert bundle.reason == f"measured a frame: f32 on cpu {f32}, int8 on cpu {int8}"


def test_every_candidate_is_measured(pair):
    opened = [loading.load(pair), loading.load(loading.reduced_path(pair, "int8"))]
    seconds = quickest.measure(opened, 2, turns=1)
    assert len(seconds) == 2
    assert all(0 < each < 60 for each in seconds)


def test_a_network_that_fails_while_it_is_measured_is_a_broken_bundle(pair):
    failing = loading.load(bundles.failing(pair.with_name("failing.onnx")))
    failing.contract = dataclasses.replace(
        failing.contract, frame=FrameInput(tensor="frames", height_px=9, width_px=16, crop=Crop())
    )
    with pytest.raises(BundleError, match="failing: fails when it is run"):
        quickest.measure([failing], 1)


def test_a_single_candidate_needs_no_measurement(tmp_path, monkeypatch):
    monkeypatch.setattr(quickest, "_seconds_a_frame", None)
    path = bundles.recurrent(tmp_path / "tiny.onnx")
    (bundle,) = quickest.load_all([path]).values()
    assert (bundle.precision, bundle.reason) == ("f32", "nothing else to choose from")
    with pytest.raises(BundleError, match="there is no int8 bundle of it for provider cpu"):
        quickest.load_all([path], precision="int8")


def test_a_bundle_of_reduced_precision_can_be_served_alone(pair):
    alone = loading.reduced_path(pair, "int8")
    (bundle,) = quickest.load_all([alone]).values()
    assert (bundle.precision, bundle.contract.name) == ("int8", "tiny")
    assert bundle.sha256 == loading.load(alone).sha256 != loading.load(pair).sha256
    with pytest.raises(BundleError, match="there is no f32 bundle of it"):
        quickest.load_all([alone], precision="f32")


def test_both_bundles_of_a_network_go_by_the_digest_of_the_first(pair):
    (bundle,) = quickest.load_all([pair], precision="int8").values()
    assert bundle.sha256 == loading.load(pair).sha256


@pytest.mark.parametrize(
    "changes",
    [
        {"reduced_from": "0" * 64},
        {"reduced_from": ""},
        {"contract": bundles.contract(warm_up_steps=3)},
        {"contract": bundles.contract(name="another")},
    ],
)
@pytest.mark.parametrize("precision", ["auto", "int8"])
def test_a_bundle_that_was_made_from_another_is_refused_in_one_line(tmp_path, changes, precision):
    path = bundles.recurrent(tmp_path / "tiny.onnx")
    sibling = bundles.reduced(path, **changes)
    with pytest.raises(BundleError) as caught:
        quickest.load_all([path], precision=precision)
    assert str(caught.value).startswith(f"{sibling}: was not made from {path} as it is now; make")
    assert "\n" not in str(caught.value)
    (bundle,) = quickest.load_all([path], precision="f32").values()
    assert bundle.precision == "f32"


def test_a_bundle_that_is_not_what_its_name_says_is_refused(tmp_path):
    path = bundles.recurrent(tmp_path / "tiny.onnx")
    bundles.reduced(path, precision="fp16")
    with pytest.raises(BundleError, match=r"tiny\.int8\.onnx: is f16, and not int8"):
        quickest.load_all([path])


@pytest.mark.parametrize("ratios", [(1.0, 1.021), ()])
def test_a_bundle_without_a_good_record_is_served_only_on_request(tmp_path, ratios):
    path = bundles.recurrent(tmp_path / "tiny.onnx")
    bundles.reduced(path, ratios=ratios)
    (bundle,) = quickest.load_all([path]).values()
    assert bundle.precision == "f32"
    assert bundle.reason == "tiny.int8.onnx has no record of enough accuracy"
    (bundle,) = quickest.load_all([path], precision="int8").values()
    assert bundle.precision == "int8"


def test_off_the_cpu_a_bundle_stays_as_it_is(pair, monkeypatch):
    elsewhere = dataclasses.replace(providers.CPU, on_cpu=False)
    bundles.reduced(pair, reduced_from="0" * 64)
    (bundle,) = quickest.load_all([pair], candidates=[elsewhere]).values()
    assert bundle.precision == "f32"


def test_the_shipped_bundle_has_its_8_bit_one_beside_it():
    assert loading.reduced_path(loading.SHIPPED, "int8").exists()
    (bundle,) = quickest.load_all([loading.SHIPPED], precision="int8").values()
    assert bundle.contract.name == "pilotnet_lstm"
    frames = np.zeros((1, *bundle.contract.frame.shape), np.uint8)
    outputs, _ = bundle.step(
        frames, [np.zeros((1, *p.shape), np.float32) for p in bundle.contract.state]
    )
    assert all(np.isfinite(values).all() for values in outputs)
