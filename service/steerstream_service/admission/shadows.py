"""Which sessions a network is stepped beside, to compare it with the one that drives them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from steerstream_service.admission.admission import Admission, Lease
from steerstream_service.admission.catalogue import Model, RoutingError, check_share, place_of
from steerstream_service.admission.load import Claim, Demand
from steerstream_service.admission.picture_cost import NO_PICTURE
from steerstream_service.domain import Slot
from steerstream_service.engine.engine import Engine
from steerstream_service.engine.shadow import LATER_NS, Comparison, ShadowSession
from steerstream_service.errors import TooManySessionsError


class Shadows:
    """Gives sessions their shadows, as far as the server has room for them.

    Args:
        admission: whose load a shadow's is added to.
        engine: where shadows are stepped.
    """

    def __init__(self, admission: Admission, engine: Engine) -> None:
        self._admission = admission
        self._engine = engine
        self._model: Model | None = None
        self.comparison: Comparison | None = None
        """What the present comparison has found; None where there is none."""
        self._places: dict[str, _Place] = {}
        # With its session, and not with the stream: that may end a second after a newer session has
        # its place, and all rows of the pool are counted on for sessions and their shadows.
        admission.on_release = self._leave

    def compare(self, name: str, share: float) -> None:
        """Begin a comparison in place of the one before.

        Args:
            name: a served model; empty for no comparison.
            share: of the vehicles that open from now on.

        Raises:
            UnknownModelError: it is not served.
            RoutingError: the share is out of its range, or the default's pictures are not its.
        """
        model = comparison = None
        if name:
            check_share(name, share)
            model = self._admission.catalogue.named(name)
            default = self._admission.models[self._admission.default]
            if not _see_the_same(model, default):
                raise RoutingError(
                    f"{name!r} does not see the same part of a picture in the same size as "
                    f"{default.name!r}, whose pictures it would be given"
                )
            comparison = Comparison(name, share)
        if self.comparison is not None:
            self.comparison.has_ended = True
        self._model, self.comparison = model, comparison

    @contextlib.contextmanager
    def beside(self, lease: Lease) -> Iterator[ShadowSession | None]:
        """Give a session a shadow, until the block or the session ends, if it is in the share."""
        place = self._place(lease)
        if place is not None:
            self._places[lease.session_id] = place
        try:
            yield place and place.session
        finally:
            self._leave(lease.session_id)

    def _leave(self, session_id: str) -> None:
        place = self._places.pop(session_id, None)
        if place is not None:
            place.session.close()
            self._admission.capacity.give_back(place.claim)
            place.model.queue.pool.release(place.slot)

    def _place(self, lease: Lease) -> _Place | None:
        model, comparison = self._model, self.comparison
        if model is None or comparison is None or not _is_meant(lease, model, comparison):
            return None
        demand = Demand(model.name, lease.demand.rate_hz, lease.demand.budget_ns + LATER_NS)
        if not model.queue.pool.free:
            return None
        try:
            # Its pictures are the session's, which pays for them.
            claim = self._admission.capacity.take(demand, NO_PICTURE)
        except TooManySessionsError:
            return None
        slot = model.queue.pool.allocate()
        contracts = lease.model.bundle.contract, model.bundle.contract
        session = ShadowSession(model.queue, slot, self._engine.submit, comparison, contracts)
        return _Place(session, model, slot, claim)


class _Place(NamedTuple):
    """What a shadow holds as long as its session lasts."""

    session: ShadowSession
    model: Model
    slot: Slot
    claim: Claim


def _is_meant(lease: Lease, model: Model, comparison: Comparison) -> bool:
    is_in_share = place_of(lease.opening.vehicle_id, "shadow") < comparison.share
    return is_in_share and lease.model is not model and _see_the_same(lease.model, model)


def _see_the_same(one: Model, other: Model) -> bool:
    first, second = one.bundle.contract, other.bundle.contract
    frame, others = first.frame, second.frame
    return (frame.shape, frame.crop, first.camera) == (others.shape, others.crop, second.camera)
