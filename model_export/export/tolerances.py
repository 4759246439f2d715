"""How far a bundle may be from what it was made from, by the precision that it computes in.

FP32 adds in another order, nothing more. FP16 has 11 bits and INT8 8, or 7 for weights: errors that
no kernel can help, and that a state carries on. Their tolerances stand in SI units, because what
matters is what the vehicle is told; a state has no unit, so its differences are told, not judged.
They are two to three times the worst that was measured over 500 frames of carried state (see the
README), and small beside each head's error on validation frames.
"""

from __future__ import annotations

from steerstream_bundle.contract import SPEED, STEERING_TORQUE, STEERING_WHEEL_ANGLE, Contract

TOLERANCE = 1e-4
"""FP32: any output, any state."""

_REDUCED = {
    "fp16": {STEERING_WHEEL_ANGLE: 0.003, SPEED: 0.03, STEERING_TORQUE: 0.01},
    "int8": {STEERING_WHEEL_ANGLE: 0.1, SPEED: 1.5, STEERING_TORQUE: 0.3},
}


def tolerances(contract: Contract) -> dict[str, float]:
    """Return the greatest difference allowed of each tensor that is judged, by its name.

    A standard deviation is judged as its head is, in the same unit.
    """
    reduced = _REDUCED.get(contract.provenance.precision)
    if reduced is None:
        values = (value.name for value in contract.values)
        states = (pair.output for pair in contract.state)
        return dict.fromkeys((*values, *states), TOLERANCE)
    found = {output.tensor: reduced[output.head] for output in contract.outputs}
    return found | {
        output.stddev_tensor: reduced[output.head]
        for output in contract.outputs
        if output.stddev_tensor
    }
