"""Costs of steps that are given, in place of measured ones."""

from __future__ import annotations

from steerstream_service.engine.step_cost import StepCost


def table(cost_ms, max_batch=8, *, pads=False):
    """The cost of every bucket from a function of its size."""
    cost = StepCost(max_batch, pads=pads)
    for size in cost.buckets:
        cost.measured(size, round(cost_ms(size) * 1e6))
    return cost
