"""The result of a drive, as a table for people and as JSON for programs."""

from __future__ import annotations

from typing import Any

from steerstream.drive.tally import HEADS, STAGES, Tally
from steerstream.guard import Action
from steerstream.models import SessionInfo

_STAGE_NAMES = {
    "queue": "server: queue",
    "decode": "server: decode",
    "infer": "server: infer",
    "total": "server: total",
}
_COLUMNS = ("p50", "p99", "p99_9", "max")


def as_json(tally: Tally, info: SessionInfo, *, source: str, elapsed_s: float) -> dict[str, Any]:
    """Return the result of a drive as values that JSON can hold; a figure without data is None.

    Args:
        tally: what the drive added up to.
        info: the session.
        source: where the pictures came from.
        elapsed_s: how long it took.
    """
    return {
        "source": source,
        "session_id": info.session_id,
        "model": info.model.name,
        "frame_policy": info.frame_policy.name,
        "granted_budget_ms": info.granted_budget_ms,
        "budget_ms": tally.budget_ms,
        "elapsed_s": elapsed_s,
        "frames": tally.frames,
        "passed_over": tally.passed_over,
        "sent_bytes": tally.sent_bytes,
        "commands": tally.commands,
        "skipped": dict(tally.skips),
        "unanswered": tally.unanswered,
        "over_budget": tally.over_budget,
        "latency_ms": {
            "round_trip": tally.latency.summary(),
            **{f"server_{stage}": tally.stages[stage].summary() for stage in STAGES},
        },
        "guard": {action.value: tally.actions[action] for action in Action},
        "heads": {
            head: {
                "frames": error.frames,
                "rmse": error.rmse,
                "mae": error.mae,
                "rmse_limited": error.rmse_limited,
                "rmse_zero": error.rmse_zero,
            }
            for head, error in tally.heads.items()
            if error.frames
        },
    }


def as_table(tally: Tally, info: SessionInfo, *, elapsed_s: float) -> str:
    """Return the result of a drive as lines of text.

    Args:
        tally: what the drive added up to.
        info: the session.
        elapsed_s: how long it took.
    """
    lines = [
        f"model {info.model.name}, {info.frame_policy.name}, budget {tally.budget_ms:g} ms",
        f"frames      {tally.frames:>8}  in {elapsed_s:.1f} s",
        _sent_row(tally, elapsed_s),
        f"commands    {tally.commands:>8}",
        f"skipped     {tally.skips.total():>8}{_by_reason(tally)}",
        f"over budget {tally.over_budget:>8}  without a command within {tally.budget_ms:g} ms",
        "",
        f"{'latency, ms':<18}{'p50':>9}{'p99':>9}{'p99.9':>9}{'max':>9}",
        latency_row("round trip", tally.latency.summary()),
    ]
    lines += [latency_row(_STAGE_NAMES[stage], tally.stages[stage].summary()) for stage in STAGES]
    if tally.unanswered:
        lines.insert(5, f"unanswered  {tally.unanswered:>8}")
    if tally.passed_over:
        lines.insert(
            2, f"passed over {tally.passed_over:>8}  the server is full and asked for fewer"
        )
    return "\n".join(lines + _head_rows(tally))


def _sent_row(tally: Tally, elapsed_s: float) -> str:
    frame, second = (_kilobytes(tally.sent_bytes, over) for over in (tally.frames, elapsed_s))
    return f"sent        {frame:>8}  kB a frame, {second} kB/s"


def _kilobytes(size_bytes: int, over: float) -> str:
    return f"{size_bytes / 1e3 / over:.1f}" if over else "-"


def _by_reason(tally: Tally) -> str:
    if not tally.skips:
        return ""
    return "  " + ", ".join(f"{name} {count}" for name, count in tally.skips.most_common())


def latency_row(name: str, summary: dict[str, float | None]) -> str:
    """Return a row of a table: a name, and its latencies in milliseconds."""
    return f"{name:<18}" + "".join(_figure(summary[column]) for column in _COLUMNS)


def _figure(value: float | None) -> str:
    return f"{'-':>9}" if value is None else f"{value:>9.2f}"


def _head_rows(tally: Tally) -> list[str]:
    rows = [
        f"{f'{head}, {HEADS[head][1]}':<26}{error.rmse:>9.4f}{error.mae:>9.4f}"
        f"{error.rmse_limited:>14.4f}{error.rmse_zero:>13.4f}{error.frames:>8}"
        for head, error in tally.heads.items()
        if error.frames
    ]
    if not rows:
        return []
    title = (
        f"{'against labels':<26}{'RMSE':>9}{'MAE':>9}"
        f"{'RMSE limited':>14}{'RMSE zero':>13}{'frames':>8}"
    )
    return ["", title, *rows]
