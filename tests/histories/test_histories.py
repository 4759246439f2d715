"""A few hundred simulated histories, those that once failed, and the checker itself."""

from __future__ import annotations

import collections

import pytest

from tests.histories.model import lines, violations
from tests.histories.scenario import Histories

HISTORIES, IN_A_TEST = 200, 100
KEPT = {
    157: "a server that could not keep the budget ended the session, although another could",
    204: "a server that had skipped a replayed frame was taken all the same",
    214: "more frames were played again at once than may wait at the server",
    221: "a server that had seen a frame that the one before had skipped was taken all the same",
    2409: "a server waited for a ticket's frames, which were let go of while it opened",
    2956: "the model took a ticket's command for as old as its frame, when that was played again",
    4572: "frames waited behind resets that are read ten a second, and every server was left",
    6481: "the model knew nothing of an answer that the guard had and the program never read",
}
"""Seeds that found a fault, with the fault. They keep their meaning as long as the scenarios stay
as they are; the fault itself has a test beside the code."""


@pytest.fixture(scope="module")
def histories():
    with Histories() as made:
        yield made


def broken(history):
    return "\n".join([f"seed {history.seed}", *lines(violations(history))])


@pytest.mark.parametrize("first", range(0, HISTORIES, IN_A_TEST))
def test_no_history_breaks_an_invariant(histories, first):
    kinds = collections.Counter()
    for seed in range(first, first + IN_A_TEST):
        history = histories.run(seed)
        assert not violations(history), broken(history)
        for server in history.servers:
            kinds["crash"] += server.crashed_ns is not None
            for stream in server.streams:
                kinds[stream.reason] += 1
                for _, message in stream.events:
                    kind = message.WhichOneof("message")
                    kinds[kind] += 1
                    if kind == "opened":
                        kinds["resumed"] += message.opened.resumed
                    elif kind == "frame":
                        kinds["replayed"] += message.frame.replayed
    # A simulation in which nothing happens would find nothing.
    least = {
        "crash": 20,
        "command": 2_400,
        "skipped": 100,
        "resumed": 10,
        "replayed": 100,
        "ERROR_REASON_DRAINING": 20,
        "ERROR_REASON_TOO_MANY_SESSIONS": 2,
    }
    assert {kind: count for kind, count in least.items() if kinds[kind] < count} == {}


@pytest.mark.parametrize("seed", KEPT)
def test_a_history_that_once_broke_an_invariant_does_not(histories, seed):
    history = histories.run(seed)
    assert not violations(history), broken(history)


def test_a_seed_makes_the_same_history_again(histories):
    for seed in (3, 5, 8):
        first, second = histories.run(seed), histories.run(seed)
        assert len(first.trace()) > 100
        assert first.trace() == second.trace()
        assert first.plan == second.plan


def test_histories_leave_nothing_in_memory(histories):
    before = histories.left_in_memory()
    for seed in range(20):
        histories.run(seed)
    assert histories.left_in_memory() == before
