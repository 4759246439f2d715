"""The command `models`: shows what a server serves, and lets its operator change it."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING, Any

import grpc

import steerstream
from steerstream.command_line import share
from steerstream.connection_options import add_connection_options, connection_arguments
from steerstream.errors import SteerstreamError
from steerstream.models import Model, ServedModels
from steerstream.transport import bearer, open_channel
from steerstream.v1 import models_service_pb2 as wire
from steerstream.v1.models_service_pb2_grpc import ModelsServiceStub

if TYPE_CHECKING:
    from steerstream.v1.models_service_pb2_grpc import ModelsServiceAsyncStub

_LOAD_TIMEOUT_S = 300.0
"""As long as a server's start may take by default: TensorRT compiles for minutes."""
_TIMEOUT_S = 5.0


def add_models_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `models`."""
    parser.add_argument(
        "--target",
        required=True,
        help="HOST:PORT of the server; for operators, of its --admin-listen",
    )
    parser.add_argument("--json", action="store_true", help="print all that is known as JSON")
    add_connection_options(parser)
    group = parser.add_argument_group("for operators, each prints what is served after it")
    one = group.add_mutually_exclusive_group()
    one.add_argument("--serving", action="store_true", help="show sessions and shares too")
    one.add_argument("--load", metavar="FILE", help="serve a bundle of the server's --load-from")
    one.add_argument("--unload", metavar="NAME", help="open no more sessions with a network")
    one.add_argument(
        "--default", metavar="NAME", help="choose the network of vehicles that ask for none"
    )
    one.add_argument(
        "--share",
        metavar="NAME=SHARE",
        type=_share,
        action="append",
        help="let another network drive a share of those vehicles, such as NAME=0.01; all --share "
        "together take the place of the shares before",
    )
    one.add_argument(
        "--shadow",
        metavar="NAME=SHARE",
        type=_share,
        help="step a network beside those that drive, for a share of the vehicles, and compare; "
        "NAME=0 ends it",
    )
    group.add_argument(
        "--sha256",
        metavar="DIGEST",
        action="append",
        help="with --load: that of the file; that of its 8-bit sibling too, if it may be run",
    )
    group.add_argument("--name", default="", help="with --load: the name to serve it under")


async def models(options: argparse.Namespace) -> int:
    """Run `models`.

    Raises:
        SteerstreamError: the server was not reached, or refused the change.
    """
    if (request := _request(options)) is not None:
        serving = await _call(options, *request)
        print(_as_json(serving) if options.json else _as_table(serving))
        return 0
    async with steerstream.connect(options.target, **connection_arguments(options)) as client:
        served = await client.describe_models()
    if options.json:
        print(json.dumps(dataclasses.asdict(served), indent=2))
    else:
        print(models_table(served))
    return 0


def models_table(served: ServedModels) -> str:
    """Return a row of text for each served model; the default one is marked with a star."""
    lines = [_row("", "model", "input", "rate", "runs as", "steering", "heads")]
    lines += [
        _row(
            "*" if model.name == served.default_model else "",
            model.name,
            f"{model.input_width_px}x{model.input_height_px}",
            f"{model.rate_hz:g} Hz",
            f"{model.precision} on {model.provider}",
            _steering(model),
            ", ".join(output.head for output in model.outputs),
        )
        for model in served.models
    ]
    lines.append("steering: RMSE on the first of its held-out sources; --json has all of them")
    return "\n".join(lines)


def _row(*columns: str) -> str:
    widths = (1, 24, 9, 7, 15, 10, 0)
    cells = zip(columns, widths, strict=True)
    return " ".join(f"{column:<{width}}" for column, width in cells).rstrip()


def _steering(model: Model) -> str:
    scores = (score.rmse for score in model.scores if score.head == "steering_wheel_angle")
    rmse_rad = next(scores, None)
    return "-" if rmse_rad is None else f"{rmse_rad:.4f} rad"


_Request = (
    wire.DescribeServingRequest
    | wire.LoadModelRequest
    | wire.UnloadModelRequest
    | wire.RouteVehiclesRequest
    | wire.ShadowModelRequest
)


def _request(options: argparse.Namespace) -> tuple[str, _Request] | None:
    """Return the method to call and its request; None where only DescribeModels is asked for."""
    if options.load:
        digests = options.sha256 or []
        request = wire.LoadModelRequest(file=options.load, sha256=digests, name=options.name)
        return "LoadModel", request
    if options.unload:
        return "UnloadModel", wire.UnloadModelRequest(name=options.unload)
    if options.default:
        return "RouteVehicles", wire.RouteVehiclesRequest(default_model=options.default)
    if options.share:
        shares = [wire.ModelShare(name=name, share=value) for name, value in options.share]
        return "RouteVehicles", wire.RouteVehiclesRequest(shares=shares)
    if options.shadow:
        name, value = options.shadow
        return "ShadowModel", wire.ShadowModelRequest(name=name if value else "", share=value)
    return ("DescribeServing", wire.DescribeServingRequest()) if options.serving else None


async def _call(options: argparse.Namespace, method: str, request: _Request) -> wire.Serving:
    target, connection = options.target, connection_arguments(options)
    timeout_s = _LOAD_TIMEOUT_S if method == "LoadModel" else _TIMEOUT_S
    # The client tells more of a server that cannot be reached than a call does.
    async with (
        steerstream.connect(target, **connection),
        open_channel(target, tls=connection["tls"], timeout_s=_TIMEOUT_S) as channel,
    ):
        stub: ModelsServiceAsyncStub = ModelsServiceStub(channel)
        try:
            response = await getattr(stub, method)(
                request, timeout=timeout_s, metadata=bearer(connection["token"])
            )
        except grpc.aio.AioRpcError as error:
            raise SteerstreamError(_why(error, target)) from None
    serving: wire.Serving = response.serving
    return serving


def _why(error: grpc.aio.AioRpcError, target: str) -> str:
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return f"{target} takes no changes: name the address of its --admin-listen"
    return f"{target}: {error.details()}"


def _as_json(serving: wire.Serving) -> str:
    shares = {item.name: item.share for item in serving.shares}
    models = {
        model.name: {
            "bundle_sha256": model.bundle_sha256,
            "sessions": model.session_count,
            "is_default": model.name == serving.default_model,
            "share": shares.get(model.name, 0.0),
            "unloading": model.unloading,
        }
        for model in serving.models
    }
    return json.dumps({"models": models, "shadow": _shadow_values(serving)}, indent=2)


def _shadow_values(serving: wire.Serving) -> dict[str, Any] | None:
    if not serving.HasField("shadow"):
        return None
    shadow = serving.shadow
    return {
        "model": shadow.name,
        "share": shadow.share,
        "frames": shadow.frames,
        "frames_dropped": shadow.frames_dropped,
        "differences": {
            item.head: {"rms": item.rms, "largest": item.largest} for item in shadow.differences
        },
    }


def _as_table(serving: wire.Serving) -> str:
    shares = {item.name: item.share for item in serving.shares}
    shares[serving.default_model] = 1.0 - sum(shares.values())
    lines = [f"{'':2}{'model':<24}{'sessions':>8}  share of vehicles that name no network"]
    for model in serving.models:
        mark = "* " if model.name == serving.default_model else "  "
        part = f"{shares.get(model.name, 0.0):.2%}"
        if model.unloading:
            part = "opens no more sessions"
        lines.append(f"{mark}{model.name:<24}{model.session_count:>8}  {part}")
    if serving.HasField("shadow"):
        shadow = serving.shadow
        lines.append(
            f"{shadow.name} is compared beside {shadow.share:.2%} of the vehicles: "
            f"{shadow.frames} frames, {shadow.frames_dropped} dropped"
        )
        lines += [
            f"{'':2}{item.head:<24}differs by {item.rms:.4f} rms, {item.largest:.4f} at most"
            for item in shadow.differences
        ]
    return "\n".join(lines)


def _share(text: str) -> tuple[str, float]:
    name, equals, value = text.rpartition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"needs NAME=SHARE, such as chauffeur=0.01, not {text!r}")
    return name, share(value)
