"""The same bundle behind what a user would otherwise pick: `python -m benchmark peers`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmark.commands.server_options import DEFAULT_MODEL
from benchmark.peers import comparison
from steerstream.command_line import count, positive

HELP = "the same bundle behind Triton, thread pools and other servers, state checked"
_NONE = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the comparison."""
    phases = list(comparison.USUAL_PHASES)
    add = parser.add_argument
    add("--model", type=Path, default=DEFAULT_MODEL, help="bundle to serve")
    add("--peers", type=_names, default=[], help="names, with commas; all but the optional ones")
    add("--with", dest="also", type=_names, default=[], help="optional peers to add, such as ray")
    add("--phases", type=_names, default=phases, help="what to measure, with commas")
    add("--environments", type=Path, default=Path("build/peers"), help="where peers are installed")
    add("--data", type=Path, help="driving data, for real pictures; see the README")
    add("--earlier", help="a revision of steerstream that is compared as well, such as 737446d")
    add("--seconds", type=positive, default=1.5, help="counted time of one measurement")
    add("--rounds", type=count, default=2, help="interleaved repeats of each throughput")
    add("--quick", action="store_true", help="half a second and one round: does it work at all?")
    add("--install-only", action="store_true", help="make the environments and stop")
    add("--merge", action="store_true", help="keep what the file of --json holds of other runs")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Compare the peers and return the results, ready for JSON.

    Raises:
        BenchmarkError: an environment or a server failed, or an option names nothing.

    Returns:
        `frames` says what was sent, `peers` holds the figures of each by name, `failed` names
        those whose state was wrong or that broke down, and have none.
    """
    return comparison.run(options)


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def table(results: Mapping[str, Any]) -> str:
    """Return the results as a Markdown table; a dash stands for what was not measured."""
    head = "| peer | " + " | ".join(_COLUMNS) + " |"
    rule = "|---|" + "---:|" * len(_COLUMNS)
    rows = [_row(name, found) for name, found in results["peers"].items()]
    return "\n".join([head, rule, *rows])


def _row(name: str, found: Mapping[str, Any]) -> str:
    title = found.get("title", name)
    if "failed" in found:
        return f"| {title} | no figures: {found['failed']} |"
    return "| " + " | ".join([title, *(_cell(cell, found) for cell in _COLUMNS.values())]) + " |"


def _cell(cell: Callable[[Mapping[str, Any]], str], found: Mapping[str, Any]) -> str:
    try:
        return cell(found)
    except KeyError:
        return _NONE


def _ratios(found: Mapping[str, Any]) -> str:
    loops = found["throughput"]["rgb8"]
    return " / ".join(f"{loops[sessions]['ratio']:.2f}" for sessions in ("1", "8", "32"))


def _jpeg_ratio(found: Mapping[str, Any]) -> str:
    return f"{found['throughput']['jpeg']['8']['ratio']:.2f}"


def _paced(sessions: str) -> Callable[[Mapping[str, Any]], str]:
    def cell(found: Mapping[str, Any]) -> str:
        figures = found["paced"][sessions]
        return f"{figures['p50_ms']:.1f} / {figures['p99_ms']:.1f}"

    return cell


def _vehicles(found: Mapping[str, Any]) -> str:
    return str(found["capacity"]["vehicles"])


def _overload(factor: str) -> Callable[[Mapping[str, Any]], str]:
    def cell(found: Mapping[str, Any]) -> str:
        figures = found["overload"][factor]
        return f"{figures['goodput_fps']:.0f} ({figures['admitted_in_time_percent']:.1f} %)"

    return cell


def _lost(how: str) -> Callable[[Mapping[str, Any]], str]:
    def cell(found: Mapping[str, Any]) -> str:
        figures = found["vanish"][how]
        if figures["lost_s"] is None:
            return f"> {figures['waited_s']:.0f} s"
        return f"{figures['lost_s']:.1f} s"

    return cell


_COLUMNS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "of the bare loop, raw, 1 / 8 / 32 sessions": _ratios,
    "JPEG, 8": _jpeg_ratio,
    "bytes a frame": lambda found: f"{found['bytes_a_frame']:,.0f}",
    "precision": lambda found: str(found["state_check"]["precision"]),
    "p50 / p99 ms, 1 vehicle": _paced("1"),
    "8 vehicles": _paced("8"),
    "16 vehicles": _paced("16"),
    "vehicles at 20 Hz": _vehicles,
    "goodput at 2x (admitted in time)": _overload("2"),
    "at 4x": _overload("4"),
    "slots lost, killed": _lost("killed"),
    "silent": _lost("silent"),
}
