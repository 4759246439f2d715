"""How well a drive kept its lane."""

from __future__ import annotations

import math
from dataclasses import dataclass

INTERVENTION_OFFSET_M = 1.5
"""Lateral offset beyond which the vehicle is put back on its lane's centre."""

INTERVENTION_COST_S = 6.0
"""The cost of an intervention in seconds, from PilotNet's paper (arXiv 1604.07316)."""


@dataclass
class Score:
    """Sums over a drive.

    Lateral error is the vehicle's distance from its lane's centre, weighted by time. A departure
    is counted when the vehicle's side first crosses one of its lane's lines.

    Attributes:
        departure_offset_m: lateral offset at which a side of the vehicle reaches a line: half of
            the lane's width less half of the vehicle's.
        intervention_offset_m: lateral offset beyond which the vehicle is put back.
        elapsed_s: simulated time.
        distance_m: driven.
        lane_departures: how often a side crossed a line.
        outside_s: time with a side beyond a line.
        interventions: how often the vehicle was put back, or its driver took over because the guard
            let go.
        releases: those of them where the guard let go.
        is_released: whether it has let go by now.
        lateral_error_max_m: largest distance from the lane's centre.
    """

    departure_offset_m: float
    intervention_offset_m: float = INTERVENTION_OFFSET_M
    elapsed_s: float = 0.0
    distance_m: float = 0.0
    lane_departures: int = 0
    outside_s: float = 0.0
    interventions: int = 0
    releases: int = 0
    is_released: bool = False
    lateral_error_max_m: float = 0.0
    _error_sum: float = 0.0
    _square_sum: float = 0.0
    _is_outside: bool = False

    def add(self, lateral_offset_m: float, speed_mps: float, seconds: float) -> bool:
        """Count some time at one offset.

        Args:
            lateral_offset_m: of the vehicle, left of its lane's centre.
            speed_mps: of the vehicle.
            seconds: time spent there.

        Returns:
            Whether the vehicle has to be put back.
        """
        error = abs(lateral_offset_m)
        self.elapsed_s += seconds
        self.distance_m += speed_mps * seconds
        self.lateral_error_max_m = max(self.lateral_error_max_m, error)
        self._error_sum += error * seconds
        self._square_sum += error * error * seconds
        self._count_departure(error > self.departure_offset_m, seconds)
        if error <= self.intervention_offset_m:
            return False
        # A driver who has taken over already is counted.
        self.interventions += not self.is_released
        self._is_outside = False
        return True

    def release(self, is_released: bool) -> None:  # noqa: FBT001
        """Say whether the guard has let go from now on, so that the driver takes over.

        An unbroken stretch of that is one intervention, whatever happens in it.

        Args:
            is_released: whether it has.
        """
        begins = is_released and not self.is_released
        self.interventions += begins
        self.releases += begins
        self.is_released = is_released

    def _count_departure(self, is_outside: bool, seconds: float) -> None:  # noqa: FBT001
        self.lane_departures += is_outside and not self._is_outside
        self.outside_s += seconds * is_outside
        self._is_outside = is_outside

    @property
    def autonomy_percent(self) -> float:
        """Autonomy, `(1 - 6 s x interventions / elapsed) x 100`, not less than 0."""
        if self.elapsed_s == 0.0:
            return math.nan
        charged = INTERVENTION_COST_S * self.interventions
        return max(0.0, 1.0 - charged / self.elapsed_s) * 100.0

    def summary(self) -> dict[str, float]:
        """Return the score's figures by name and unit."""
        elapsed = self.elapsed_s or math.nan
        return {
            "simulated_s": round(self.elapsed_s, 3),
            "distance_m": round(self.distance_m, 1),
            "lateral_error_mean_m": round(self._error_sum / elapsed, 4),
            "lateral_error_rms_m": round(math.sqrt(self._square_sum / elapsed), 4),
            "lateral_error_max_m": round(self.lateral_error_max_m, 4),
            "lane_departures": self.lane_departures,
            "outside_lane_s": round(self.outside_s, 3),
            "interventions": self.interventions,
            "releases": self.releases,
            "autonomy_percent": round(self.autonomy_percent, 3),
        }
