"""Histories in chunks, on all cores, each chunk kept so that a run which was stopped goes on."""

from __future__ import annotations

import gc
import hashlib
import json
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.histories.model import lines, violations
from tests.histories.scenario import Histories
from tests.project.test_repository import ROOT

SIZE = 100
"""Histories in a chunk: half a minute of a busy core, and less than what a look at memory costs."""
_SOURCES = ("bundle", "service", "steerstream", "tests/histories")
_FOLDER = ROOT / "build" / "histories"


@dataclass(frozen=True)
class Chunk:
    """What became of some histories.

    Attributes:
        seed: of the first; the others follow it.
        histories: how many there were.
        frames: frames that servers read.
        broken: what broke an invariant, by seed.
        cpu_s: time on one core.
    """

    seed: int
    histories: int
    frames: int
    broken: dict[int, list[str]]
    cpu_s: float


def run(seed: int, histories: int) -> Chunk:
    """Run histories in this process.

    Args:
        seed: of the first one.
        histories: how many.
    """
    began_s, frames = time.process_time(), 0
    broken: dict[int, list[str]] = {}
    with Histories() as made:
        gc.collect()
        gc.freeze()
        for each in range(seed, seed + histories):
            history = made.run(each)
            frames += history.frames
            found = list(lines(violations(history)))
            plan = [f"  {line}" for line in history.plan] if histories == 1 else []
            # Its errors hold what raised them.
            del history
            if found:
                broken[each] = [*plan, *found]
        left = [f"  [given back] {what}" for what in made.left_in_memory()]
        if left:
            broken.setdefault(seed + histories - 1, []).extend(left)
    return Chunk(seed, histories, frames, broken, round(time.process_time() - began_s, 1))


class Kept:
    """The chunks that were run with exactly this code."""

    def __init__(self) -> None:
        self._path = _FOLDER / f"{_digest()}.jsonl"
        self.chunks: dict[tuple[int, int], Chunk] = {}
        if self._path.exists():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                self._add(Chunk(**json.loads(line)))

    def add(self, chunk: Chunk) -> None:
        """Keep a chunk at once; one that broke something is run again the next time."""
        self._add(chunk)
        if not chunk.broken:
            _FOLDER.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(chunk)) + "\n")

    def _add(self, chunk: Chunk) -> None:
        self.chunks[chunk.seed, chunk.histories] = chunk


def run_all(asked: Sequence[tuple[int, int]], kept: Kept, processes: int) -> Iterator[Chunk]:
    """Yield chunks as they are done, first those that were kept.

    Args:
        asked: first seed and size of each.
        kept: those that are known; new ones are added.
        processes: how many run at once.
    """
    missing = [each for each in asked if each not in kept.chunks]
    yield from (kept.chunks[each] for each in asked if each in kept.chunks)
    if len(missing) == 1:
        found = run(*missing[0])
        kept.add(found)
        yield found
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        for future in as_completed([pool.submit(run, *each) for each in missing]):
            kept.add(future.result())
            yield future.result()


def _digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(_files()):
        digest.update(str(path.relative_to(ROOT)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _files() -> Iterator[Path]:
    for folder in _SOURCES:
        yield from (ROOT / folder).rglob("*.py")
