"""Real servers that are killed, stopped and drained in the middle of a drive."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import signal

import numpy as np
import pytest

import steerstream
from steerstream import Action, Command, DriveState, FramePolicy, GuardReason, HandOver
from steerstream.testing.server_process import serve
from tests.service import bundles

FRAMES = 40
BREAK_AT = 23
PERIOD_NS = 50_000_000
BUDGET_MS = 10_000.0
SILENT_AFTER_MS = 3_000.0
"""The budget where a server is stopped, which is silence only after it."""
PATIENCE_S = 60.0
"""However slow this machine is just now, no answer is late for it."""
PATIENT = HandOver(attempt_timeout_s=20.0, give_up_after_s=PATIENCE_S)
SIGNALS = [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM]


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text(f"fleet = {base64.b64encode(os.urandom(32)).decode()}\n")
    return {"ticket_keys": str(path), "ticket_every_frames": 5}


def kill(server, number):
    assert server.pid is not None
    os.kill(server.pid, number)


def picture(number):
    generator = np.random.default_rng(number)
    return generator.integers(0, 200, (32, 64, 3), dtype=np.uint8)


def told(command):
    """What must be as if nothing had happened."""
    assert isinstance(command, Command)
    return (
        command.sequence_number,
        command.raw,
        command.limited,
        command.active_limits,
        command.validity,
        command.alive_counter,
        command.state_epoch,
        command.step_count,
    )


async def driven(targets, *, budget_ms=BUDGET_MS, break_now=None, changes=None):
    """Drive all frames in lock-step; returns what was answered."""
    answers = []
    async with (
        steerstream.connect(targets) as client,
        client.drive_session(
            vehicle_id="car",
            frame_policy=FramePolicy.EVERY,
            budget_ms=budget_ms,
            hand_over=PATIENT,
            on_change=None if changes is None else changes.append,
        ) as session,
    ):
        for number in range(FRAMES):
            if number == BREAK_AT and break_now is not None:
                break_now()
            if number == FRAMES - 5 and break_now is not None:
                # Frames go on while a server drains; the last ones are for the other server.
                async with asyncio.timeout(PATIENCE_S):
                    await _until(lambda: session.change.target == targets[-1])
            answer = await session.request(
                picture(number), capture_time_ns=PERIOD_NS * (number + 1), timeout_s=PATIENCE_S
            )
            answers.append(told(answer))
    return answers


@pytest.mark.parametrize(
    "write", [bundles.recurrent, bundles.remembering], ids=lambda write: write.__name__
)
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_server_that_goes_costs_no_answer(tmp_path, settings, write, number):
    path = write(tmp_path / "a.onnx")
    changes: list[steerstream.SessionChange] = []
    with (
        serve(path, settings=settings) as first,
        serve(path, settings=settings) as second,
        contextlib.ExitStack() as stack,
    ):
        expected = asyncio.run(driven([first.address]))
        if number is signal.SIGSTOP:
            stack.callback(kill, first, signal.SIGCONT)
        found = asyncio.run(
            driven(
                [first.address, second.address],
                budget_ms=SILENT_AFTER_MS if number is signal.SIGSTOP else BUDGET_MS,
                break_now=lambda: kill(first, number),
                changes=changes,
            )
        )
    assert found == expected
    driving = [change for change in changes if change.state is DriveState.DRIVING]
    assert [change.target for change in driving] == [first.address, second.address]
    assert driving[-1].with_state


def test_a_server_with_other_keys_gives_a_fresh_session_that_warms_up(tmp_path, settings):
    path = bundles.recurrent(tmp_path / "a.onnx", warm_up_steps=30)
    others = {**settings, "ticket_keys": ""}
    changes: list[steerstream.SessionChange] = []
    with serve(path, settings=settings) as first, serve(path, settings=others) as second:
        found = asyncio.run(
            driven(
                [first.address, second.address],
                break_now=lambda: kill(first, signal.SIGKILL),
                changes=changes,
            )
        )
    last = [change for change in changes if change.state is DriveState.DRIVING][-1]
    assert not last.with_state
    assert found[-1][-1] < FRAMES, "the state has not seen the frames before the break"
    assert found[-1][4] is steerstream.Validity.WARMING_UP


async def test_a_vehicle_holds_over_a_loss_and_then_follows_again(tmp_path, settings):
    """Under LATEST, with a camera's frames: no answer is asked for, and time passes."""
    path = bundles.recurrent(tmp_path / "a.onnx")
    with serve(path, settings=settings) as first, serve(path, settings=settings) as second:
        async with (
            steerstream.connect([first.address, second.address]) as client,
            client.drive_session(
                vehicle_id="car", budget_ms=BUDGET_MS, hand_over=PATIENT
            ) as session,
            asyncio.timeout(PATIENCE_S),
        ):
            sending = asyncio.create_task(_send(session))
            try:
                await _until(lambda: session.safe_command().action is Action.FOLLOW)
                kill(first, signal.SIGKILL)
                await _until(lambda: session.state is DriveState.RESUMING)
                safe = session.safe_command()
                assert safe.action in {Action.HOLD, Action.RELEASE}
                assert GuardReason.RESUMING in safe.reasons
                await _until(lambda: session.state is DriveState.DRIVING)
                await _until(lambda: session.safe_command().action is Action.FOLLOW)
            finally:
                sending.cancel()


async def _send(session):
    for number in range(10_000):
        await session.send_frame(picture(number))
        await asyncio.sleep(0.05)


async def _until(condition):
    while not condition():  # noqa: ASYNC110 - nothing else tells
        await asyncio.sleep(0)
