"""The networks, by the name that a configuration gives them; one file each."""

from __future__ import annotations

from model_export.config import Config
from model_export.errors import ConfigError
from model_export.networks.base import DrivingNetwork, State
from model_export.networks.pilotnet_lstm import PilotNetLstm

__all__ = ["NETWORKS", "DrivingNetwork", "State", "build"]

NETWORKS: dict[str, type[DrivingNetwork]] = {"pilotnet_lstm": PilotNetLstm}


def build(config: Config) -> DrivingNetwork:
    """Make the network that a configuration names, with fresh weights from torch's generator.

    Raises:
        ConfigError: there is no network of that name.
    """
    kind = config.network.kind
    if kind not in NETWORKS:
        raise ConfigError(f"no network {kind!r}; there are: {', '.join(sorted(NETWORKS))}")
    return NETWORKS[kind](config)
