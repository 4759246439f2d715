"""The models that a server serves, and which of them drives a vehicle that asks for none."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

from steerstream_bundle.contract import LONGEST_NAME
from steerstream_bundle.errors import BundleError
from steerstream_bundle.loading import Bundle
from steerstream_service.config import Config
from steerstream_service.engine.model_queue import ModelQueue
from steerstream_service.errors import UnknownModelError
from steerstream_service.session import vehicle_limits

_SLACK = 1e-9
"""Ten shares of 0.1 add up to a little more than 1."""


class RoutingError(Exception):
    """The models cannot be changed so."""


class Model:
    """A served model: its bundle, its queue in the engine, and the limits of its vehicle.

    Args:
        bundle: the network.
        config: the server's settings.
        name: the name that it is served under; by default its contract's.

    Raises:
        BundleError: its contract names a limits profile that does not exist, or the name is longer
            than vehicles can ask for.
    """

    def __init__(self, bundle: Bundle, config: Config, name: str = "") -> None:
        profile = bundle.contract.limits_profile
        if profile not in vehicle_limits.PROFILES:
            raise BundleError(
                f"{bundle.contract.name}: limits profile {profile!r} is not one of "
                f"{sorted(vehicle_limits.PROFILES)}"
            )
        if len(name) > LONGEST_NAME:
            raise BundleError(
                f"a model's name must be at most {LONGEST_NAME} characters, has {len(name)}"
            )
        self.bundle = bundle
        self.name = name or bundle.contract.name
        self.rate_hz = bundle.contract.rate_hz
        self.profile = vehicle_limits.PROFILES[profile]
        self.queue = ModelQueue(
            bundle, sessions=config.max_sessions, max_batch=config.max_batch, name=self.name
        )


class Catalogue:
    """The models that sessions can open with.

    All of it belongs to the event loop's thread. A change makes a new mapping, so that other
    threads may read `models` at any time.

    Args:
        models: the served models, by name.
        default: name of the model for vehicles that ask for none.
    """

    def __init__(self, models: Mapping[str, Model], default: str) -> None:
        self.models = models
        self.default = default
        self.shares: Mapping[str, float] = {}
        """Of the vehicles that ask for no model, by the name of one that is not the default."""

    def model(self, name: str | None, vehicle_id: str) -> Model:
        """Return the model that drives a vehicle.

        Args:
            name: the one that it asks for; None for the server's choice.
            vehicle_id: the vehicle's name. It chooses its share, so that a vehicle that comes
                back, or goes to another server with the same shares, gets the same model.

        Raises:
            UnknownModelError: it is not served.
        """
        return self.named(name or self._share_of(vehicle_id))

    def named(self, name: str) -> Model:
        """Return the model of a name; an empty one is none.

        Raises:
            UnknownModelError: it is not served.
        """
        model = self.models.get(name)
        if model is None:
            raise UnknownModelError(
                f"no model {name!r} is served; choose one of {sorted(self.models)}"
            )
        return model

    def add(self, model: Model) -> None:
        """Serve one more model.

        Raises:
            RoutingError: the name is taken.
        """
        if model.name in self.models:
            raise RoutingError(f"a model {model.name!r} is served already")
        self.models = {**self.models, model.name: model}

    def remove(self, name: str) -> Model:
        """Serve a model no more, and return it; its share goes to the default.

        Raises:
            UnknownModelError: it is not served.
            RoutingError: it is the default.
        """
        model = self.named(name)
        if name == self.default:
            raise RoutingError(f"{name!r} is the default; make another one the default before")
        self.models = {other: each for other, each in self.models.items() if other != name}
        self.shares = {other: share for other, share in self.shares.items() if other != name}
        return model

    def route(self, default: str, shares: Mapping[str, float]) -> None:
        """Choose anew which models drive vehicles that ask for none.

        Args:
            default: for all that are in no share.
            shares: of other models, each from 0 to 1, together at most 1.

        Raises:
            UnknownModelError: a model is not served.
            RoutingError: a share is out of its range.
        """
        for name in (default, *shares):
            self.named(name)
        for name, share in shares.items():
            check_share(name, share)
            if name == default:
                raise RoutingError(f"{name!r} is the default; it drives what the shares leave")
        if sum(shares.values()) > 1.0 + _SLACK:
            raise RoutingError(f"the shares add up to {sum(shares.values()):g}, which is above 1")
        self.default = default
        self.shares = {name: share for name, share in sorted(shares.items()) if share}

    def _share_of(self, vehicle_id: str) -> str:
        if not self.shares:
            return self.default
        place = place_of(vehicle_id, "model")
        for name, share in self.shares.items():
            place -= share
            if place < 0:
                return name
        return self.default


def check_share(name: str, share: float) -> None:
    """Check a share of vehicles.

    Raises:
        RoutingError: it is not from 0 to 1.
    """
    if not (math.isfinite(share) and 0.0 <= share <= 1.0):
        raise RoutingError(f"the share of {name!r} must be from 0 to 1, is {share}")


def place_of(vehicle_id: str, purpose: str) -> float:
    """Return where a vehicle stands among all, from 0 to 1, the same on every server.

    Args:
        vehicle_id: its name.
        purpose: what for; a vehicle's places for different ones have nothing to do with each other.
    """
    digest = hashlib.sha256(f"{purpose}:{vehicle_id}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64
