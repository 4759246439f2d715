"""The stepper for a network: with state on the GPU if one runs it, else in the host's memory."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from steerstream_bundle.errors import BundleError, StepError
from steerstream_bundle.loading import Bundle
from steerstream_service.engine.host_stepper import Stepper
from steerstream_service.telemetry.logs import fields

if TYPE_CHECKING:
    from steerstream_service.engine.device_stepper import DeviceStepper

_log = logging.getLogger(__name__)


class _Opener(Protocol):
    def __call__(self, *, graphs: bool) -> DeviceStepper: ...


def open_stepper(
    bundle: Bundle, *, sessions: int, buckets: Sequence[int]
) -> Stepper | DeviceStepper:
    """Return a stepper on what runs the bundle.

    Args:
        bundle: the network.
        sessions: slots of its state pool.
        buckets: the sizes to which batches are padded where padding pays; the last is the largest.

    Raises:
        BundleError: the network cannot be run there.
    """
    if bundle.runtime.provider.pool_on_device:
        return _on_gpu(bundle, sessions, buckets)
    return Stepper(bundle, sessions=sessions, buckets=buckets)


def _on_gpu(bundle: Bundle, sessions: int, buckets: Sequence[int]) -> DeviceStepper:
    try:
        # They need the package onnx, which a server without a GPU does not have.
        from steerstream_bundle import cudart  # noqa: PLC0415
        from steerstream_service.engine import accelerator, device_stepper  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise BundleError(f"{error}; pip install onnx") from None

    def stepper(*, graphs: bool) -> DeviceStepper:
        return device_stepper.DeviceStepper(
            bundle,
            sessions=sessions,
            buckets=buckets,
            accelerator=accelerator.Cuda(cudart.load(), graphs=graphs),
        )

    try:
        return _with_graphs_if_possible(stepper, bundle.contract.name)
    except StepError as error:
        raise BundleError(f"{bundle.contract.name}: the GPU cannot hold it: {error}") from None


def _with_graphs_if_possible(stepper: _Opener, model: str) -> DeviceStepper:
    try:
        return stepper(graphs=True)
    except BundleError as error:
        # Control flow, and operators that CUDA leaves to the CPU, cannot be captured.
        _log.warning("no_cuda_graphs", extra=fields(model=model, reason=str(error)))
        return stepper(graphs=False)
