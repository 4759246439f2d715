"""Admits sessions: finds the model by name, checks budget and load, and gives out a slot."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from steerstream import lens
from steerstream.warp import Warp
from steerstream_service.admission.cameras import Cameras
from steerstream_service.admission.capacity import Capacity
from steerstream_service.admission.catalogue import Catalogue, Model
from steerstream_service.admission.fair_queue import FairQueue
from steerstream_service.admission.frame_cost import Reading, available_cores
from steerstream_service.admission.load import Claim, Demand
from steerstream_service.admission.pace import Pace
from steerstream_service.admission.picture_cost import (
    NOTHING_SPENT,
    PictureMeter,
    decode_estimate_ns,
    receive_ns,
)
from steerstream_service.admission.rate_meter import FrameCounts, RateMeter
from steerstream_service.admission.shares import Holder, Shares
from steerstream_service.admission.shedding import Shedding
from steerstream_service.admission.ticket_office import TicketOffice, session_of
from steerstream_service.config import Config
from steerstream_service.domain import (
    NEVER_NS,
    FramePolicy,
    Opening,
    Slot,
    TicketNotice,
)
from steerstream_service.errors import (
    BadTicketError,
    BudgetTooSmallError,
    DrainingError,
    InvalidFieldError,
    TooManySessionsError,
)
from steerstream_service.session.frame_stages import FrameRecord
from steerstream_service.session.machine import Terms
from steerstream_service.session.picture_shape import PictureShape
from steerstream_service.session.ticket import SessionState

_NS_PER_MS = 1_000_000
_LONGEST_PAUSE_NS = 200_000_000
"""Longest time that a session above its stated rate is not read; the end of its stream is noticed
only after that."""
_LONGEST_DEAR_PAUSE_NS = 1_000_000_000
"""The same where its frames are dear, so that to read them alone cannot fill a core."""
_LONGEST_TURN_PAUSE_NS = 5_000_000_000
"""Longest time that a session is not read until its turn. A crowd that is read all at once each
second takes others' time; and a client that is not read for longer believes its server gone."""
_SURPLUS = "the server is busy, and this is more than the stated rate; state it when opening"
_DEAR = (
    "the picture takes {:.1f} times what the server has granted the session's frames, and others "
    "like it are before it; send smaller ones, or send on: the next is read in {:.0f} ms"
)
_NOBODY = Holder()
_MOST_MAPPINGS = 64
"""Vehicles that wait until it is found how their cameras are mapped: for an eighth of a second."""


class _Asked(NamedTuple):
    """What a vehicle asks for that may have it, as far as the load allows.

    Attributes:
        model: what would drive it.
        resumed: the state that it goes on with; None to begin.
        older: its session before, which the new one takes the place of; None if it has none.
        demand: of the new one.
    """

    model: Model
    resumed: SessionState | None
    older: Lease | None
    demand: Demand


class Taken(NamedTuple):
    """What a frame that came means for its session.

    Attributes:
        pause_ns: for how long the session should not be read.
        refusal: why the server has no time for the frame, where it may be left out; None if it has.
        rate_pause_ns: the part of the pause that comes from the stated rate, whatever the frame is.
        is_granted: whether it is within the session's rate, and no dear one beyond its grant.
    """

    pause_ns: int = 0
    refusal: str | None = None
    rate_pause_ns: int = 0
    is_granted: bool = True


