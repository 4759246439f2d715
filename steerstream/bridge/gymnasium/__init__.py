"""A served network as the policy of a Gymnasium environment; docs/simulators/gymnasium.md.

Gymnasium itself is imported by the command alone: a policy takes pictures and gives actions.
"""

from steerstream.bridge.gymnasium.adapters import Adapter, Info, car_racing, road
from steerstream.bridge.gymnasium.policy import Policy

__all__ = ["Adapter", "Info", "Policy", "car_racing", "road"]
