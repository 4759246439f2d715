"""What sessions ask for: shares of the engine, the event loop and the CPU."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerstream_service.admission.load import Claim, Costs, Demand, Load
from steerstream_service.admission.picture_cost import NO_PICTURE, PictureTime
from tests.service.costs import table

MS = 1_000_000
EDGE_NS = 2**26
"""67 ms: the lower edge of a class of budgets, as are its halves, so that nothing is rounded."""
CPU = table(lambda size: size)
GPU = table(lambda size: 0.25 + size * 0.005, max_batch=64, pads=True)


def costs(*, cpu_ms=1.0, loop_ms=0.1, cores=1.0, **steps):
    return Costs(steps or {"m": CPU}, cpu_ms * MS, loop_ms * MS, cores)


def demand(rate_hz=20.0, budget_ns=EDGE_NS, model="m"):
    return Demand(model, rate_hz, budget_ns)


def load_of(*demands):
    load = Load()
    for each in demands:
        load.add(Claim(each, NO_PICTURE))
    return load


def shares(load, measured):
    return {share.resource: share.value for share in load.shares(measured)}


def test_an_empty_server_has_everything_left():
    assert set(shares(Load(), costs()).values()) == {0.0}


def test_utilisation_is_rate_times_cost():
    found = shares(load_of(*[demand()] * 10), costs(cpu_ms=2, loop_ms=0.5, cores=2))
    assert found["CPU"] == pytest.approx(0.2, rel=0.01)
    assert found["event loop"] == pytest.approx(0.1, rel=0.02)
    assert found["engine"] == pytest.approx(0.2, rel=0.02)


def test_large_steps_make_frames_cheap_where_there_are_many_sessions():
    alone = shares(load_of(demand()), costs(m=GPU))["engine"]
    crowd = shares(load_of(*[demand()] * 64), costs(m=GPU))["engine"]
    assert crowd < 4 * alone


def test_a_tight_budget_asks_for_more_than_its_rate():
    tight = load_of(*[demand(budget_ns=EDGE_NS // 8)] * 4)
    assert shares(tight, costs(loop_ms=0))["engine"] == pytest.approx(
        0.85 * 4 * MS / (EDGE_NS // 8), rel=0.01
    )


def test_a_step_for_a_later_deadline_stands_in_the_way_of_a_tight_budget():
    tight, loose = demand(budget_ns=EDGE_NS // 8), demand(budget_ns=EDGE_NS)
    alone = shares(load_of(tight), costs(loop_ms=0))["engine"]
    both = shares(load_of(tight, loose), costs(loop_ms=0))["engine"]
    assert both == pytest.approx(2 * alone, rel=0.01)


def test_a_budget_that_is_used_up_elsewhere_leaves_nothing():
    assert shares(load_of(demand(budget_ns=EDGE_NS // 8)), costs(loop_ms=9))["engine"] == float(
        "inf"
    )


def test_a_step_that_was_kept_off_its_core_takes_no_more_than_the_frame_s_cpu_time():
    """On one core the steps last longer the more frames are decoded meanwhile."""
    load = load_of(*[demand()] * 12)
    slow = costs(m=table(lambda size: 4 * size))
    assert shares(load, slow)["engine"] == pytest.approx(0.96, rel=0.01)
    bounded = dataclasses.replace(slow, most_ns=2 * MS)
    assert shares(load, bounded)["engine"] == pytest.approx(0.48, rel=0.01)
    quick = dataclasses.replace(bounded, steps={"m": CPU})
    assert shares(load, quick)["engine"] == pytest.approx(0.24, rel=0.01)


def test_each_session_answers_for_its_own_pictures():
    load = Load()
    vehicle, dear = PictureTime(1 * MS, 0.5 * MS), PictureTime(8 * MS, 4 * MS)
    for picture in (vehicle, dear):
        load.add(Claim(demand(), picture))
    found = shares(load, costs(cpu_ms=1, loop_ms=0.5, cores=2))
    assert found["CPU"] == pytest.approx(20 * (2 * 1 + 1 + 8) / 1000 / 2, rel=0.02)
    assert found["event loop"] == pytest.approx(20 * (2 * 0.5 + 0.5 + 4) / 1000, rel=0.05)
    assert found["engine"] == shares(load_of(demand(), demand()), costs(loop_ms=0.5))["engine"]


def test_pictures_that_get_dearer_are_counted_so_and_given_back_so():
    load, claim = load_of(demand()), Claim(demand(), NO_PICTURE)
    before = shares(load, costs())
    load.add(claim)
    load.change(claim, PictureTime(8 * MS, 4 * MS))
    assert shares(load, costs())["CPU"] == pytest.approx(20 * (2 * 1 + 8) / 1000, rel=0.02)
    load.remove(claim)
    assert shares(load, costs()) == pytest.approx(before)


def test_models_share_the_engine():
    mixed = load_of(*[demand()] * 10, *[demand(model="n")] * 10)
    both = costs(m=CPU, n=table(lambda size: 2 * size))
    assert shares(mixed, both)["engine"] == pytest.approx(0.6, rel=0.05)


demands = st.lists(
    st.builds(
        Demand,
        st.sampled_from(["m", "n"]),
        st.floats(0.5, 100),
        st.integers(2 * MS, 10_000 * MS),
    ),
    max_size=30,
)


@given(demands)
def test_a_session_more_never_asks_for_less_and_leaving_gives_all_back(asked):
    load, measured = Load(), costs(m=CPU, n=CPU)
    before = [load.shares(measured)]
    claims = [Claim(each, NO_PICTURE) for each in asked]
    for each in claims:
        load.add(each)
        before.append(load.shares(measured))
    for earlier, later in itertools.pairwise(before):
        assert all(b.value >= a.value - 1e-9 for a, b in zip(earlier, later, strict=True))
    for each in claims:
        load.remove(each)
    assert load.shares(measured) == before[0]


@given(demands)
def test_budgets_are_rounded_down_by_little(asked):
    for each in asked:
        (row,) = load_of(each)._by_key.values()
        assert 0.975 * each.budget_ns <= row.budget_ns <= each.budget_ns * (1 + 1e-9)
