"""The loads, one for all transports: closed loop, paced, frame by frame for the state's check."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmark.peers.client.links import Answer, EndedError, Link, RefusedError, Terms, Transport

MS_PER_S = 1e3
_PATIENT_MS = 10_000.0
"""Budget of loads that only count: no server shall skip a frame for being late."""
_TOTAL_RATE_HZ = 2000.0
"""What the sessions of a closed loop state together: more than any server here answers."""
_HIGHEST_RATE_HZ = 500.0
"""What one of them states at most."""
_FEW = Terms(budget_ms=_PATIENT_MS, rate_hz=1.0, every=True)
"""For sessions that send few frames: no server shall refuse one for those it might send."""
SETTLE_S = 0.5
"""Frames that are due, or round trips that begin, before this time has passed are not counted."""
_OPEN_S = 20.0
"""A server that has not opened a session by then has refused it."""
_GRACE_S = 0.3
"""After the last frame is due: what is not answered by then is a miss by any budget in use."""
_RETRY_S = 0.05
_OUTPUTS_S = 20.0


async def outputs(
    transport: Transport, first_session: int, sequences: Sequence[Sequence[int]]
) -> list[list[tuple[float, ...] | None]]:
    """Run each sequence of pictures as a session, all at once, and return what each answered.

    Raises:
        RefusedError: a session was not opened.
        EndedError: a session ended early.
        TimeoutError: a session did not get all its answers.
    """

    async def one(index: int, pictures: Sequence[int]) -> list[tuple[float, ...] | None]:
        link = await transport.open(first_session + index, _FEW)
        found = []
        for number, picture in enumerate(pictures):
            await link.send(number, picture)
            found.append((await link.receive()).outputs)
        await link.close()
        return found

    async with asyncio.timeout(_OUTPUTS_S):
        return await asyncio.gather(*(one(index, each) for index, each in enumerate(sequences)))


async def closed(
    transport: Transport, first_session: int, pictures: int, *, sessions: int, seconds: float
) -> dict[str, float]:
    """Let each session send its next frame as soon as it has the last answer.

    Returns:
        `fps` of all sessions, `p50_ms` and `p99_ms` of the round trips.
    """
    links = await asyncio.gather(
        *(transport.open(first_session + index, _endless(sessions)) for index in range(sessions))
    )
    start = time.monotonic() + SETTLE_S
    stop = start + seconds
    round_trips: list[float] = []

    async def one(link: Link, offset: int) -> None:
        number = 0
        while (sent := time.monotonic()) < stop:
            await link.send(number, (offset + number) % pictures)
            await link.receive()
            if sent >= start and (done := time.monotonic()) < stop:
                round_trips.append(done - sent)
            number += 1

    await asyncio.gather(*(one(link, index) for index, link in enumerate(links)))
    await asyncio.gather(*(link.close() for link in links))
    return {"fps": len(round_trips) / seconds, **percentiles_ms(round_trips)}


def _endless(sessions: int) -> Terms:
    """Return the terms of sessions that send as fast as they are answered."""
    rate_hz = min(_HIGHEST_RATE_HZ, _TOTAL_RATE_HZ / sessions)
    return Terms(budget_ms=_PATIENT_MS, rate_hz=rate_hz, every=True)


@dataclass(slots=True)
class Tally:
    """What became of the frames of one paced session, those due in the counted time alone."""

    due: int = 0
    in_time: int = 0
    skipped: int = 0
    latencies_s: list[float] = field(default_factory=list)
    refused_after_s: float | None = None
    ended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """An open-loop load.

    Attributes:
        rate_hz: of each session.
        seconds: counted, after the time to settle.
        budget_ms: from when a frame was due to its answer.
        start: of the first period, monotonic seconds.
    """

    rate_hz: float
    seconds: float
    budget_ms: float
    start: float

    @property
    def frames(self) -> int:
        """Frames of one session, those of the time to settle included."""
        return round(self.rate_hz * (SETTLE_S + self.seconds))

    @property
    def uncounted(self) -> int:
        """Frames of one session that are due in the time to settle."""
        return round(self.rate_hz * SETTLE_S)


async def paced(
    transport: Transport,
    first_session: int,
    pictures: int,
    *,
    sessions: int,
    rate_hz: float,
    seconds: float,
    budget_ms: float,
) -> dict[str, Any]:
    """Send a frame whenever one is due, answered or not; count from when it was due."""
    terms = Terms(budget_ms=budget_ms, rate_hz=rate_hz, every=False)
    opened = await asyncio.gather(
        *(_try_open(transport, first_session + index, terms) for index in range(sessions))
    )
    start = time.monotonic() + 0.2
    pace = Pace(rate_hz=rate_hz, seconds=seconds, budget_ms=budget_ms, start=start)
    phases = np.random.default_rng(sessions).uniform(0, 1 / rate_hz, sessions).tolist()
    tallies = await asyncio.gather(
        *(
            _drive(link, tally, pace, phase, pictures)
            for (link, tally), phase in zip(opened, phases, strict=True)
        )
    )
    return summary(tallies, pace)


async def _try_open(transport: Transport, session: int, terms: Terms) -> tuple[Link | None, Tally]:
    began = time.monotonic()
    try:
        async with asyncio.timeout(_OPEN_S):
            return await transport.open(session, terms), Tally()
    except (RefusedError, TimeoutError):
        return None, Tally(refused_after_s=time.monotonic() - began)


async def _drive(
    link: Link | None, tally: Tally, pace: Pace, phase_s: float, pictures: int
) -> Tally:
    if link is None:
        return tally
    due_s = [pace.start + phase_s + index / pace.rate_hz for index in range(pace.frames)]
    receiver = asyncio.create_task(_count(link, tally, pace, due_s))
    sender = asyncio.create_task(_send(link, due_s, pictures))
    # A session that a server ends counts no frame after its end.
    end = due_s[-1] + pace.budget_ms / MS_PER_S + _GRACE_S
    await asyncio.wait({receiver}, timeout=max(0.0, end - time.monotonic()))
    ended_s = time.monotonic()
    for task in (receiver, sender):
        task.cancel()
    await asyncio.gather(receiver, sender, return_exceptions=True)
    tally.ended = ended_s < due_s[-1]
    tally.due = sum(1 for due in due_s[pace.uncounted :] if due < ended_s)
    await (link.abort() if tally.in_time < tally.due else link.close())
    return tally


async def _send(link: Link, due_s: list[float], pictures: int) -> None:
    with contextlib.suppress(EndedError):
        for number, due in enumerate(due_s):
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await link.send(number, number % pictures)


async def _count(link: Link, tally: Tally, pace: Pace, due_s: list[float]) -> None:
    number = -1
    with contextlib.suppress(EndedError):
        while number < len(due_s) - 1:
            answer = await link.receive()
            number = answer.number
            if number >= pace.uncounted:
                _note(tally, answer, time.monotonic() - due_s[number], pace.budget_ms)


def _note(tally: Tally, answer: Answer, latency_s: float, budget_ms: float) -> None:
    if answer.outputs is None:
        tally.skipped += 1
        return
    tally.latencies_s.append(latency_s)
    tally.in_time += latency_s * MS_PER_S <= budget_ms


def summary(tallies: Sequence[Tally], pace: Pace) -> dict[str, Any]:
    """Add up the sessions of a paced load.

    Every frame that a refused or ended session would have sent counts as offered.
    """
    latencies = [latency for tally in tallies for latency in tally.latencies_s]
    refusals = [tally.refused_after_s for tally in tallies if tally.refused_after_s is not None]
    offered = len(tallies) * (pace.frames - pace.uncounted)
    due, in_time = sum(tally.due for tally in tallies), sum(tally.in_time for tally in tallies)
    return {
        "sessions": len(tallies),
        "admitted": len(tallies) - len(refusals),
        "ended": sum(tally.ended for tally in tallies),
        "offered_fps": offered / pace.seconds,
        "goodput_fps": in_time / pace.seconds,
        "in_time_percent": 100 * in_time / offered,
        "admitted_in_time_percent": 100 * in_time / due if due else 0.0,
        "missed_percent": 100 * (offered - in_time) / offered,
        "skipped": sum(tally.skipped for tally in tallies),
        **percentiles_ms(latencies),
        "refused_p99_ms": percentiles_ms(refusals)["p99_ms"],
    }


def percentiles_ms(values_s: Sequence[float]) -> dict[str, float]:
    """Return the median and the 99th percentile of seconds, in ms; 0 where there is no value."""
    if not values_s:
        return {"p50_ms": 0.0, "p99_ms": 0.0}
    p50, p99 = np.percentile(values_s, [50, 99]).tolist()
    return {"p50_ms": p50 * MS_PER_S, "p99_ms": p99 * MS_PER_S}


async def hold(transport: Transport, first_session: int, *, sessions: int) -> list[Link]:
    """Open sessions, have one frame of each answered, and keep them."""

    async def one(session: int) -> Link:
        link = await transport.open(session, _FEW)
        await link.send(0, 0)
        await link.receive()
        return link

    return await asyncio.gather(*(one(first_session + index) for index in range(sessions)))


async def reopen(
    transport: Transport, first_session: int, *, sessions: int, limit_s: float
) -> float | None:
    """Open new sessions, again and again where refused, until a frame of each is answered.

    Returns:
        Seconds until all sessions are served at once; None if they were not within the limit.
    """
    began = time.monotonic()

    async def one(session: int) -> Link:
        while True:
            try:
                return (await hold(transport, session, sessions=1))[0]
            except (RefusedError, EndedError):
                await asyncio.sleep(_RETRY_S)

    try:
        async with asyncio.timeout(limit_s):
            links = await asyncio.gather(*(one(first_session + item) for item in range(sessions)))
    except TimeoutError:
        return None
    took = time.monotonic() - began
    await asyncio.gather(*(link.close() for link in links))
    return took
