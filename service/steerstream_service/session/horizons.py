"""What a network says of the time after a frame, limited step by step as if it were commanded."""

from __future__ import annotations

from collections.abc import Sequence

from steerstream_bundle.contract import SPEED, STEERING_TORQUE, STEERING_WHEEL_ANGLE, Contract
from steerstream_service.domain import ControlValues, Horizon, Stddevs
from steerstream_service.session import vehicle_limits

_HEADS = (STEERING_WHEEL_ANGLE, SPEED, STEERING_TORQUE)

_Columns = tuple[int | None, ...]


class Horizons:
    """Makes the horizons of a session's commands.

    Args:
        contract: of a network that has a horizon.
        profile: the limits of the vehicle.
    """

    def __init__(self, contract: Contract, profile: vehicle_limits.Profile) -> None:
        horizon = contract.horizon
        bounds = {output.head: (output.minimum, output.maximum) for output in contract.outputs}
        heads = [output.head for output in horizon.outputs]
        stddevs = [output.head for output in horizon.outputs if output.stddev_tensor]
        first_stddev = len(heads) * horizon.steps
        self._profile = profile
        self._spacing_ms = horizon.spacing_ms
        self._first = len(contract.values) - len(horizon.values)
        self._steps: list[_Columns] = [
            _columns({head: at * horizon.steps + step for at, head in enumerate(heads)})
            for step in range(horizon.steps)
        ]
        self._stddevs = _columns({head: at for at, head in enumerate(stddevs, first_stddev)})
        self._plausible = (
            *(bounds[head] for head in heads for _ in range(horizon.steps)),
            *[vehicle_limits.ANY_STDDEV] * len(stddevs),
        )

    def after(
        self, outputs: Sequence[float], limited: ControlValues, vehicle_speed_mps: float | None
    ) -> Horizon | None:
        """Return what comes after a command; None where a value of it is not plausible.

        Args:
            outputs: of the step, in the order of the contract's `values`.
            limited: the values of the command.
            vehicle_speed_mps: the vehicle's measured speed; None where it is not known.
        """
        ahead = outputs[self._first :]
        if not vehicle_limits.is_plausible(ahead, self._plausible):
            return None
        raw, steps = limited, []
        for columns in self._steps:
            raw = ControlValues(*_picked(ahead, columns))
            previous = vehicle_limits.Previous(limited, self._spacing_ms / 1e3)
            limited, _ = vehicle_limits.apply(
                raw, self._profile, vehicle_speed_mps=vehicle_speed_mps, previous=previous
            )
            steps.append(limited)
        stddevs = Stddevs(*_picked(ahead, self._stddevs))
        return Horizon(self._spacing_ms, tuple(steps), raw, stddevs)


def _columns(of_heads: dict[str, int]) -> _Columns:
    return tuple(of_heads.get(head) for head in _HEADS)


def _picked(values: Sequence[float], columns: _Columns) -> list[float | None]:
    return [None if at is None else values[at] for at in columns]
