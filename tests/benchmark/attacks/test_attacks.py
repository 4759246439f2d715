"""Every attack, short and small: what it took is given back, and nobody is shut out for good."""

from __future__ import annotations

import pytest

from benchmark.attacks.attacks import ATTACKS
from benchmark.commands import attack
from benchmark.host.machine import split_cores
from benchmark.loadgen.open_loop import Load
from steerstream.testing.server_process import serve

SLOTS = 8
SILENT = {"rate_hz": 1.0, "budget_ms": 5_000.0}
# More than the server's slots, and few enough for a test.
SCALES = {"half-messages": 0.1, "half-requests": 0.1, "untaken-models": 0.1}
SCALES |= {
    "hostile-sessions": 0.2,
    "largest-pictures": 0.2,
    "idle-connections": 0.1,
    "control-frames": 0.0001,
    # One connection: several fill the line in which the probes of all wait.
    "rapid-reset": 0.01,
}
# However slow this machine is just now, nobody is refused for it.
SETTINGS = {"max_load": 100.0, "shed_after_s": 3600.0, "idle_timeout_s": 2.0}
SETTINGS |= {"max_sessions": SLOTS, "expiring_notice_s": 0.5, "open_timeout_s": 2.0}


@pytest.fixture(scope="module")
def server(bundle_path):
    with serve(bundle_path, settings=SETTINGS) as running:
        yield running


@pytest.fixture(scope="module")
def around():
    with attack.surroundings(split_cores()[1]) as started:
        yield started


def test_beside_neighbours_what_the_vehicles_miss_is_told(server, around, monkeypatch):
    """How much that is, is for the benchmark to say."""
    monkeypatch.setattr(attack, "_BUSY", 3)
    monkeypatch.setattr(attack, "VEHICLES", 1)
    cores = split_cores()[0]
    found = attack.beside_neighbours(server, around, cores, beside_s=1.0, settled_s=0.5)
    assert (found["processes"], found["vehicles"]) == (3, 2)
    assert found["whole"]["frames"] == 40
    assert found["settled"]["frames"] == 10
    assert found["let_go"] == 0, "by its settings"
    assert found["newcomers"] > 0
    assert found["healed_s"] is not None
    results = {"attacks": [], "neighbours": found | {"healed_s": None}}
    assert "Beside 3 busy processes on the server's cores for 1 s, 2 vehicles missed" in (
        attack.table(results)
    )
    assert "not within a minute" in attack.table(results)


def test_the_first_moments_of_an_attack_are_measured(around):
    load = Load(vehicles=6, rate_hz=20.0, seconds=8.5, budget_ms=50.0, pictures=around.pictures)
    counted_from_s = load.total_s - load.seconds
    assert counted_from_s + 0.1 < attack.begins_s(load) < load.total_s


@pytest.mark.parametrize("name", ATTACKS)
def test_slots_come_back_after_an_attack(server, around, name, monkeypatch):
    monkeypatch.setattr(attack, "WARM_UP_S", 0.3)
    monkeypatch.setattr(attack, "BEFORE_S", 0.0)
    monkeypatch.setattr(attack, "VEHICLES", 1)
    found = attack.besiege(
        server, around, name, 0.5, slots=SLOTS, scale=SCALES.get(name, 0.5), after_s=0.0
    )
    assert found["tried"] is not None
    assert not found["is_shut_out"], str(found["vehicle"])
    # A probe may be late on a busy machine; refused it never is.
    assert set(found["health_failed"]) <= {"DEADLINE_EXCEEDED"}
    reopened_s = around.crew.probe(
        "reopen",
        server.address,
        around.pictures,
        transport="drive",
        sessions=SLOTS,
        limit_s=30.0,
    )
    assert reopened_s is not None
    assert around.room(server.address, most=SLOTS, **SILENT) == SLOTS
