"""The options with which every simulator says where it is driven from, and by which network."""

from __future__ import annotations

import argparse
from typing import TypedDict

from steerstream.command_line import default_vehicle_id, output_file, positive
from steerstream.connection_options import add_connection_options


class SessionArguments(TypedDict):
    """Arguments of `open_session` that options give."""

    vehicle_id: str
    model: str | None
    budget_ms: float


def add_session_options(parser: argparse.ArgumentParser) -> None:
    """Add the options; `session_arguments` and `connection_arguments` read them."""
    add = parser.add_argument
    add("--target", required=True, metavar="HOST:PORT", help="the server")
    add("--model", help="name of a served model (default: the server's default)")
    add(
        "--vehicle-id",
        default=default_vehicle_id("bridge"),
        help="name of the vehicle in the server's log (default: steerstream-bridge, the host and "
        "the process)",
    )
    add("--budget-ms", type=positive, default=50.0, help="latency budget of a frame (default: 50)")
    add("--json", type=output_file, help="write the result as JSON; missing folders are made")
    add_connection_options(parser)


def session_arguments(options: argparse.Namespace) -> SessionArguments:
    """Return what the options say of the session."""
    return {
        "vehicle_id": options.vehicle_id,
        "model": options.model,
        "budget_ms": options.budget_ms,
    }
