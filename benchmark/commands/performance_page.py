"""Write docs/performance.md and the README's latency table from benchmark/results.

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

from benchmark.commands import latency, performance_targets
from benchmark.errors import BenchmarkError
from reports import machine, pages

HELP = "write docs/performance.md from benchmark/results"
ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path("benchmark/results")
PAGE = Path("docs/performance.md")
PICTURES = Path("docs/images/performance")
README = Path("README.md")
README_RESULT = "latency-cpu"
_ORDER = ("latency", "capacity", "efficiency", "overload", "fairness", "soak", "decode", "gpu")
ORDER = (*_ORDER, "peers")
"""Sections, by the benchmark that made them; files of others are left out."""

_CAPTION = """\
Round trips from when a frame was due to its command, 640x480 JPEG at 20 Hz, server and clients on
a core each, against a budget of 50 ms (`make bench`; [all figures](docs/performance.md)):"""

_HEAD = """\
# Performance

Written by `python -m benchmark report` from the files in [benchmark/results](../benchmark/results);
do not edit it. Every section names the command that made it; add `--json FILE` to keep the figures
and `--plot FILE` for the picture. Server and clients run on different cores where there are
enough. Latency counts from when a frame was due, so that a stall delays every frame behind it.
`stolen` is time that other guests of the host took from this machine's cores.

"""


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
    written = {PAGE: page(options.root, results)}
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
    """Read the results that the page shows, by file name without its ending, in the page's order.

    Raises:
        BenchmarkError: a file is no JSON of a benchmark.
    """
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            if result["benchmark"] in ORDER:
                found[path.stem] = result
        except (ValueError, KeyError, TypeError):
            raise BenchmarkError(f"{path}: not the result of a benchmark; measure again") from None
    return dict(sorted(found.items(), key=lambda item: ORDER.index(item[1]["benchmark"])))


def page(root: Path, results: dict[str, dict[str, Any]]) -> str:
    """Return docs/performance.md."""
    parts = [_HEAD.rstrip(), "## Targets", performance_targets.table(results)]
    for name, result in results.items():
        parts += _section(root, name, result)
    return "\n\n".join(parts) + "\n"


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
