"""Episodes of an environment, driven by a policy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from steerstream.bridge.gymnasium.policy import Policy
from steerstream.drive.tally import Tally


@dataclasses.dataclass(frozen=True, slots=True)
class Episode:
    """How an episode went.

    Attributes:
        seed: with which the environment was reset.
        steps: that were taken.
        reward: their rewards, added up.
        has_terminated: whether the environment ended it, and not its time or this side.
    """

    seed: int
    steps: int
    reward: float
    has_terminated: bool


class LateActions:
    """Actions on their way to the vehicle, counted in steps of the environment.

    Args:
        first: what acts until one has arrived.
    """

    def __init__(self, first: Any) -> None:  # noqa: ANN401 - of the environment
        self._acting = first
        self._waiting: list[tuple[int, Any]] = []

    def put(self, step: int, action: Any) -> None:  # noqa: ANN401 - of the environment
        """Add an action that acts from a step on."""
        self._waiting.append((step, action))

    def at(self, step: int) -> Any:  # noqa: ANN401 - of the environment
        """Return the newest action that has arrived; those that it overtook never act."""
        for place in reversed(range(len(self._waiting))):
            if self._waiting[place][0] <= step:
                self._acting = self._waiting[place][1]
                del self._waiting[: place + 1]
                break
        return self._acting


def run_episode(
    environment: Any,  # noqa: ANN401 - Gymnasium is not imported here
    policy: Policy,
    *,
    seed: int,
    tally: Tally,
    delay_ms: float | None,
    is_stopped: Callable[[], bool],
) -> Episode:
    """Drive an episode to its end.

    The environment waits for each answer and then charges what it took, in whole steps: the action
    before it acts until then.

    Args:
        environment: of Gymnasium.
        policy: drives it.
        seed: of the episode.
        tally: counts the answers.
        delay_ms: from a picture to when its action acts, in place of what the answer really took;
            None for that.
        is_stopped: asked before each step; True ends the episode.
    """
    observation, info = environment.reset(seed=seed)
    policy.reset()
    actions = LateActions(policy.nothing_yet())
    steps, reward, terminated, truncated = 0, 0.0, False, False
    while not (is_stopped() or terminated or truncated):
        tally.sent()
        action, command, answer = policy.decide(observation, info)
        took_ms = tally.answered(answer, due_ns=answer.sent_ns, truth=None, action=command.action)
        late = int((took_ms if delay_ms is None else delay_ms) * policy.adapter.rate_hz / 1e3)
        actions.put(steps + late, action)
        observation, gained, terminated, truncated, info = environment.step(actions.at(steps))
        reward += float(gained)
        steps += 1
    return Episode(seed, steps, reward, bool(terminated))
