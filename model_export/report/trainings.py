"""The tables of how the bundles were trained."""

from __future__ import annotations

from collections.abc import Sequence

from model_export.report import cells, scores
from model_export.report.evidence import Evidence
from reports.text import ABSENT, number, table


def sources(evidence: Sequence[Evidence]) -> str:
    """Return what each bundle was trained on, as its metadata says."""
    columns = ["network", "source", "frames", "labels"]
    return table(
        columns,
        (
            [
                f"`{found.name}`",
                source.name,
                number(source.frames),
                ", ".join(cells.HEADS[head] for head in source.heads) or ABSENT,
            ]
            for found in evidence
            for source in found.architecture.contract.provenance.sources
        ),
    )


def trainings(evidence: Sequence[Evidence]) -> str:
    """Return how long each training took, and what each seed reached."""
    return table(["network", "time", "seeds", "steering, real"], map(_training_row, evidence))


def _training_row(found: Evidence) -> list[str]:
    seconds, seeds = found.origin.get("seconds"), found.origin.get("seeds", ())
    names = [f"**{seed['seed']}**" if seed["ships"] else str(seed["seed"]) for seed in seeds]
    return [
        f"`{found.name}`",
        ABSENT if seconds is None else f"{seconds / 60:.0f} min",
        ", ".join(names) or ABSENT,
        scores.seeds(found),
    ]
