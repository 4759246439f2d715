"""The WatchService: shows the server and its sessions to operators, at a bounded cost.

While nobody looks, nothing runs here. A message is made once for all who look at the server, a few
sessions at a time, so that a frame waits for at most a fraction of a millisecond.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import grpc

from steerstream import __version__
from steerstream.v1 import command_pb2, session_pb2, watch_pb2, watch_pb2_grpc
from steerstream_service.admission.admission import Admission, Lease
from steerstream_service.config import Config
from steerstream_service.domain import Timings, Validity
from steerstream_service.telemetry.live_board import Closeup, LiveBoard, SessionTally, Shown
from steerstream_service.telemetry.observer import ServerState
from steerstream_service.transport import wire
from steerstream_service.transport.call_bounds import say_ending
from steerstream_service.transport.sampled_picture import small_jpeg

MOST_WATCHERS = 4
"""Calls of each method at once: a live page needs one of WatchServer, and one of WatchSession for
each vehicle that somebody looks at."""
MOST_SESSIONS = 256
"""In one message, which has 40 KB then."""

_EVERY_S = 0.2
_FRESH = 0.9
"""Share of that time for which a message is sent to others too."""
_OLD_S = 1.0
"""Answers from before are no news: nobody has looked for so long."""
_SESSION_EVERY_S = 0.1
_PICTURE_EVERY_NS = 200_000_000
_PICTURE_NS_PER_BYTE = 1_000
"""A megabyte a second."""
_PATIENCE_S = 5.0
"""For one message to be taken; a caller that stands still leaves its place to another."""
_ROWS_AT_ONCE = 16
_TROUBLE_NS = 10_000_000_000
"""How long a session is shown first after its last miss."""
_MS = 1_000_000
_US = 1_000
_MAX_UINT32 = 0xFFFF_FFFF
_STAGES = ("queue", "decode", "infer", "total")

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
Snapshot: TypeAlias = watch_pb2.WatchServerResponse


class WatchService(watch_pb2_grpc.WatchServiceServicer):
    """The servicer.

    Args:
        board: the counts.
        admission: knows the sessions and their models.
        config: the server's settings.
        state: returns the server's state.
        shows_pictures: whether the operator allows pictures to be shown.
    """

    def __init__(
        self,
        board: LiveBoard,
        admission: Admission,
        config: Config,
        state: Callable[[], ServerState],
        *,
        shows_pictures: bool,
    ) -> None:
        self._board = board
        self._admission = admission
        self._config = config
        self._state = state
        self._shows_pictures = shows_pictures
        self._opened = False
        self._lock = asyncio.Lock()
        self._decoding = asyncio.Lock()
        self._last: Snapshot | None = None
        self._made_s = -math.inf

    async def WatchServer(  # type: ignore[override]  # noqa: N802 - the name in the wire contract
        self,
        request: watch_pb2.WatchServerRequest,  # noqa: ARG002
        context: Context,
    ) -> None:
        """Show the server until the caller has seen enough; see the wire contract."""
        while await _is_taken(context, await self._snapshot()):
            self._admission.count_other()
            await asyncio.sleep(_EVERY_S)

    async def WatchSession(  # type: ignore[override]  # noqa: N802
        self,
        request: watch_pb2.WatchSessionRequest,
        context: Context,
    ) -> None:
        """Show one session until it ends; see the wire contract."""
        lease = self._admission.lease(request.session_id)
        with self._board.closeup(
            request.session_id, wants_pictures=self._shows_pictures
        ) as closeup:
            if lease is None or closeup is None:
                say_ending()
                await context.abort(
                    grpc.StatusCode.NOT_FOUND, f"no session {request.session_id!r:.40} is open"
                )
            await self._show(context, closeup, lease)

    async def _show(self, context: Context, closeup: Closeup, lease: Lease) -> None:
        answerer = wire.Answerer(lease.session_id)
        response = watch_pb2.WatchSessionResponse(description=_description(lease))
        picture_ns = 0
        while True:
            ended_by = closeup.ended_by
            answers = list(closeup.answers)
            closeup.answers.clear()
            response.answers.extend(answerer.answer(answer) for answer in answers)
            response.ended_by = ended_by
            now_ns = time.monotonic_ns()
            if closeup.shown is not None and now_ns >= picture_ns:
                shown, closeup.shown = closeup.shown, None
                size_bytes = await self._write_picture(response.picture, shown)
                picture_ns = now_ns + max(_PICTURE_EVERY_NS, size_bytes * _PICTURE_NS_PER_BYTE)
            if not await _is_taken(context, response) or ended_by:
                return
            self._admission.count_other()
            response = watch_pb2.WatchSessionResponse()
            await asyncio.sleep(_SESSION_EVERY_S)

    async def _write_picture(self, message: watch_pb2.SampledPicture, shown: Shown) -> int:
        message.sequence_number = shown.sequence_number
        # One at a time, for a picture takes many times its size while it is decoded.
        async with self._decoding:
            data = await asyncio.to_thread(small_jpeg, shown.image, self._config.max_pixels)
        message.jpeg = data or b""
        if shown.view_applied is not None:
            wire.write_view_applied(message.view_applied, shown.view_applied)
        return len(message.jpeg)

    async def _snapshot(self) -> Snapshot:
        """Return a message that is made for all callers of its time together."""
        async with self._lock:
            age_s = time.monotonic() - self._made_s
            if self._last is None or age_s > _EVERY_S * _FRESH:
                if age_s > _OLD_S:
                    self._board.take_timings()
                self._last = await self._message()
                self._made_s = time.monotonic()
            return self._last

    async def _message(self) -> Snapshot:
        board, admission, state = self._board, self._admission, self._state()
        now_ns = time.monotonic_ns()
        self._opened = self._opened or state.serving
        board.calm(now_ns - _TROUBLE_NS)
        message = watch_pb2.WatchServerResponse(
            up_ms=(now_ns - board.began_ns) // _MS,
            status=self._status(state),
            version=__version__,
            load=state.load,
            session_count=admission.sessions,
            max_sessions=self._config.max_sessions,
            answers=board.answers,
            misses=board.misses,
            refusals=board.refusals,
            stages=_stages(board.take_timings()),
            models=self._models(state),
            shows_pictures=self._shows_pictures,
        )
        for ending in board.endings:
            message.endings.add(
                session_id=ending.session_id,
                vehicle_id=ending.vehicle_id,
                ended_by=ending.ended_by,
                ended_ms=(ending.ended_ns - board.began_ns) // _MS,
            )
        for at, (name, tally) in enumerate(board.sessions(MOST_SESSIONS)):
            if at % _ROWS_AT_ONCE == _ROWS_AT_ONCE - 1:
                await asyncio.sleep(0)
            # A session that ended meanwhile has no lease.
            if (lease := admission.lease(name)) is not None:
                _add_session(message.sessions.add(), lease, tally, now_ns)
        return message

    def _status(self, state: ServerState) -> watch_pb2.ServerStatus.ValueType:
        if self._admission.draining:
            return watch_pb2.SERVER_STATUS_DRAINING
        if state.serving:
            return watch_pb2.SERVER_STATUS_SERVING
        return watch_pb2.SERVER_STATUS_STUCK if self._opened else watch_pb2.SERVER_STATUS_STARTING

    def _models(self, state: ServerState) -> list[watch_pb2.WatchedModel]:
        return [
            watch_pb2.WatchedModel(
                name=name,
                precision=state.runtimes[name].precision,
                provider=state.runtimes[name].provider,
                step_us=_microseconds(model.queue.step_cost_ns),
                sessions=state.slots[name].used,
            )
            for name, model in self._admission.models.items()
        ]


def _stages(timings: Sequence[Timings]) -> list[watch_pb2.StageLatency]:
    if not timings:
        return []
    stages = zip(
        *((one.queue_ns, one.decode_ns, one.infer_ns, one.total_ns) for one in timings), strict=True
    )
    return [
        watch_pb2.StageLatency(
            stage=name,
            p50_us=_microseconds(_quantile(ordered, 0.5)),
            p99_us=_microseconds(_quantile(ordered, 0.99)),
            max_us=_microseconds(ordered[-1]),
        )
        for name, ordered in zip(_STAGES, map(sorted, stages), strict=True)
    ]


def _quantile(ordered: Sequence[int], share: float) -> int:
    return ordered[math.ceil(share * len(ordered)) - 1]


def _add_session(
    message: watch_pb2.WatchedSession, lease: Lease, tally: SessionTally, now_ns: int
) -> None:
    message.session_id = lease.session_id
    message.vehicle_id = tally.vehicle_id
    message.model = lease.model.name
    message.rate_hz = lease.demand.rate_hz
    message.budget_ms = lease.budget_ms
    message.open_ms = (now_ns - tally.opened_ns) // _MS
    message.resumed = lease.resumed is not None
    message.answers = tally.answers
    message.misses = tally.misses
    message.held = tally.held
    message.validity = _validity(tally.validity)
    message.total_us = _microseconds(tally.total_ns)
    message.silent_ms = max(0, now_ns - tally.answered_ns) // _MS


def _validity(validity: Validity | None) -> command_pb2.Validity.ValueType:
    return command_pb2.Validity.ValueType(validity or 0)


def _description(lease: Lease) -> watch_pb2.SessionDescription:
    camera, profile = lease.opening.camera, lease.model.profile
    return watch_pb2.SessionDescription(
        vehicle_id=lease.opening.vehicle_id,
        camera=session_pb2.CameraDescription(
            width_px=camera.width_px,
            height_px=camera.height_px,
            horizontal_fov_deg=camera.horizontal_fov_deg,
            mount_height_m=camera.mount_height_m,
            horizon_fraction=camera.horizon_fraction,
        ),
        budget_ms=lease.budget_ms,
        wheelbase_m=profile.wheelbase_m,
        steering_ratio=profile.steering_ratio,
    )


def _microseconds(nanoseconds: int) -> int:
    return min(max(nanoseconds // _US, 0), _MAX_UINT32)


async def _is_taken(context: Context, message: Snapshot | watch_pb2.WatchSessionResponse) -> bool:
    """Send a message; return whether it was taken in time.

    The caller then returns, for `abort` would wait, and hold a place, until the status is taken.
    """
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await context.write(message)
    except TimeoutError:
        context.set_code(grpc.StatusCode.DEADLINE_EXCEEDED)
        context.set_details(f"no message was taken for {_PATIENCE_S:g} s")
        return False
    return True
