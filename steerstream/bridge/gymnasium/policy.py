"""A session as a policy: observations in, actions out."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from steerstream.answers import FrameAnswer
from steerstream.arguments import instance
from steerstream.blocking import Session
from steerstream.bridge.gymnasium.adapters import Adapter, Info
from steerstream.errors import BadRequest
from steerstream.guard import Action, SafeCommand
from steerstream.images import Encoding
from steerstream.models import FramePolicy

_BETWEEN_EPISODES_S = 1.0
"""Of the capture times, so that no command is limited by one of the episode before."""


class Decision(NamedTuple):
    """What was decided on a picture.

    Attributes:
        action: of the environment.
        command: what the guard made of the answer.
        answer: of the server.
    """

    action: Any
    command: SafeCommand
    answer: FrameAnswer


class Policy:
    """Drives an environment through a session, in lock-step.

    ```python
    with client.open_session(
        vehicle_id="gym", frame_policy=FramePolicy.EVERY, frame_rate_hz=adapter.rate_hz, live=False
    ) as session:
        policy = Policy(session, adapter)
        observation, info = environment.reset()
        observation, *_ = environment.step(policy(observation, info))
    ```

    Args:
        session: opened with `FramePolicy.EVERY` and `live=False`, because the environment has its
            own time.
        adapter: what the environment's pictures and actions mean.
        encoding: how pixels are sent.

    The adapter is an attribute too.

    Raises:
        BadRequest: an argument is of another type, or the session's frame policy is LATEST.
    """

    def __init__(
        self, session: Session, adapter: Adapter, *, encoding: Encoding = Encoding.RGB8
    ) -> None:
        instance("session", session, Session)
        instance("adapter", adapter, Adapter)
        if session.info.frame_policy is not FramePolicy.EVERY:
            raise BadRequest("a policy needs a session with frame_policy=FramePolicy.EVERY")
        self.adapter = adapter
        self._session = session
        self._encoding = encoding
        self._time_s = 0.0

    def reset(self) -> None:
        """Begin an episode: set the network's recurrent state back.

        Raises:
            SessionEnded: the session is over.
        """
        self._session.reset()
        self._time_s += _BETWEEN_EPISODES_S

    def __call__(self, observation: Any, info: Info) -> Any:  # noqa: ANN401 - of the environment
        """Return the action for an observation.

        Args:
            observation: of the environment.
            info: what came with it.

        Raises:
            AnswerTimeout: no answer came in time; the session is alive.
            BadRequest: the observation's picture is none.
            SessionEnded: the session is over.
        """
        return self.decide(observation, info).action

    def decide(self, observation: Any, info: Info) -> Decision:  # noqa: ANN401 - of the environment
        """Return the action for an observation, and how it came about; see `__call__`."""
        adapter = self.adapter
        answer = self._session.request(
            adapter.to_picture(observation),
            capture_time_ns=round(self._time_s * 1e9),
            vehicle_speed_mps=None if adapter.speed_mps is None else adapter.speed_mps(info),
            encoding=self._encoding,
        )
        self._time_s += 1.0 / adapter.rate_hz
        command = self._session.safe_command()
        return Decision(adapter.to_action(command), command, answer)

    def nothing_yet(self) -> Any:  # noqa: ANN401 - of the environment
        """Return the action of a vehicle that has no command."""
        return self.adapter.to_action(SafeCommand(Action.RELEASE, None, None, None, math.inf, ()))
