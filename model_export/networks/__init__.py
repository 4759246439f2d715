"""The networks: one file each, found by its name, which a configuration gives as `kind`.

A network's file defines `NETWORK`, a subclass of `DrivingNetwork`. Nothing else names it.
One outside of this package is found by its module's full name, with a dot in it.
"""

from __future__ import annotations

import importlib
import pkgutil

from model_export.config import READER, Config
from model_export.errors import ConfigError
from model_export.networks.base import DrivingNetwork, State
from steerstream_bundle.contract import ContractError

__all__ = ["DrivingNetwork", "State", "build", "kinds"]


def kinds() -> tuple[str, ...]:
    """Return the names of all networks of this package, sorted."""
    found = (module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)
    return tuple(sorted(set(found) - {"base"}))


def build(config: Config) -> DrivingNetwork:
    """Make the network that a configuration names, with fresh weights from torch's generator.

    Raises:
        ConfigError: there is no network of that name, or its settings make none.
    """
    network = _found(config.network.kind)
    settings = READER.read(network.Settings, dict(config.network.settings), "network.settings")
    try:
        return network(config, settings)
    except (ContractError, ValueError, RuntimeError) as error:
        raise ConfigError(f"network.settings: {settings} makes no network: {error}") from None


def _found(kind: str) -> type[DrivingNetwork]:
    if "." not in kind and kind not in kinds():
        raise ConfigError(
            f"no network {kind!r}; there are: {', '.join(kinds())}, and modules by their full name"
        )
    name = kind if "." in kind else f"{__name__}.{kind}"
    try:
        network: type[DrivingNetwork] = importlib.import_module(name).NETWORK
    except ModuleNotFoundError as error:
        raise ConfigError(f"no network {kind!r}: {error}; is its folder on PYTHONPATH?") from None
    except AttributeError:
        raise ConfigError(f"network {kind!r}: its module defines no NETWORK") from None
    return network
