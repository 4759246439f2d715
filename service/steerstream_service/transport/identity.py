"""Who makes a call, and which vehicles and calls are theirs.

An identity is a name that the caller cannot choose: its authority has put it into a certificate or
a token, or a proxy that has seen one of these puts it into a header. A `vehicle_id` is a name that
the caller does choose, and belongs to one identity.
"""

from __future__ import annotations

import ipaddress
import time
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steerstream_service.config import VEHICLE_ID, Config
from steerstream_service.errors import ConfigError, ForbiddenError, UnauthenticatedError

if TYPE_CHECKING:
    from steerstream_service.transport.tokens import Tokens

_BEARER = "bearer "
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Caller:
    """The other end of a call.

    Attributes:
        names: the identities that it has shown, such as the names in its certificate.
        address: the host that it calls from; None for a Unix socket.
        valid_until_s: when what it has shown counts no longer, by the wall clock; None for never.
    """

    names: tuple[str, ...]
    address: str | None
    valid_until_s: float | None = None

    @property
    def valid_for_s(self) -> float | None:
        """How long what it has shown still counts, in seconds; None for ever."""
        if self.valid_until_s is None:
            return None
        return max(0.0, self.valid_until_s - time.time())


class Identities:
    """Finds the identity of a call, and judges what it may do.

    Args:
        config: the server's settings.
        asks_for_certificates: whether TLS asks every client for a certificate.

    Raises:
        ConfigError: the settings do not fit together, or the file of keys cannot be used.
    """

    def __init__(self, config: Config, *, asks_for_certificates: bool = False) -> None:
        self._source = _source(config, asks_for_certificates=asks_for_certificates)
        self._owners = config.vehicle_identity
        self._administrators = frozenset(config.administrators)
        # As HTTP/2 has them.
        self._header = config.identity_header.lower()
        self._proxies = _networks(config.trusted_proxies)
        self._tokens = _tokens(config) if self._source == "token" else None
        if self._administrators and not self.in_force:
            raise ConfigError("administrators are named, but identity is none: nobody could be one")
        if self._owners != Config().vehicle_identity and not self.in_force:
            raise ConfigError(
                "vehicle_identity is set, but identity is none: every caller could drive as any "
                "vehicle; give --client-ca, token_keys, or identity = 'header'"
            )

    @property
    def in_force(self) -> bool:
        """Whether callers have identities."""
        return self._source != "none"

    @property
    def names_administrators(self) -> bool:
        """Whether administrators are named, so that nobody else may make their calls."""
        return bool(self._administrators)

    def caller(self, context: Any) -> Caller:  # noqa: ANN401 - any method's context
        """Return who makes a call.

        Raises:
            UnauthenticatedError: it shows no identity, where callers have one.
        """
        address = host(context.peer())
        if self._tokens is not None:
            shown = self._tokens.read(_bearer(context))
            return Caller((shown.subject,), address, shown.valid_until_s)
        match self._source:
            case "certificate":
                return Caller(_certified(context), address)
            case "header":
                return Caller((self._handed_on(context, address),), address)
        return Caller((), address)

    def owner(self, caller: Caller, vehicle_id: str) -> str | None:
        """Return the identity by which a vehicle is the caller's; None where there are none.

        Raises:
            ForbiddenError: it is not the caller's.
        """
        if not self.in_force:
            return None
        owners = {owner.replace(VEHICLE_ID, vehicle_id) for owner in self._owners}
        for name in caller.names:
            if name in owners:
                return name
        raise ForbiddenError(
            f"{', '.join(map(repr, caller.names))} does not own the vehicle {vehicle_id!r}: "
            f"vehicle_identity on the server asks for {_asked_for(self._owners, vehicle_id)}; "
            + self._advice
        )

    def is_administrator(self, caller: Caller) -> bool:
        """Whether a caller is one of the administrators that are named."""
        return not self._administrators.isdisjoint(caller.names)

    @property
    def _advice(self) -> str:
        if self._source == "header":
            return f"check the vehicle's name, and what the proxy hands on as {self._header}"
        return f"use the vehicle's own {self._source}, or its own name"

    def _handed_on(self, context: Any, address: str | None) -> str:  # noqa: ANN401
        if address is not None:
            known = ipaddress.ip_address(address)
            if not any(known in network for network in self._proxies):
                raise UnauthenticatedError(
                    f"{address} is none of trusted_proxies, so its {self._header} counts for "
                    "nothing; connect through the proxy"
                )
        values = _metadata(context, self._header)
        if len(values) != 1 or not values[0]:
            raise UnauthenticatedError(
                f"the proxy must hand on one {self._header}; set it there, and check that the "
                "vehicle shows the proxy who it is"
            )
        return values[0]


