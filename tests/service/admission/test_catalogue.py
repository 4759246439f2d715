"""Which model drives a vehicle: the one that it asks for, that of its share, or the default."""

from __future__ import annotations

import pytest

from steerstream_bundle.loading import load
from steerstream_service.admission.catalogue import Catalogue, Model, RoutingError, place_of
from steerstream_service.config import Config
from steerstream_service.errors import UnknownModelError
from tests.service import bundles

VEHICLES = [f"car-{number}" for number in range(2000)]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    bundle = load(bundles.recurrent(tmp_path_factory.mktemp("bundles") / "tiny.onnx"))
    names = ("first", "second", "third")
    return {name: Model(bundle, Config(max_sessions=1, max_batch=1), name) for name in names}


@pytest.fixture
def catalogue(models):
    return Catalogue(models, "first")


def names(catalogue):
    return [catalogue.model(None, vehicle).name for vehicle in VEHICLES]


def test_a_model_is_served_under_its_contract_s_name_or_another(models):
    assert models["second"].name == models["second"].queue.name == "second"
    assert Model(models["first"].bundle, Config(max_sessions=1)).name == "tiny"


def test_all_vehicles_get_the_default_or_what_they_ask_for(catalogue):
    assert set(names(catalogue)) == {"first"}
    assert catalogue.model("third", "car").name == "third"
    with pytest.raises(UnknownModelError, match="choose one of"):
        catalogue.model("fourth", "car")


def test_shares_of_vehicles_get_other_models_and_always_the_same(catalogue):
    catalogue.route("first", {"second": 0.25, "third": 0.05})
    found = names(catalogue)
    assert found == names(catalogue)
    assert found.count("second") == pytest.approx(500, abs=60)
    assert found.count("third") == pytest.approx(100, abs=30)


def test_more_of_a_share_moves_only_vehicles_of_the_default(catalogue):
    catalogue.route("first", {"third": 0.05})
    before = names(catalogue)
    catalogue.route("first", {"third": 0.10})
    moved = [(old, new) for old, new in zip(before, names(catalogue), strict=True) if old != new]
    assert moved
    assert set(moved) == {("first", "third")}


def test_whole_shares_may_be_given_in_parts(catalogue):
    catalogue.route("first", {"second": 0.9, "third": 0.1})
    assert "first" not in names(catalogue)


@pytest.mark.parametrize(
    ("default", "shares", "error"),
    [
        ("first", {"second": 1.1}, RoutingError),
        ("first", {"second": -0.1}, RoutingError),
        ("first", {"second": float("nan")}, RoutingError),
        ("first", {"second": 0.6, "third": 0.6}, RoutingError),
        ("first", {"first": 0.1}, RoutingError),
        ("first", {"fourth": 0.1}, UnknownModelError),
        ("first", {"": 0.1}, UnknownModelError),
        ("fourth", {}, UnknownModelError),
        ("", {}, UnknownModelError),
    ],
)
def test_wrong_shares_change_nothing(catalogue, default, shares, error):
    catalogue.route("second", {"third": 0.1})
    with pytest.raises(error):
        catalogue.route(default, shares)
    assert (catalogue.default, dict(catalogue.shares)) == ("second", {"third": 0.1})


def test_a_model_comes_and_goes_with_its_share(models):
    catalogue = Catalogue({"first": models["first"]}, "first")
    catalogue.add(models["second"])
    with pytest.raises(RoutingError, match="already"):
        catalogue.add(models["second"])
    catalogue.route("first", {"second": 0.5})
    assert catalogue.remove("second") is models["second"]
    assert set(names(catalogue)) == {"first"}
    with pytest.raises(RoutingError, match="default"):
        catalogue.remove("first")
    with pytest.raises(UnknownModelError):
        catalogue.remove("second")


def test_a_change_without_a_name_is_not_one_of_the_default(catalogue):
    with pytest.raises(UnknownModelError):
        catalogue.remove("")
    with pytest.raises(UnknownModelError):
        catalogue.named("")


def test_places_are_spread_evenly_and_differ_by_purpose():
    places = [place_of(vehicle, "model") for vehicle in VEHICLES]
    assert 0.0 <= min(places) < max(places) < 1.0
    assert sum(places) / len(places) == pytest.approx(0.5, abs=0.03)
    assert places != [place_of(vehicle, "shadow") for vehicle in VEHICLES]
