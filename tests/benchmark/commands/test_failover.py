"""Two servers, of which one goes away: on real servers, with no answer other than without that."""

from __future__ import annotations

import dataclasses

import pytest

from benchmark.commands import failover
from benchmark.commands.failover import FAULTS
from benchmark.failover import road, tickets
from steerstream.drive_session import DriveSession
from steerstream.kept_frames import KeptFrames
from tests.benchmark.test_main import run

SMALL = ["--sessions", "10", "--vehicles", "2", "--frames", "50", "--rounds", "1", "--paced", "1"]
SMALL += ["--seconds", "1", "--budget-ms", "2000", "--size", "64x48"]


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(road, "SECONDS", 4.0)
    monkeypatch.setattr(tickets, "_TURNS", 2)
    monkeypatch.setattr(tickets, "_TURN_FRAMES", 20)
    monkeypatch.setattr(failover, "_BUNDLE_SESSIONS", 2)


@pytest.fixture
def bundles(bundle_path, tmp_path):
    """A folder with this bundle alone."""
    folder = tmp_path / "bundles"
    folder.mkdir()
    (folder / bundle_path.name).symlink_to(bundle_path)
    return folder


def test_every_fault_costs_no_answer(bundle_path, bundles, tmp_path):
    results = run(bundle_path, tmp_path, "failover", *SMALL, f"--bundles={bundles}")
    assert (results["sessions"], results["answers"]) == (10, 500)
    assert (results["wrong"], results["fresh"]) == (0, 0)
    assert list(results["road"]) == ["there", "killed", "cut off"]
    assert all(found["with_state"] for name, found in results["road"].items() if name != "there")
    # A machine that stands still looks like a dead network: the vehicle may change servers then.
    there = results["road"]["there"]
    assert there["gap_ms"] is None or there["with_state"]
    costs = results["tickets"]["bundles"][bundle_path.stem]
    assert costs["ticket_bytes"] > 0
    assert costs["longest_hand_over_ms"] > 0
    assert costs["largest_difference"] == 0.0, "the same network in batches of one"
    assert (costs["killed"]["sessions"], costs["killed"]["wrong"]) == (2, 0)
    assert costs["views"]["ticket_bytes"] == costs["ticket_bytes"], "whatever the pictures are"
    assert results["tickets"]["processor"]["turns"] == 2
    for name in FAULTS:
        found = results["faults"][name]
        assert (found["sessions"], found["changes"], found["shown"]) == (2, 1, [])


@pytest.mark.parametrize("planted", ["frames are forgotten", "a counter stands still"])
def test_a_fault_in_the_hand_over_is_found(bundle_path, bundles, tmp_path, monkeypatch, planted):
    """The benchmark can fail: two faults of a client, each of which it must find."""
    if planted == "frames are forgotten":
        real_after = KeptFrames.after

        def after(self, order):
            # But the first, without which the server refuses the ticket: it is in the ring.
            first = next((kept.order for kept in real_after(self, -1) if kept.is_seen), None)
            following = real_after(self, order)
            return (kept for kept in following if not kept.is_seen or kept.order == first)

        monkeypatch.setattr(KeptFrames, "after", after)
    else:
        monkeypatch.setattr(DriveSession, "_settle", _stands_still(DriveSession._settle))
    monkeypatch.setattr(failover, "FAULTS", {"killed": FAULTS["killed"]})
    monkeypatch.setattr(failover, "_on_the_road", lambda _fleet: {})
    monkeypatch.setattr(failover, "_costs", lambda *_: None)
    results = run(bundle_path, tmp_path, "failover", *SMALL)
    assert results["wrong"] > 0
    assert results["faults"]["killed"]["shown"]


def _stands_still(settle):
    def settled(session, answer):
        if session.change.reason != "it was opened":
            answer = dataclasses.replace(answer, alive_counter=0)
        return settle(session, answer)

    return settled
