"""Write docs/performance.md, docs/reliability.md and the README's latency table from results.

Every file `benchmark/results/NAME.json` is one section with its picture; `NAME.md` beside it,
where there is one, is what a person has to say about it.
"""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmark.commands import latency, result_targets
from benchmark.errors import BenchmarkError
from reports import machine, pages

HELP = "write docs/performance.md and docs/reliability.md from benchmark/results"
ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path("benchmark/results")
PAGE, RELIABILITY = Path("docs/performance.md"), Path("docs/reliability.md")
PICTURES = Path("docs/images/performance")
README = Path("README.md")
README_RESULT = "latency-cpu"
_ORDER = (
    "latency",
    "capacity",
    "efficiency",
    "overload",
    "stall",
    "growth",
    "fairness",
    "soak",
    "decode",
    "tls",
    "gpu",
)
SECTIONS = {PAGE: (*_ORDER, "peers"), RELIABILITY: ("attack", "failover", "histories")}
"""Of each page, by the benchmark that made them; files of others are left out."""

_CAPTION = """\
Round trips from when a frame was due to its command, 640x480 JPEG at 20 Hz, server and clients on
a core each, against a budget of 50 ms (`make bench`; [all figures](docs/performance.md)):"""

_PERFORMANCE = """\
# Performance

Written by `python -m benchmark report` from the files in [benchmark/results](../benchmark/results);
do not edit it. Every section names the command that made it; add `--json FILE` to keep the figures
and `--plot FILE` for the picture. Server and clients run on different cores where there are
enough. Latency counts from when a frame was due, so that a stall delays every frame behind it.
`stolen` is time that other guests of the host took from this machine's cores.

"""

_RELIABILITY = """\
# Reliability under attack

Written by `python -m benchmark report` from the files in [benchmark/results](../benchmark/results);
do not edit it. The command attacks a server that it has started itself on loopback, and no other.

"""
_HEADS = {PAGE: _PERFORMANCE, RELIABILITY: _RELIABILITY}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add = parser.add_argument
    add("--check", action="store_true", help="write nothing; fail where the files differ")
    add("--root", type=Path, default=ROOT, help="the checkout")


def run(options: argparse.Namespace) -> int:
    """Write the files, or check that they are what would be written; return the exit code.

    Raises:
        BenchmarkError: a result cannot be read, or with `--check` a file differs.
    """
    results = load_results(options.root / RESULTS)
    written = {
        path: page(options.root, path, shown) for path in SECTIONS if (shown := _of(path, results))
    }
    if README_RESULT in results:
        readme = (options.root / README).read_text(encoding="utf-8")
        written[README] = with_latency(readme, results[README_RESULT])
    if options.check:
        _check(options.root, written)
        return 0
    _draw(options.root, results)
    pages.write(options.root, written)
    return 0


def load_results(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the results that the pages show, by file name without its ending, in their order.

    Raises:
        BenchmarkError: a file is no JSON of a benchmark.
    """
    order, found = [name for names in SECTIONS.values() for name in names], {}
    for path in sorted(folder.glob("*.json")):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            if result["benchmark"] in order:
                found[path.stem] = result
        except (ValueError, KeyError, TypeError):
            raise BenchmarkError(f"{path}: not the result of a benchmark; measure again") from None
    return dict(sorted(found.items(), key=lambda item: order.index(item[1]["benchmark"])))


def page(root: Path, path: Path, results: dict[str, dict[str, Any]]) -> str:
    """Return one of the pages.

    Args:
        root: the checkout, whose notes are read.
        path: of the page, a key of `SECTIONS`.
        results: of this page, by file name without its ending.
    """
    parts = [_HEADS[path].rstrip(), "## Targets", result_targets.table(results)]
    for name, result in results.items():
        parts += _section(root, name, result)
    return "\n\n".join(parts) + "\n"


def _of(path: Path, results: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the results that a page shows."""
    names = SECTIONS[path]
    return {name: result for name, result in results.items() if result["benchmark"] in names}


def with_latency(readme: str, result: dict[str, Any]) -> str:
    """Return the README with its latency table brought up to date."""
    return pages.between(readme, "latency", f"{_CAPTION}\n\n{latency.brief(result['results'])}")


def _section(root: Path, name: str, result: dict[str, Any]) -> list[str]:
    module = _module(result["benchmark"])
    parts = [f"## {name}", _meaning(module), module.table(result["results"])]
    note = root / RESULTS / f"{name}.md"
    if note.exists():
        parts.append(note.read_text(encoding="utf-8").strip())
    if hasattr(module, "plot"):
        parts.append(f"![{name}: {module.HELP}](images/performance/{name}.svg)")
    return [*parts, machine.made_by(result)]


def _meaning(module: ModuleType) -> str:
    return " ".join((module.__doc__ or "").split())


def _check(root: Path, written: dict[Path, str]) -> None:
    try:
        pages.check(root, written, "python -m benchmark report")
    except pages.StaleError as error:
        raise BenchmarkError(str(error)) from None


def _draw(root: Path, results: dict[str, dict[str, Any]]) -> None:
    (root / PICTURES).mkdir(parents=True, exist_ok=True)
    for name, result in results.items():
        module = _module(result["benchmark"])
        if hasattr(module, "plot"):
            module.plot(result["results"], root / PICTURES / f"{name}.svg")


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"benchmark.commands.{name}")
