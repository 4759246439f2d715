"""The same bundle behind what a user would otherwise pick: `python -m benchmark peers`.

Each peer's server runs in an environment of its own and imports a part of this package there, so
that this module imports nothing that such an environment lacks.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

HELP = "the same bundle behind Triton, thread pools and other servers, state checked"
PHASES = ("throughput", "paced", "capacity", "overload", "vanish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the comparison."""
    # Not above: the peers' environments lack the client.
    from steerstream.command_line import count, positive  # noqa: PLC0415

    add = parser.add_argument
    add("--model", type=Path, default=Path("models/pilotnet_lstm.onnx"), help="bundle to serve")
    add("--peers", type=_names, default=[], help="names, with commas; all but the optional ones")
    add("--with", dest="also", type=_names, default=[], help="optional peers to add, such as ray")
    add("--phases", type=_names, default=list(PHASES), help="what to measure, with commas")
    add("--environments", type=Path, default=Path("build/peers"), help="where peers are installed")
    add("--data", type=Path, help="driving data, for real frames; see the README")
    add("--seconds", type=positive, default=1.5, help="counted time of one measurement")
    add("--rounds", type=count, default=2, help="interleaved repeats of each throughput")
    add("--quick", action="store_true", help="half a second and one round: does it work at all?")
    add("--install-only", action="store_true", help="make the environments and stop")
    add("--merge", action="store_true", help="keep what the file of --json holds of other runs")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Compare the peers and return the results, ready for JSON.

    Raises:
        PeersError: an environment or a server failed, or an option names nothing.

    Returns:
        `frames` says what was sent, `peers` holds the figures of each by name, `failed` names
        those whose state was wrong or that broke down, and have none.
    """
    from benchmark.peers import comparison  # noqa: PLC0415 - the peers' environments lack its needs

    return comparison.run(options)


def table(results: dict[str, Any]) -> str:
    """Return the results as a Markdown table."""
    from benchmark.peers import tables  # noqa: PLC0415 - as above

    return tables.render(results)


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]
