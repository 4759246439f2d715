"""The DriveService: opens streams, keeps account of them, and ends them with a status."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakKeyDictionary

from steerstream.v1 import drive_service_pb2, drive_service_pb2_grpc, model_pb2, session_pb2
from steerstream.view import declared
from steerstream.wire import view_message
from steerstream_service.admission.admission import Admission, Lease
from steerstream_service.admission.catalogue import Model
from steerstream_service.admission.fair_queue import CrowdedError
from steerstream_service.admission.retry_hints import RetryHints
from steerstream_service.admission.shadows import Shadows
from steerstream_service.admission.shares import Holder
from steerstream_service.config import Config
from steerstream_service.domain import DrainingNotice, Opening, SheddingNotice
from steerstream_service.engine.decode_queue import DecodeQueue
from steerstream_service.engine.engine import Engine
from steerstream_service.errors import (
    DrainingError,
    ErrorReason,
    IdleError,
    InternalError,
    NotOpenError,
    ShareTakenError,
    ShedError,
    StreamError,
    TakenOverError,
    TokenExpiredError,
    TooManySessionsError,
)
from steerstream_service.telemetry.logs import fields
from steerstream_service.telemetry.observer import Observer
from steerstream_service.transport import wire
from steerstream_service.transport.deadline_timer import DeadlineTimer
from steerstream_service.transport.identity import Caller, Identities, host
from steerstream_service.transport.intake import Intake, Reader
from steerstream_service.transport.loop_lag import LoopLag
from steerstream_service.transport.refusal_log import Refusals
from steerstream_service.transport.reopening_log import Reopenings
from steerstream_service.transport.statuses import abort
from steerstream_service.transport.stream import Context, DriveStream

if TYPE_CHECKING:
    from steerstream_service.transport.recording import ServerRecorder

_REVIEW_S = 0.5
"""Between two reviews of the load: ten frames of a session at 20 Hz."""
_FLUSH_S = 1.0
"""For the last answers and the status of streams that a drain ends."""

_log = logging.getLogger(__name__)


class DriveService(drive_service_pb2_grpc.DriveServiceServicer):
    """The servicer.

    Args:
        admission: decides which vehicles may open a session.
        engine: where frames go.
        decoder: where pictures are decoded that take a while.
        config: the server's settings.
        observer: is told of what happens to sessions and frames.
        identities: says who a caller is, and which vehicles are its own.
        recorder: records a share of the sessions; None where none is recorded.
    """

    def __init__(
        self,
        admission: Admission,
        engine: Engine,
        decoder: DecodeQueue,
        config: Config,
        observer: Observer,
        *,
        identities: Identities,
        recorder: ServerRecorder | None = None,
    ) -> None:
        self._admission = admission
        self._engine = engine
        self._decoder = decoder
        self._config = config
        self._observer = observer
        self._identities = identities
        self._recorder = recorder
        self._deadlines = DeadlineTimer()
        self._intake = Intake()
        self._limits = wire.server_limits(config)
        self._contracts: WeakKeyDictionary[Model, model_pb2.ModelContract] = WeakKeyDictionary()
        self.shadows = Shadows(admission, engine)
        """Networks that are stepped beside those that drive."""
        self._ready = asyncio.Event()
        self._retry_hints = RetryHints()
        self._refusals = Refusals()
        self._reopenings = Reopenings()
        # Bounded by the streams at once; oldest first.
        self._unopened: dict[asyncio.Timeout, None] = {}
        self._watching: asyncio.Task[None] | None = None
        self._lag = LoopLag(observer)
        self._is_late = False
        self._share = 1.0
        # In the order in which they began, so that what happens to all happens in an order.
        self._streams: dict[DriveStream, None] = {}
        self._none_left = asyncio.Event()
        self._none_left.set()
        self._hurrying = asyncio.Event()

    def open_for_sessions(self) -> None:
        """Let sessions open, and watch the load; until then those that ask wait."""
        self._ready.set()
        self._lag.start()
        self._watching = asyncio.create_task(self._watch_load())

    async def Drive(  # type: ignore[override]  # noqa: N802 - the name in the wire contract
        self,
        request_iterator: Any,  # noqa: ANN401, ARG002 - messages are read from the context
        context: Context,
    ) -> None:
        """Serve one session; see the wire contract."""
        # The vehicle's open is on its way: it is answered before the next step.
        self._engine.heard()
        try:
            await self._drive(context)
        except StreamError as error:
            await abort(context, error)
        except Exception:  # noqa: BLE001 - two of four: a fault ends its stream, and its text stays here
            _log.exception("stream_failed")
            await abort(context, InternalError("a fault of the server; its log says more"))

    async def make_room(self, context: Context) -> None:
        """End the stream that has waited longest without a session, or else refuse a new one.

        To be called for each new stream beyond the bound. A vehicle sends its open at once, so that
        no crowd of streams that do nothing keeps it out.
        """
        if self._unopened:
            oldest = next(iter(self._unopened))
            del self._unopened[oldest]
            oldest.reschedule(asyncio.get_running_loop().time())
            return
        await self.refuse(context)

    async def refuse(self, context: Context) -> NoReturn:
        """Refuse a stream of which there are too many, or which comes too fast."""
        error = _too_many_streams()
        self._refusals.note(error, host(context.peer()))
        self._observer.refused(error.reason)
        await abort(context, error)

    async def DescribeModels(  # noqa: N802
        self,
        request: drive_service_pb2.DescribeModelsRequest,  # noqa: ARG002
        context: Any,  # noqa: ANN401, ARG002
    ) -> drive_service_pb2.DescribeModelsResponse:
        """Describe the served models; see the wire contract."""
        return drive_service_pb2.DescribeModelsResponse(
            models=[self._contract(model) for model in self._admission.models.values()],
            default_model=self._admission.default,
            limits=self._limits,
        )

    async def drain(self, seconds: float) -> None:
        """Take no new sessions, tell the open ones, and later end those that are left."""
        self._admission.draining = True
        for stream in self._streams:
            stream.send(DrainingNotice(round(seconds * 1000)))
            stream.session.hurry_ticket()
        await self._until_drained(seconds)
        for stream in self._streams:
            stream.end(DrainingError("the server is stopping; connect to another one"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_S):
                await self._none_left.wait()

    def hurry(self) -> None:
        """Have `drain` end the streams that are left at once."""
        self._hurrying.set()

    def reap(self) -> None:
        """Take back every slot, even if the handler of its stream has not ended."""
        self._lag.stop()
        if self._watching is not None:
            self._watching.cancel()
        for stream in list(self._streams):
            held = self._admission.release(stream.lease)
            self._forget(stream, "server_stopped", held=held)
        self._refusals.flush()
        self._reopenings.flush()

    async def _drive(self, context: Context) -> None:
        reader = Reader(context, self._intake)
        lease, opening, caller = await self._admitted(context, reader)
        with (
            self._session(context, reader, lease, opening) as stream,
            self.shadows.beside(stream.lease) as stream.shadow,
        ):
            valid_for_s = caller.valid_for_s
            if valid_for_s is not None:
                stream.end_in(valid_for_s, TokenExpiredError())
            await stream.run(self._opened(context, stream.lease, valid_for_s))

    @contextlib.contextmanager
    def _session(
        self, context: Context, reader: Reader, lease: Lease, opening: session_pb2.OpenSession
    ) -> Iterator[DriveStream]:
        """Own a session's slot and load for as long as its stream runs, and then give them back.

        All that a session takes is taken before, by `_admitted`, and given back here alone; only
        `reap` may come first, which then leaves nothing to do.
        """
        stream = None
        ended_by = "cancelled"
        try:
            stream = DriveStream(
                context,
                reader,
                lease,
                engine=self._engine,
                decoder=self._decoder,
                deadlines=self._deadlines,
                config=self._config,
                observer=self._observer,
            )
            if self._recorder is not None:
                stream.recorder = self._recorder.begin(lease.session_id, opening)
            self._streams[stream] = None
            self._none_left.clear()
            yield stream
            ended_by = "client"
        except Exception as error:
            reason = error.reason if isinstance(error, StreamError) else ErrorReason.INTERNAL
            ended_by = reason.name.lower()
            if stream is None:
                self._observer.refused(reason)
            raise
        finally:
            # Before anything that could fail: the slot is worth more than the rest.
            held = self._admission.release(lease)
            if stream is not None:
                self._forget(stream, ended_by, held=held)

    async def _watch_load(self) -> None:
        while True:
            await asyncio.sleep(_REVIEW_S)
            try:
                self._review_load()
            except Exception:  # noqa: BLE001 - three of four: a fault of one review ends no other
                _log.exception("review_failed")

    def _review_load(self) -> None:
        lags_ns = self._lag.take()
        going = self._admission.review(lags_ns)
        self._tell_lateness(lags_ns)
        if going:
            names = {lease.session_id for lease in going}
            for stream in self._streams:
                if stream.lease.session_id in names:
                    self._let_go(stream)
        self._ask_for_pace(self._admission.pace.share)

    def _ask_for_pace(self, share: float) -> None:
        """Tell the vehicles of a full server, and of one that is full no longer, how often to send.

        Args:
            share: of their stated rates.
        """
        if (share < 1.0) != (self._share < 1.0):
            what = "server_full" if share < 1.0 else "server_has_room"
            _log.warning(what, extra=fields(share=round(share, 3), sessions=len(self._streams)))
        self._share = share
        for at, stream in enumerate(self._streams):
            stream.set_pace(share, at / len(self._streams))

    def _tell_lateness(self, lags_ns: Sequence[int]) -> None:
        """Log when the server begins to miss its frames, and when it is in time again."""
        lateness = self._admission.capacity.lateness
        if lateness.lasts == self._is_late:
            return
        self._is_late = lateness.lasts
        figures = fields(
            missed=round(lateness.missed, 3),
            loop_lag_ms=round(max(lags_ns, default=0) / 1e6, 1),
            sessions=self._admission.sessions,
        )
        if self._is_late:
            # Frames of the last seconds count on when their vehicles have left.
            level = logging.ERROR if self._streams else logging.INFO
            _log.log(level, "server_late", extra=figures)
        else:
            _log.warning("server_in_time", extra=figures)

    def _let_go(self, stream: DriveStream) -> None:
        """Tell a session that it ends, and end it after a while."""
        notice_s, vehicle_id = self._config.shed_notice_s, stream.lease.opening.vehicle_id
        retry_ms = self._retry_ms(vehicle_id)
        stream.send(SheddingNotice(round(notice_s * 1000), retry_ms))
        stream.session.hurry_ticket()
        error = ShedError(
            "the server can do less than it could, and lets its newest sessions go",
            retry_after_ms=retry_ms,
        )
        stream.end_in(notice_s, error)
        _log.warning("session_shed", extra=fields(session_id=stream.lease.session_id))

    async def _admitted(
        self, context: Context, reader: Reader
    ) -> tuple[Lease, session_pb2.OpenSession, Caller]:
        try:
            caller = self._identities.caller(context)
            async with self._unopened_place():
                request = await self._first(reader)
                opening = wire.opening(request)
                # Before anything is remembered of a vehicle: a stranger must not delay it.
                owner = self._identities.owner(caller, opening.vehicle_id)
                await self._until_ready(opening.vehicle_id)
                wait_ns = self._retry_hints.early_ns(opening.vehicle_id, time.monotonic_ns())
                if wait_ns:
                    await asyncio.sleep(wait_ns / 1e9)
            lease = await self._admit(opening, Holder(owner, caller.address))
        except StreamError as error:
            self._refusals.note(error, host(context.peer()))
            self._observer.refused(error.reason)
            raise
        # Nothing may be waited for from here on: `_session` gives back what the lease holds.
        return lease, request.open, caller

    @contextlib.asynccontextmanager
    async def _unopened_place(self) -> AsyncIterator[None]:
        """Hold a stream without a session, which ends where a newer one needs its place."""
        try:
            async with asyncio.timeout(None) as place:
                self._unopened[place] = None
                try:
                    yield
                finally:
                    self._unopened.pop(place, None)
        except TimeoutError:
            raise _too_many_streams() from None

    async def _admit(self, opening: Opening, holder: Holder) -> Lease:
        lease: Lease | None = None
        while lease is None:
            try:
                await self._admission.map_camera(opening, holder)
                lease = self._admission.admit(opening, holder)
            except (TooManySessionsError, ShareTakenError) as error:
                if isinstance(error, ShareTakenError) or not self._end_silent():
                    error.retry_after_ms = self._retry_ms(opening.vehicle_id)
                    raise
            except CrowdedError:
                # Not for want of a place, so nobody has to go.
                raise TooManySessionsError(
                    "too many vehicles with cameras that are not known here are opening; try again "
                    "later",
                    retry_after_ms=self._retry_ms(opening.vehicle_id),
                ) from None
        if lease.took_over is not None:
            self._end_older(lease.took_over)
        return lease

    def _end_silent(self) -> bool:
        """End the session that has waited longest for its first frame, if any has for long.

        Places are for vehicles that drive: who takes them all and sends nothing keeps nobody out.
        """
        now_ns = time.monotonic_ns()
        if self._admission.capacity.lateness.lasts:
            return False  # Another session is what such a server has no time for.
        for stream in self._streams:
            if stream.first_frame_due_ns <= now_ns and self._admission.release(stream.lease):
                error = IdleError("no frame came, and another vehicle needs the place; open again")
                stream.displace(error)
                self._forget(stream, error.reason.name.lower(), held=True)
                return True
        return False

    def _end_older(self, session_id: str) -> None:
        """End the stream of a session whose slot and load are given back already."""
        for stream in tuple(self._streams):
            if stream.lease.session_id == session_id:
                error = TakenOverError(
                    "a newer session of this vehicle has taken over; end the other program, if "
                    "there is one"
                )
                stream.displace(error)
                self._forget(stream, error.reason.name.lower(), held=True)

    def _retry_ms(self, vehicle_id: str) -> int:
        frames_hz = self._admission.capacity.rate_hz
        return self._retry_hints.refused(vehicle_id, time.monotonic_ns(), frames_hz)

    async def _until_ready(self, vehicle_id: str) -> None:
        try:
            async with asyncio.timeout(self._config.open_timeout_s):
                await self._ready.wait()
        except TimeoutError:
            raise TooManySessionsError(
                "the server is warming up; try again later",
                retry_after_ms=self._retry_ms(vehicle_id),
            ) from None

    async def _first(self, reader: Reader) -> drive_service_pb2.DriveRequest:
        seconds = self._config.open_timeout_s
        try:
            async with asyncio.timeout(seconds):
                request = await reader.opening()
                self._engine.heard()
        except TimeoutError:
            raise IdleError(f"no open came within {seconds:g} s") from None
        if request is None:
            raise NotOpenError("the stream ended before it opened a session")
        return request

    def _opened(
        self, context: Context, lease: Lease, valid_for_s: float | None
    ) -> drive_service_pb2.DriveResponse:
        model = lease.model.name
        trace_parent = dict(context.invocation_metadata() or ()).get("traceparent")
        self._observer.opened(
            lease.session_id,
            lease.opening.vehicle_id,
            model,
            trace_parent if isinstance(trace_parent, str) else None,
        )
        _log.info(
            "session_opened",
            extra=fields(
                session_id=lease.session_id,
                vehicle_id=lease.opening.vehicle_id,
                model=model,
                policy=lease.terms.policy.name,
                budget_ms=lease.budget_ms,
                resumed=lease.resumed is not None,
                identity=lease.holder.identity,
                address=lease.holder.address,
                sessions=self._admission.sessions,
            ),
        )
        contract = lease.model.bundle.contract
        return wire.opened(
            session_id=lease.session_id,
            model=self._contract(lease.model),
            budget_ms=lease.budget_ms,
            policy=lease.terms.policy,
            resumed=lease.resumed is not None,
            limits=wire.limits_until(self._limits, valid_for_s),
            view=view_message(declared(contract.frame)),
            maps_to=None if lease.warp is None else contract.camera,
        )

    def _contract(self, model: Model) -> model_pb2.ModelContract:
        contract = self._contracts.get(model)
        if contract is None:
            self._contracts[model] = contract = wire.model_contract(model)
        return contract

    def _forget(self, stream: DriveStream, ended_by: str, *, held: bool) -> None:
        """Let go of a stream whose slot was given back; `held` tells the first time from others."""
        self._streams.pop(stream, None)
        if not self._streams:
            self._none_left.set()
        stream.close()
        if not held:
            return
        self._observer.ended(stream.lease.session_id, ended_by)
        self._reopenings.ended(stream.lease.opening.vehicle_id, ended_by)
        if stream.recorder is not None:
            stream.recorder.end(ended_by)
        _log.info(
            "session_ended",
            extra=fields(
                session_id=stream.lease.session_id,
                vehicle_id=stream.lease.opening.vehicle_id,
                ended_by=ended_by,
                state_epoch=stream.session.state_epoch,
                step_count=stream.session.step_count,
                sessions=self._admission.sessions,
            ),
        )

    async def _until_drained(self, seconds: float) -> None:
        """Wait until no stream is left, somebody is in a hurry, or the time is over."""
        events = (self._none_left, self._hurrying)
        waiting = [asyncio.create_task(event.wait()) for event in events]
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()


def _too_many_streams() -> TooManySessionsError:
    return TooManySessionsError("too many streams are open; try again", retry_after_ms=1000)
