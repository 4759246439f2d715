"""A comparison as Markdown, one row a peer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmark.peers.registry import PEERS

_NONE = "-"


def render(results: Mapping[str, Any]) -> str:
    """Return the results as a table; a dash stands for what was not measured."""
    head = "| peer | " + " | ".join(_COLUMNS) + " |"
    rule = "|---|" + "---:|" * len(_COLUMNS)
    rows = [_row(name, found) for name, found in results["peers"].items()]
    return "\n".join([head, rule, *rows])


def _row(name: str, found: Mapping[str, Any]) -> str:
    title = PEERS[name].title if name in PEERS else name
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
    "p50 / p99 ms, 8 vehicles": _paced("8"),
    "16 vehicles": _paced("16"),
    "vehicles at 20 Hz": _vehicles,
    "goodput at 2x (admitted in time)": _overload("2"),
    "at 4x": _overload("4"),
    "slots lost, killed": _lost("killed"),
    "silent": _lost("silent"),
}
