from __future__ import annotations

import pytest

import steerstream.blocking
from steerstream import FramePolicy
from steerstream.bridge.gymnasium import Policy
from steerstream.bridge.gymnasium.episodes import Episode, LateActions, run_episode
from steerstream.drive.tally import Tally
from steerstream.testing import FakeServer, Reply
from tests.steerstream.bridge.gymnasium import cars

ANGLES = [0.1, 0.2, 0.3, 0.4, 0.5]


def run(*, seed=0, delay_ms=0.0, is_stopped=lambda: False, latency_ms=0.0):
    """An episode whose commands are `ANGLES`, and the actions that its car took."""
    cars.MOVES.clear()
    server = FakeServer([Reply(angle) for angle in ANGLES], latency_ms=latency_ms)
    tally = Tally(50.0)
    with (
        steerstream.blocking.connect("fake", transport=server.transport()) as client,
        client.open_session(
            vehicle_id="gym", frame_policy=FramePolicy.EVERY, live=False
        ) as session,
    ):
        policy = Policy(session, cars.adapter(None))
        episode = run_episode(
            cars.Car(), policy, seed=seed, tally=tally, delay_ms=delay_ms, is_stopped=is_stopped
        )
    return episode, [round(move, 3) for move in cars.MOVES], tally


def test_an_episode_adds_up_its_rewards():
    episode, moves, tally = run()
    assert moves == ANGLES
    assert episode == Episode(0, 5, episode.reward, has_terminated=False)
    assert episode.reward == pytest.approx(1.5)
    assert (tally.frames, tally.commands) == (5, 5)


def test_an_episode_that_the_environment_ends_is_told_from_one_whose_time_is_up():
    assert run(seed=1)[0].has_terminated


@pytest.mark.parametrize(
    ("delay_ms", "moves"),
    [(99.0, ANGLES), (100.0, [-1.0, *ANGLES[:4]]), (250.0, [-1.0, -1.0, *ANGLES[:3]])],
)
def test_a_late_action_acts_whole_steps_later(delay_ms, moves):
    assert run(delay_ms=delay_ms)[1] == moves


def test_what_an_answer_took_is_charged():
    moves = run(delay_ms=None, latency_ms=110.0)[1]
    assert moves[0] == -1.0


def test_an_action_that_was_overtaken_never_acts():
    actions = LateActions("none")
    actions.put(2, "first")
    actions.put(1, "second")
    assert [actions.at(step) for step in range(4)] == ["none", "second", "second", "second"]


def test_an_episode_is_stopped_between_two_steps():
    stops = iter([False, False, True])
    episode, moves, _ = run(is_stopped=lambda: next(stops))
    assert moves == ANGLES[:2]
    assert (episode.steps, episode.has_terminated) == (2, False)
