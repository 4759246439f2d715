"""Bounds what one vehicle, one identity and one address may hold of a server's sessions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from steerstream_service.config import Config
from steerstream_service.errors import ShareTakenError


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose a session is.

    Attributes:
        identity: the identity that owns its vehicle; None where vehicles have none.
        address: the host that it came from; None where that is not known, as for a Unix socket.
    """

    identity: str | None = None
    address: str | None = None


class Shares:
    """Counts sessions by vehicle, identity and address.

    Args:
        config: the server's settings.
    """

    def __init__(self, config: Config) -> None:
        self._takes_over = config.second_session == "take_over"
        self._per_identity = config.max_sessions_per_identity
        self._per_address = config.max_sessions_per_address
        self._of_vehicles: dict[str, str] = {}
        self._held: dict[str, tuple[str, Holder]] = {}
        self._identities: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()

    def check(self, vehicle_id: str, holder: Holder, goes_on_from: str | None = None) -> str | None:
        """Check that there is room for one session more.

        Args:
            vehicle_id: the vehicle that it would serve.
            holder: whose it would be.
            goes_on_from: the id of the session whose valid ticket it opens with; None without one.

        Returns:
            The id of the vehicle's present session, which the new one takes the place of; None if
            it has none.

        Raises:
            ShareTakenError: there is no room.
        """
        older = self._of_vehicles.get(vehicle_id)
        leaving = Holder() if older is None else self._held[older][1]
        identity, address = holder.identity, holder.address
        # A ticket of the very session that has the place shows that the same program goes on. One
        # of any session before it shows nothing: whoever drives now may have taken over since.
        goes_on = goes_on_from == older and leaving.identity == identity
        if older is not None and not self._takes_over and not goes_on:
            raise ShareTakenError(
                "this vehicle has a session already; end it, open with its last ticket, or wait "
                "until the server has noticed that its network is gone"
            )
        if identity is not None:
            others = self._identities[identity] - (leaving.identity == identity)
            if others >= self._per_identity:
                raise ShareTakenError(
                    f"{identity!r} has all {self._per_identity} sessions of an identity; end one"
                )
        if self._per_address and address is not None:
            others = self._addresses[address] - (leaving.address == address)
            if others >= self._per_address:
                raise ShareTakenError(
                    f"{address} has all {self._per_address} sessions of an address; end one"
                )
        return older

    def add(self, session_id: str, vehicle_id: str, holder: Holder) -> None:
        """Count a session; the vehicle's last one was removed before.

        Args:
            session_id: the session.
            vehicle_id: the vehicle that it serves.
            holder: whose it is.
        """
        self._of_vehicles[vehicle_id] = session_id
        self._held[session_id] = vehicle_id, holder
        if holder.identity is not None:
            self._identities[holder.identity] += 1
        if holder.address is not None:
            self._addresses[holder.address] += 1

    def remove(self, session_id: str) -> None:
        """Count a session no more."""
        vehicle_id, holder = self._held.pop(session_id)
        del self._of_vehicles[vehicle_id]
        _take_one(self._identities, holder.identity)
        _take_one(self._addresses, holder.address)


def _take_one(counts: Counter[str], name: str | None) -> None:
    """Take one off a count; names without a session are forgotten, so that they do not pile up."""
    if name is None:
        return
    counts[name] -= 1
    if not counts[name]:
        del counts[name]
