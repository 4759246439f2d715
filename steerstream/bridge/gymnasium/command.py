"""The command `bridge gymnasium`: options in, exit code out."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import steerstream.blocking
from steerstream.bridge.gymnasium.adapters import KNOWN, Adapter, shipped
from steerstream.bridge.gymnasium.episodes import Episode, run_episode
from steerstream.bridge.gymnasium.policy import Policy
from steerstream.bridge.options import add_session_options, session_arguments
from steerstream.command_line import (
    INTERRUPTED,
    at_interrupt,
    count,
    not_negative,
    whole,
    write_result,
)
from steerstream.connection_options import connection_arguments
from steerstream.drive import report
from steerstream.drive.tally import Tally
from steerstream.errors import BadRequest
from steerstream.extras import command_needs
from steerstream.models import FramePolicy, SessionInfo

_NAME = "steerstream bridge gymnasium"
_OF_BOX2D = {"Box2D", "pygame"}
"""What the extra `rl` brings beside Gymnasium; other environments need packages of their own."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bridge gymnasium`."""
    add = parser.add_argument
    add("environment", metavar="ENV_ID", help="as `gymnasium.make` takes it, MODULE:ID where a"
        f" module must register it. With an adapter that ships: {', '.join(KNOWN)}")  # fmt: skip
    add("--adapter", metavar="MODULE:FUNCTION", help="a function that takes the environment and"
        " returns its Adapter (default: the one that ships)")  # fmt: skip
    add("--episodes", type=count, default=1, help="how many (default: 1)")
    add("--seed", type=whole, default=0, help="of the first episode; each further one has the next"
        " (default: 0)")  # fmt: skip
    add("--delay-ms", type=not_negative, metavar="MS", help="an action acts so long after its"
        " picture, in place of what the answer really took, in whole steps")  # fmt: skip
    add_session_options(parser)


async def run(options: argparse.Namespace) -> int:
    """Run `bridge gymnasium`.

    Raises:
        SteerstreamError: something is wrong with the options, the environment or the server.
    """
    stop = threading.Event()
    with at_interrupt(stop.set):
        # In a thread, because environments block: Ctrl-C is heard all the same.
        await asyncio.to_thread(_drive, options, stop.is_set)
    return INTERRUPTED if stop.is_set() else 0


def _drive(options: argparse.Namespace, is_stopped: Callable[[], bool]) -> None:
    environment, adapter = _made(options.environment, options.adapter)
    try:
        with (
            steerstream.blocking.connect(options.target, **connection_arguments(options)) as client,
            client.open_session(
                **session_arguments(options),
                frame_policy=FramePolicy.EVERY,
                frame_rate_hz=adapter.rate_hz,
                camera=adapter.camera,
                live=False,
            ) as session,
        ):
            policy = Policy(session, adapter)
            tally, began_s = Tally(options.budget_ms), time.monotonic()
            episodes = []
            for seed in range(options.seed, options.seed + options.episodes):
                if is_stopped():
                    break
                episode = run_episode(
                    environment,
                    policy,
                    seed=seed,
                    tally=tally,
                    delay_ms=options.delay_ms,
                    is_stopped=is_stopped,
                )
                episodes.append(episode)
                print(_line(episode), flush=True)
            tally.sent_bytes = session.sent_bytes
            _show(options, tally, session.info, episodes, time.monotonic() - began_s)
    finally:
        environment.close()


def _made(environment_id: str, adapter_name: str | None) -> tuple[Any, Adapter]:
    with command_needs(_NAME, "rl"):
        gymnasium = importlib.import_module("gymnasium")
    known = shipped(environment_id)
    if adapter_name is not None:
        adapter_of, arguments = _function(adapter_name), {}
    elif known is not None:
        adapter_of, arguments = known[0], dict(known[1])
    else:
        raise BadRequest(f"{environment_id} has no adapter that ships; give --adapter")
    try:
        environment = gymnasium.make(environment_id, **arguments)
    except (gymnasium.error.Error, ImportError) as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name in _OF_BOX2D:
            with command_needs(_NAME, "rl"):
                raise cause from error
        raise BadRequest(f"cannot make {environment_id}: {error}") from error
    return environment, adapter_of(environment)


def _function(name: str) -> Callable[[Any], Adapter]:
    module, _, attribute = name.partition(":")
    try:
        function: Callable[[Any], Adapter] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadRequest(f"--adapter needs MODULE:FUNCTION, not {name!r}: {error}") from error
    return function


def _line(episode: Episode) -> str:
    end = "terminated" if episode.has_terminated else "in time"
    return (
        f"seed {episode.seed:>6}  reward {episode.reward:>9.2f}  in {episode.steps:>6} steps, {end}"
    )


def _show(
    options: argparse.Namespace,
    tally: Tally,
    info: SessionInfo,
    episodes: list[Episode],
    elapsed_s: float,
) -> None:
    if not tally.frames:
        return
    mean = statistics.fmean(episode.reward for episode in episodes)
    print(f"reward {mean:.2f} a mean of {len(episodes)}\n")
    print(report.as_table(tally, info, elapsed_s=elapsed_s))
    if options.json:
        result = report.as_json(tally, info, source=options.environment, elapsed_s=elapsed_s)
        listed = [
            {
                "seed": episode.seed,
                "steps": episode.steps,
                "reward": episode.reward,
                "terminated": episode.has_terminated,
            }
            for episode in episodes
        ]
        write_result(options.json, {**result, "reward_mean": mean, "episodes": listed})
