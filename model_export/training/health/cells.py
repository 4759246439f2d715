"""The recurrent cells of a network, found by their type, so that no look needs to know its name."""

from __future__ import annotations

from model_export.networks import DrivingNetwork
from model_export.networks.parts.cells import Cell


def cells_of(network: DrivingNetwork) -> dict[str, Cell]:
    """Return a network's recurrent cells by their names in it, the lowest first."""
    return {name: part for name, part in network.named_modules() if isinstance(part, Cell)}
