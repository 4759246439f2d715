"""What one vehicle, one identity and one address may hold, and that all of it comes back."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerstream_service.admission.shares import Holder, Shares
from steerstream_service.config import Config
from steerstream_service.errors import ShareTakenError


def shares(**settings):
    return Shares(Config(**settings))


def test_a_second_session_of_a_vehicle_takes_the_place_of_the_first():
    held = shares()
    assert held.check("car", Holder()) is None
    held.add("first", "car", Holder())
    assert held.check("car", Holder()) == "first"
    assert held.check("other", Holder()) is None
    held.remove("first")
    assert held.check("car", Holder()) is None


def test_or_it_is_refused():
    held = shares(second_session="refuse")
    held.add("first", "car", Holder())
    with pytest.raises(ShareTakenError, match="this vehicle has a session already"):
        held.check("car", Holder())
    held.remove("first")
    assert held.check("car", Holder()) is None


def test_or_it_is_refused_unless_it_goes_on_from_the_very_session_that_has_the_place():
    held = shares(second_session="refuse")
    mine = Holder("mine", "10.0.0.1")
    held.add("second", "car", mine)
    for holder, goes_on_from in (
        (mine, None),
        (mine, "first"),
        (Holder("yours", "10.0.0.1"), "second"),
        (Holder(None, "10.0.0.1"), "second"),
    ):
        with pytest.raises(ShareTakenError, match="open with its last ticket"):
            held.check("car", holder, goes_on_from)
    assert held.check("car", Holder("mine", "10.0.0.2"), "second") == "second"
    assert held.check("other", mine, "second") is None


@pytest.mark.parametrize(
    ("setting", "field"),
    [("max_sessions_per_identity", "identity"), ("max_sessions_per_address", "address")],
)
def test_an_identity_and_an_address_have_their_share_and_no_more(setting, field):
    held = shares(**{setting: 2})
    mine, yours = Holder(**{field: "mine"}), Holder(**{field: "yours"})
    for name in ("a", "b"):
        held.check(name, mine)
        held.add(name, name, mine)
    with pytest.raises(ShareTakenError, match=r"mine.* has all 2 sessions of an"):
        held.check("c", mine)
    held.check("c", yours)
    assert held.check("a", mine) == "a", "one that takes over needs no room"
    held.remove("b")
    held.check("c", mine)


def test_an_address_has_no_bound_by_default_and_nobody_s_sessions_have_none():
    held = shares()
    for number in range(100):
        holder = Holder(None, "10.0.0.1")
        held.check(f"car-{number}", holder)
        held.add(f"{number}", f"car-{number}", holder)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(0, 1)), max_size=60))
def test_no_history_lets_anybody_above_the_share_or_leaves_a_count_behind(history):
    held = shares(max_sessions_per_identity=2, max_sessions_per_address=3)
    live = {}
    for number, (vehicle, identity, address) in enumerate(history):
        vehicle_id, holder = f"car-{vehicle}", Holder(f"who-{identity}", f"10.0.0.{address}")
        try:
            older = held.check(vehicle_id, holder)
        except ShareTakenError:
            continue
        assert (older is None) == (vehicle_id not in live)
        if older is not None:
            assert live[vehicle_id][0] == older
            held.remove(older)
        held.add(str(number), vehicle_id, holder)
        live[vehicle_id] = str(number), holder
        assert max(Counter(holder.identity for _, holder in live.values()).values()) <= 2
        assert max(Counter(holder.address for _, holder in live.values()).values()) <= 3
    for session_id, _ in live.values():
        held.remove(session_id)
    assert not any((held._of_vehicles, held._held, held._identities, held._addresses))