def _source(config: Config, *, asks_for_certificates: bool) -> str:
    source = config.identity
    if source == "auto":
        return "token" if config.token_keys else "certificate" if asks_for_certificates else "none"
    if source == "certificate" and not asks_for_certificates:
        raise ConfigError("identity is 'certificate', which needs --client-ca")
    if source == "token" and not config.token_keys:
        raise ConfigError("identity is 'token', which needs token_keys")
    return source


def _asked_for(owners: Sequence[str], vehicle_id: str) -> str:
    """Say what kind of name owns a vehicle, but no text of the setting: a stranger may read it."""
    kinds = {_kind(owner, vehicle_id): None for owner in owners}
    return " or ".join(kinds)


def _kind(owner: str, vehicle_id: str) -> str:
    before, placeholder, after = owner.partition(VEHICLE_ID)
    scheme, is_uri, _ = before.partition("://")
    if not placeholder:
        return "a name that owns every vehicle"
    if is_uri:
        return f"a {scheme}:// name with {vehicle_id!r} in it"
    fixed = [place for place, text in (("before", before), ("after", after)) if text]
    if fixed:
        return f"the name {vehicle_id!r} with a fixed text {' and '.join(fixed)} it"
    return f"the name {vehicle_id!r} alone"


def _tokens(config: Config) -> Tokens:
    # Imported here and not above: the library takes a while, and few servers judge tokens.
    from steerstream_service.transport.tokens import Tokens  # noqa: PLC0415

    return Tokens(Path(config.token_keys), config.token_audience)


def _certified(context: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Return the URI and DNS names in the client's certificate, which TLS has verified."""
    shown = context.auth_context()
    names = [*shown.get("peer_uri", ()), *shown.get("peer_dns", ())]
    if not names:
        raise UnauthenticatedError(
            "the call shows no certificate with a URI or DNS name (subjectAltName); use one"
        )
    return tuple(name.decode(errors="replace") for name in names)


def _bearer(context: Any) -> str:  # noqa: ANN401
    values = _metadata(context, "authorization")
    if len(values) != 1 or not values[0].lower().startswith(_BEARER):
        raise UnauthenticatedError("the call needs one header 'authorization: Bearer TOKEN'")
    return values[0][len(_BEARER) :].strip()


def _metadata(context: Any, key: str) -> list[str]:  # noqa: ANN401
    found = context.invocation_metadata() or ()
    return [value for name, value in found if name == key and isinstance(value, str)]


def host(peer: str) -> str | None:
    """Return the host of a peer as gRPC names it, `ipv4:HOST:PORT`; None for a Unix socket."""
    kind, _, place = urllib.parse.unquote(peer).partition(":")
    if kind not in {"ipv4", "ipv6"}:
        return None
    name = place.rpartition(":")[0].strip("[]").partition("%")[0]
    address = ipaddress.ip_address(name)
    # What listens on IPv6 sees IPv4 addresses in this form.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _networks(texts: Sequence[str]) -> list[_Network]:
    try:
        return [ipaddress.ip_network(item) for item in texts]
    except ValueError as error:
        raise ConfigError(f"trusted_proxies: {error}; give networks such as 10.0.0.0/8") from None
