"""The networks: one file each, found by its name, which a configuration gives as ``kind``.

A network's file defines ``NETWORK``, a subclass of :class:`DrivingNetwork`. Nothing else names it.
"""

from __future__ import annotations

import importlib
import pkgutil

from model_export import strict
from model_export.config import Config
from model_export.errors import ConfigError
from model_export.networks.base import DrivingNetwork, State

__all__ = ["DrivingNetwork", "State", "build", "kinds"]


def kinds() -> tuple[str, ...]:
    """Return the names of all networks, sorted."""
    found = (module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)
    return tuple(sorted(set(found) - {"base"}))


def build(config: Config) -> DrivingNetwork:
    """Make the network that a configuration names, with fresh weights from torch's generator.

    Raises:
        ConfigError: there is no network of that name, or it has no such setting.
    """
    kind = config.network.kind
    if kind not in kinds():
        raise ConfigError(f"no network {kind!r}; there are: {', '.join(kinds())}")
    network: type[DrivingNetwork] = importlib.import_module(f"{__name__}.{kind}").NETWORK
    settings = dict(config.network.settings)
    return network(config, strict.build(network.Settings, settings, "network.settings"))
