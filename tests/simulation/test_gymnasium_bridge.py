"""The bridge to Gymnasium with the real server, the bundle that ships and the real world."""

from __future__ import annotations

import gymnasium

import steerstream.blocking
from steerstream import FramePolicy
from steerstream.bridge.gymnasium import Policy, road
from steerstream.bridge.gymnasium.episodes import run_episode
from steerstream.drive.tally import Tally
from steerstream.testing.server_process import serve
from steerstream_simulation.environment import ENVIRONMENT_ID

SECONDS = 6.0
BUDGET_MS = 1000.0
"""No frame is late, however busy this machine is: a command acts when it is told to."""


def test_the_network_that_ships_keeps_the_lane(bundle_path):
    environment = gymnasium.make(ENVIRONMENT_ID, seconds=SECONDS, physical_actions=True)
    adapter, tally = road(environment), Tally(BUDGET_MS)
    with (
        serve(bundle_path) as server,
        steerstream.blocking.connect(server.address) as client,
        client.open_session(
            vehicle_id="gym",
            budget_ms=BUDGET_MS,
            frame_policy=FramePolicy.EVERY,
            frame_rate_hz=adapter.rate_hz,
            camera=adapter.camera,
            live=False,
        ) as session,
    ):
        episode = run_episode(
            environment,
            Policy(session, adapter),
            seed=0,
            tally=tally,
            delay_ms=50.0,
            is_stopped=lambda: False,
        )
    assert (episode.steps, episode.has_terminated) == (120, False)
    assert tally.commands == 120
    # The expert earns 0.98 a step; an action acts a step late here.
    assert episode.reward > 0.9 * 120
