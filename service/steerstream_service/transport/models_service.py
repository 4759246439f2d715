"""The ModelsService: lets operators change what a running server serves."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any, Protocol, TypeAlias

import grpc

from steerstream.v1 import models_service_pb2, models_service_pb2_grpc
from steerstream_bundle.errors import BundleError
from steerstream_service.admission.admission import Admission
from steerstream_service.admission.catalogue import Model, RoutingError
from steerstream_service.admission.shadows import Shadows
from steerstream_service.engine.shadow import Comparison
from steerstream_service.errors import ConfigError, UnknownModelError
from steerstream_service.transport.call_bounds import say_ending

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

_CODES: Mapping[type[Exception], grpc.StatusCode] = {
    UnknownModelError: grpc.StatusCode.NOT_FOUND,
    BundleError: grpc.StatusCode.INVALID_ARGUMENT,
    RoutingError: grpc.StatusCode.FAILED_PRECONDITION,
    ConfigError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    TimeoutError: grpc.StatusCode.DEADLINE_EXCEEDED,
}


class Keeper(Protocol):
    """Loads and unloads models."""

    @property
    def unloading(self) -> Collection[Model]:
        """Models that open no more sessions, and have some left."""

    async def load(self, file: str, digests: Collection[str], name: str) -> None:
        """Read a bundle, warm its network up, and serve it.

        Args:
            file: a name in the server's folder of bundles.
            digests: SHA-256 of the files that may be read, in hexadecimal.
            name: the name that it is served under; empty for its contract's.
        """

    def unload(self, name: str) -> None:
        """Open no more sessions with a model."""


class ModelsService(models_service_pb2_grpc.ModelsServiceServicer):
    """The servicer.

    Args:
        admission: knows the models and their sessions.
        shadows: compare models.
        keeper: loads and unloads them.
    """

    def __init__(self, admission: Admission, shadows: Shadows, keeper: Keeper) -> None:
        self._admission = admission
        self._shadows = shadows
        self._keeper = keeper

    async def DescribeServing(  # noqa: N802 - the name in the wire contract
        self,
        request: models_service_pb2.DescribeServingRequest,  # noqa: ARG002
        context: Context,  # noqa: ARG002
    ) -> models_service_pb2.DescribeServingResponse:
        """Describe what is served; see the wire contract."""
        return models_service_pb2.DescribeServingResponse(serving=self._serving())

    async def LoadModel(  # noqa: N802
        self, request: models_service_pb2.LoadModelRequest, context: Context
    ) -> models_service_pb2.LoadModelResponse:
        """Serve one more bundle; see the wire contract."""
        async with _typed_errors(context):
            digests = {digest.lower() for digest in request.sha256}
            await self._keeper.load(request.file, digests, request.name)
        return models_service_pb2.LoadModelResponse(serving=self._serving())

    async def UnloadModel(  # noqa: N802
        self, request: models_service_pb2.UnloadModelRequest, context: Context
    ) -> models_service_pb2.UnloadModelResponse:
        """Open no more sessions with a network; see the wire contract."""
        async with _typed_errors(context):
            self._keeper.unload(request.name)
        return models_service_pb2.UnloadModelResponse(serving=self._serving())

    async def RouteVehicles(  # noqa: N802
        self, request: models_service_pb2.RouteVehiclesRequest, context: Context
    ) -> models_service_pb2.RouteVehiclesResponse:
        """Share vehicles out to networks; see the wire contract."""
        async with _typed_errors(context):
            self._admission.catalogue.route(
                request.default_model or self._admission.default,
                {item.name: item.share for item in request.shares},
            )
        return models_service_pb2.RouteVehiclesResponse(serving=self._serving())

    async def ShadowModel(  # noqa: N802
        self, request: models_service_pb2.ShadowModelRequest, context: Context
    ) -> models_service_pb2.ShadowModelResponse:
        """Compare a network with those that drive; see the wire contract."""
        async with _typed_errors(context):
            self._shadows.compare(request.name, request.share)
        return models_service_pb2.ShadowModelResponse(serving=self._serving())

    def _serving(self) -> models_service_pb2.Serving:
        catalogue, comparison = self._admission.catalogue, self._shadows.comparison
        serving = models_service_pb2.Serving(
            models=[
                *(self._model(model, unloading=False) for model in catalogue.models.values()),
                *(self._model(model, unloading=True) for model in self._keeper.unloading),
            ],
            default_model=catalogue.default,
            shares=[
                models_service_pb2.ModelShare(name=name, share=share)
                for name, share in catalogue.shares.items()
            ],
        )
        if comparison is not None:
            serving.shadow.CopyFrom(_shadow(comparison))
        return serving

    def _model(self, model: Model, *, unloading: bool) -> models_service_pb2.ServedModel:
        return models_service_pb2.ServedModel(
            name=model.name,
            bundle_sha256=model.bundle.sha256,
            session_count=self._admission.sessions_of(model),
            unloading=unloading,
        )


def _shadow(comparison: Comparison) -> models_service_pb2.Shadow:
    return models_service_pb2.Shadow(
        name=comparison.name,
        share=comparison.share,
        frames=comparison.frames,
        frames_dropped=comparison.dropped,
        differences=[
            models_service_pb2.HeadDifference(
                head=head, rms=comparison.rms(head), largest=difference.largest
            )
            for head, difference in comparison.differences.items()
        ],
    )


@contextlib.asynccontextmanager
async def _typed_errors(context: Context) -> AsyncIterator[None]:
    """End the call with the status that belongs to an error."""
    try:
        yield
    except tuple(_CODES) as error:
        code = next(code for kind, code in _CODES.items() if isinstance(error, kind))
        say_ending()
        await context.abort(code, str(error) or "it took longer than start_timeout_s")
