"""Accepts a smaller bundle that is as accurate and, on a CPU, fast enough for a second file.

Whether it is served is decided by each server, by measuring (`steerstream_bundle.quickest`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from steerstream_bundle.contract import GREATEST_RMSE_RATIO, UNITS

PRECISIONS = ("fp16", "int8")
LEAST_SPEED_RATIO = {"int8": 1.2}
"""FP16 is for GPUs: its speed on a CPU says nothing."""

JUDGED_BATCH = 1
"""A vehicle's frame should not wait for another's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The measurements of one bundle.

    Attributes:
        rmse: by source and by labelled head, on frames that no training saw, in the head's unit.
        frames_per_s: by frames in a step, on one thread of this CPU.
        size_bytes: of the file.
    """

    rmse: Mapping[str, Mapping[str, float]]
    frames_per_s: Mapping[int, float]
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Both bundles' figures and what follows.

    Attributes:
        precision: of the candidate.
        reference: the FP32 bundle's figures.
        candidate: the smaller bundle's.
    """

    precision: str
    reference: Figures
    candidate: Figures

    @property
    def rmse_ratios(self) -> dict[str, dict[str, float]]:
        """RMSE of the candidate over the reference's, by source and head."""
        return {
            source: {head: self.candidate.rmse[source][head] / was for head, was in heads.items()}
            for source, heads in self.reference.rmse.items()
        }

    @property
    def speed_ratios(self) -> dict[int, float]:
        """Frames a second of the candidate over the reference's, by frames in a step."""
        was = self.reference.frames_per_s
        return {batch: speed / was[batch] for batch, speed in self.candidate.frames_per_s.items()}

    @property
    def objections(self) -> tuple[str, ...]:
        """Why the candidate is refused; empty where it is accepted."""
        return (*self._inaccurate(), *self._slow())

    @property
    def accepted(self) -> bool:
        """Whether the candidate may take the reference's place."""
        return not self.objections

    def _inaccurate(self) -> Iterator[str]:
        for source, heads in self.rmse_ratios.items():
            for head, ratio in heads.items():
                # A figure that is not a number fails, as one that is too large does.
                if not ratio <= GREATEST_RMSE_RATIO:
                    yield (
                        f"RMSE of {head} on {source} is {ratio:.3f} times FP32's, "
                        f"more than {GREATEST_RMSE_RATIO}"
                    )

    def _slow(self) -> Iterator[str]:
        least, ratio = LEAST_SPEED_RATIO.get(self.precision), self.speed_ratios[JUDGED_BATCH]
        if least is not None and not ratio >= least:
            yield f"{ratio:.3f} times FP32's frames a second, less than {least}"

    def summary(self) -> dict[str, Any]:
        """Return all figures as plain values."""
        return {
            "precision": self.precision,
            "fp32": dataclasses.asdict(self.reference),
            self.precision: dataclasses.asdict(self.candidate),
            "rmse_ratio": self.rmse_ratios,
            "speed_ratio": self.speed_ratios,
            "size_ratio": self.candidate.size_bytes / self.reference.size_bytes,
            "verdict": "accepted" if self.accepted else "refused",
            "reasons": list(self.objections),
        }

    def lines(self) -> Iterator[str]:
        """Return the printed report."""
        was, now = self.reference, self.candidate
        yield f"{'':48} {'fp32':>10} {self.precision:>10} {'ratio':>7}"
        for source, heads in self.rmse_ratios.items():
            for head, ratio in heads.items():
                title = f"RMSE {head}, {UNITS[head]}, {source}"
                before, after = was.rmse[source][head], now.rmse[source][head]
                yield f"{title:48} {before:10.4f} {after:10.4f} {ratio:7.3f}"
        for batch, ratio in self.speed_ratios.items():
            title = f"frames/s, one thread, batch {batch}"
            before, after = was.frames_per_s[batch], now.frames_per_s[batch]
            yield f"{title:48} {before:10.0f} {after:10.0f} {ratio:7.2f}"
        ratio = now.size_bytes / was.size_bytes
        yield f"{'MB':48} {was.size_bytes / 1e6:10.2f} {now.size_bytes / 1e6:10.2f} {ratio:7.2f}"
        yield "accepted" if self.accepted else f"refused: {'; '.join(self.objections)}"