@dataclass(frozen=True, slots=True)
class Lease:
    """An admitted session: its name, its row in the state pool, and what was agreed."""

    session_id: str
    opening: Opening
    model: Model
    slot: Slot
    terms: Terms
    claim: Claim
    rate_meter: RateMeter
    pictures: PictureMeter
    capacity: Capacity
    office: TicketOffice
    shape: PictureShape
    max_pixels: int
    resumed: SessionState | None = None
    warp: Warp | None = None
    """Makes the network's input of the vehicle's pictures; None where they are cropped."""
    holder: Holder = _NOBODY
    took_over: str | None = None
    """The vehicle's session before, whose slot and load are given back, and whose stream ends."""

    @property
    def budget_ms(self) -> float:
        """The granted budget."""
        return self.terms.budget_ns / _NS_PER_MS

    @property
    def demand(self) -> Demand:
        """What the session said that it asks for."""
        return self.claim.demand

    def ticket(self, state: SessionState) -> TicketNotice:
        """Return the session's state as a ticket for its vehicle."""
        sealed = self.office.seal(
            state, self.opening.vehicle_id, self.model.bundle, self.session_id
        )
        return TicketNotice(
            sealed,
            state.sequence_number,
            self.office.valid_for_ms,
            next(iter(state.ring_frames), None),
        )

    def take(self, record: FrameRecord) -> Taken:
        """Count a frame that has just come against the stated rate, and forecast what it costs.

        A frame that is dearer than what the session was granted counts as several. Frames above the
        rate are served while there is room. Dear ones are read more slowly even then, one session's
        after the other's, and refused where they come before their turn: they would fill the server
        before it knows that it is full. A vehicle is told to have frames played again, so those
        keep no rate.
        """
        capacity, now_ns = self.capacity, record.arrived_ns
        picture_ns = self._forecast(record)
        weight = capacity.weight(self.claim, picture_ns)
        wait_ns, is_ahead = 0, False
        if not record.is_replayed:
            wait_ns = self.rate_meter.take(now_ns, weight)
            is_ahead = self.rate_meter.is_ahead(now_ns)
        refusal = _SURPLUS if wait_ns and capacity.is_busy else None
        if (wait_ns or weight > 1.0 or is_ahead) and capacity.is_dear(self.claim, picture_ns):
            in_order = self.terms.policy is FramePolicy.EVERY or record.is_replayed
            turn = capacity.dear_turn(
                self.claim, now_ns, picture_ns, may_refuse=weight > 1.0 and not in_order
            )
            until_turn_ns = min(turn.next_ns - now_ns, _LONGEST_TURN_PAUSE_NS)
            rate_pause_ns = min(wait_ns, _LONGEST_DEAR_PAUSE_NS)
            pause_ns = max(until_turn_ns, rate_pause_ns)
            if weight > 1.0 and not turn.is_now:
                refusal = _DEAR.format(weight, pause_ns / _NS_PER_MS)
            return Taken(pause_ns, refusal, rate_pause_ns, is_granted=False)
        pause_ns = min(wait_ns, _LONGEST_PAUSE_NS) if refusal else 0
        return Taken(pause_ns, refusal, pause_ns, is_granted=not wait_ns)

    def give_turn_back(self, now_ns: int) -> None:
        """The last frame did not cost what it seemed to, or was the last: others need not wait."""
        self.capacity.give_turn_back(self.claim, now_ns)

    def _forecast(self, record: FrameRecord) -> float:
        """Return what a frame's picture will take; it is noted in the record, and counted."""
        image = record.image
        if image is None:
            return 0.0
        frame = self.model.bundle.contract.frame
        record.decode_estimate_ns = decode_estimate_ns(
            image,
            frame,
            self.max_pixels,
            applied=record.view_applied,
            warp=self.warp,
            shape=self.shape,
        )
        record.decode_forecast_ns = self.pictures.decode_ns(record.decode_estimate_ns)
        self.pictures.received(image)
        return receive_ns(image.size_bytes) + record.decode_forecast_ns


class Admission:
    """Admits sessions and takes their slots back.

    Args:
        models: the served models, by name.
        default: name of the model for vehicles that ask for none.
        config: the server's settings.
        cores: CPU cores that this process may use; by default all that it is given.
        in_loop: whether steps and decoding run on the event loop's thread.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        default: str,
        config: Config,
        cores: float | None = None,
        *,
        in_loop: bool = False,
    ) -> None:
        self.catalogue = Catalogue(models, default)
        self.draining = False
        self.reviewed_load = 0.0
        """The load at the last review, for other threads than the event loop's."""
        self.capacity = Capacity(
            {name: model.queue.cost for name, model in models.items()},
            cores or available_cores(),
            config.max_load,
            Shedding(round(config.shed_after_s * 1e9), round(config.shed_notice_s * 1e9)),
            steps_on_cpu=all(model.bundle.runtime.provider.on_cpu for model in models.values()),
            in_loop=in_loop,
        )
        self._config = config
        keys_file = Path(config.ticket_keys) if config.ticket_keys else None
        self._office = TicketOffice(keys_file, config.ticket_valid_s)
        self._shares = Shares(config)
        self._leases: dict[str, Lease] = {}
        # Sessions that were told to leave: they still hold a slot, but no share of the load.
        self._leaving: set[str] = set()
        self._cameras = Cameras()
        # One at a time: each is checked again once those before it are admitted.
        self._mapping = FairQueue(_MOST_MAPPINGS)
        self.on_release: Callable[[str], None] = lambda _: None
        """Is told the name of each session that ends, before another one can have its place."""
        self.pace = Pace()
        self._frames = 0.0
        self._others = 0
        self._spent = NOTHING_SPENT

    @property
    def models(self) -> Mapping[str, Model]:
        """The models that sessions can open with, by name; safe to read from other threads."""
        return self.catalogue.models

    @property
    def default(self) -> str:
        """Name of the model for vehicles that ask for none."""
        return self.catalogue.default

    @property
    def ticket_key_age_s(self) -> float | None:
        """The age of the key that seals tickets, in seconds; None where its file says nothing."""
        return self._office.key_age_s

    @property
    def sessions(self) -> int:
        """Sessions that hold a slot."""
        return len(self._leases)

    def sessions_of(self, model: Model) -> int:
        """Return how many sessions a model drives."""
        return sum(lease.model is model for lease in self._leases.values())

    def lease(self, session_id: str) -> Lease | None:
        """Return the lease of an open session; None if there is no such session."""
        return self._leases.get(session_id)

    async def map_camera(self, opening: Opening, holder: Holder = _NOBODY) -> None:
        """Find out how a vehicle's camera is mapped, if it is, so that `admit` knows it already.

        It takes up to two milliseconds of another thread, for a vehicle that has room alone, and
        nothing where the camera is known. Vehicles wait for each other in rounds: one that goes on
        with its ticket waits for itself, others with all of their identity or else their address.

        Args:
            opening: what the vehicle asks for.
            holder: whose the session would be.

        Raises:
            CrowdedError: too many wait already.
            StreamError: the session is refused; the type says why.
        """
        if not lens.is_described(opening.camera):
            return
        asked = self._asked(opening, holder)
        if self._cameras.knows(opening.camera, asked.model):
            return
        # A stranger can come under many names, but has no tickets for them.
        goes_on = None if asked.resumed is None else opening.vehicle_id
        work: asyncio.Task[Warp | None] | None = None
        await self._mapping.take((goes_on, holder.identity or holder.address))
        try:
            model, _, older, demand = self._asked(opening, holder)
            has_load = older is not None and older.session_id not in self._leaving
            self.capacity.check(demand, older.claim if older and has_load else None)
            work = asyncio.create_task(asyncio.to_thread(self._cameras.warp, opening.camera, model))
            await asyncio.shield(work)
        finally:
            if work is None or work.done():
                self._mapping.give_back()
            else:
                # The vehicle is gone, and its thread is at work: the next one waits for that.
                work.add_done_callback(self._mapped)

    def _mapped(self, work: asyncio.Task[Warp | None]) -> None:
        self._mapping.give_back()
        if not work.cancelled():
            work.exception()  # Nobody may be left who reads it.

    def admit(self, opening: Opening, holder: Holder = _NOBODY) -> Lease:
        """Admit a session and give it a slot.

        It takes the place of the vehicle's session before, which goes only if the new one comes.
        `map_camera` comes before it.

        Args:
            opening: what the vehicle asks for.
            holder: whose the session is.

        Raises:
            StreamError: the session is refused; the type says why.
        """
        model, resumed, older, demand = self._asked(opening, holder)
        terms = self._terms(model, opening, demand.budget_ns)
        warp = self._cameras.warp(opening.camera, model)
        rate_meter = RateMeter(demand.rate_hz)
        # Nothing may fail after the load is taken: only a lease gives slot and load back.
        claim = self._take_load(demand, older)
        try:
            if older is not None:
                self.release(older)
            slot = model.queue.pool.allocate()
        except BaseException:
            self.capacity.give_back(claim)
            raise
        lease = Lease(
            session_id=secrets.token_hex(8),
            opening=opening,
            model=model,
            slot=slot,
            terms=terms,
            claim=claim,
            rate_meter=rate_meter,
            pictures=PictureMeter(),
            capacity=self.capacity,
            office=self._office,
            shape=PictureShape(opening.camera),
            max_pixels=self._config.max_pixels,
            resumed=resumed,
            warp=warp,
            holder=holder,
            took_over=None if older is None else older.session_id,
        )
        self._leases[lease.session_id] = lease
        self._shares.add(lease.session_id, opening.vehicle_id, holder)
        return lease

    def release(self, lease: Lease) -> bool:
        """Take a session's slot and its share of the load back; return whether it was held."""
        if self._leases.pop(lease.session_id, None) is None:
            return False
        self._shares.remove(lease.session_id)
        self.on_release(lease.session_id)
        self._count(lease.rate_meter.review())
        self._spent = self._spent.plus(lease.pictures.review())
        lease.model.queue.pool.release(lease.slot)
        if lease.session_id in self._leaving:
            self._leaving.remove(lease.session_id)
        else:
            self.capacity.give_back(lease.claim)
        return True

    def count_other(self) -> None:
        """Count something beside the frames that costs CPU time, such as a call of any method."""
        self._others += 1

    def review(self, lags_ns: Sequence[int] = ()) -> list[Lease]:
        """Measure costs and load; to be called a few times a second on the event loop's thread.

        Args:
            lags_ns: how late timers of the event loop fired since the last review.

        Returns:
            Sessions to let go so that the others stay in time.
        """
        counts = [lease.rate_meter.review() for lease in self._leases.values()]
        for count in counts:
            self._count(count)
        for lease in self._leases.values():
            self._spent = self._spent.plus(lease.pictures.review())
            if lease.pictures.mean is not None and lease.session_id not in self._leaving:
                self.capacity.measured(lease.claim, lease.pictures.mean, lease.pictures.ratio)
        reading = Reading.now(self._frames, self._others, self._spent)
        goal = self.capacity.review(reading, counts, lags_ns, self._usual_budget_ns)
        going = [] if goal is None else self._let_go(goal)
        if self._config.max_load > 1:
            # Otherwise the load is bounded, and sessions keep the rates that were granted.
            self.pace.review(counts)
        self.reviewed_load = self.capacity.load
        return going

    @property
    def _usual_budget_ns(self) -> int:
        """The budget that three of four sessions have at least, and never more than the default.

        A crowd that asks for long ones must not hide that the server is late for others.
        """
        budgets_ns = sorted(lease.terms.budget_ns for lease in self._leases.values())
        if not budgets_ns:
            return NEVER_NS
        default_ns = round(self._config.default_budget_ms * _NS_PER_MS)
        return min(budgets_ns[len(budgets_ns) // 4], default_ns)

    def _take_load(self, demand: Demand, older: Lease | None) -> Claim:
        """Take a share of the load, in place of another session's, or leave all as it was."""
        if older is None or older.session_id in self._leaving:
            return self.capacity.take(demand)
        self.capacity.give_back(older.claim)
        try:
            claim = self.capacity.take(demand)
        except BaseException:
            self.capacity.take_again(older.claim)
            raise
        self._leaving.add(older.session_id)
        return claim

    def _count(self, counts: FrameCounts) -> None:
        self._frames += counts.work
        self._others += counts.others

    def _let_go(self, goal: float) -> list[Lease]:
        """Let sessions go, down to a load: the newest, but those with dear frames before others.

        Others go only when the next review finds that it was not enough.
        """
        staying = [lease for name, lease in self._leases.items() if name not in self._leaving]
        capacity = self.capacity
        dear = [item for item in staying if capacity.is_dear(item.claim, item.claim.picture.cpu_ns)]
        left = len(staying)
        going: list[Lease] = []
        for lease in reversed(dear or staying):
            if left == 1 or capacity.load <= goal:
                break
            capacity.give_back(lease.claim)
            self._leaving.add(lease.session_id)
            going.append(lease)
            left -= 1
        return going

    def _asked(self, opening: Opening, holder: Holder) -> _Asked:
        """Return what a vehicle asks for, where anything but the load allows it.

        Raises:
            StreamError: it does not; the type says why.
        """
        if self.draining:
            raise DrainingError("the server is stopping; connect to another one")
        model, resumed = self._begun(opening)
        goes_on_from = session_of(opening.ticket) if resumed else None
        present = self._shares.check(opening.vehicle_id, holder, goes_on_from)
        older = self._leases.get(present or "")
        budget_ns = self._budget_ns(opening.budget_ms, model)
        if len(self._leases) - (older is not None) >= self._config.max_sessions:
            raise TooManySessionsError(
                f"all {self._config.max_sessions} sessions are taken; try again later"
            )
        demand = Demand(model.name, opening.frame_rate_hz or model.rate_hz, budget_ns)
        return _Asked(model, resumed, older, demand)

    def _begun(self, opening: Opening) -> tuple[Model, SessionState | None]:
        """Return the model that drives a vehicle, and the state that it goes on with, if any."""
        model = self.catalogue.model(opening.model, opening.vehicle_id)
        if not opening.ticket:
            return model, None
        try:
            return model, self._resumed(opening, model)
        except BadTicketError:
            if opening.model is None:
                # Its session may have opened before the models or their shares were changed.
                for other in self.models.values():
                    with contextlib.suppress(BadTicketError):
                        return other, self._resumed(opening, other)
            raise

    def _resumed(self, opening: Opening, model: Model) -> SessionState:
        return self._office.open(opening.ticket, opening.vehicle_id, model.bundle)

    def _budget_ns(self, asked_ms: float | None, model: Model) -> int:
        config = self._config
        budget_ms = config.default_budget_ms if asked_ms is None else asked_ms
        if budget_ms > config.max_budget_ms:
            raise InvalidFieldError(
                f"open.budget_ms must be at most {config.max_budget_ms:g}, is {budget_ms:g}"
            )
        smallest_ns = self.capacity.smallest_budget_ns(model.name)
        smallest_ms = max(config.min_budget_ms, smallest_ns / _NS_PER_MS)
        if budget_ms < smallest_ms:
            raise BudgetTooSmallError(
                f"a budget of {budget_ms:g} ms cannot be kept; ask for {smallest_ms:.3g} ms or more"
            )
        return round(budget_ms * _NS_PER_MS)

    def _terms(self, model: Model, opening: Opening, budget_ns: int) -> Terms:
        return Terms(
            contract=model.bundle.contract,
            profile=model.profile,
            policy=opening.policy,
            budget_ns=budget_ns,
            max_waiting_frames=self._config.max_waiting_frames,
            idle_timeout_ns=round(self._config.idle_timeout_s * 1e9),
            expiring_notice_ns=round(self._config.expiring_notice_s * 1e9),
            ticket_every_frames=self._config.ticket_every_frames,
            ring_length=model.queue.ring_length if opening.replays_rings else 0,
            with_horizon=opening.wants_horizon,
        )
