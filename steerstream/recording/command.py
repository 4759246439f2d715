"""The command `replay`: options in, exit code out."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import steerstream
from steerstream.command_line import output_file, write_result
from steerstream.connection_options import add_connection_options, connection_arguments
from steerstream.errors import MediaError
from steerstream.extras import command_needs
from steerstream.progress import ProgressLine, bar
from steerstream.reachability import is_local

if TYPE_CHECKING:
    from steerstream.recording.reader import Recording
    from steerstream.recording.replay import Result
    from steerstream.v1 import recording_pb2

DIFFERS = 3
"""Exit code: a command came out otherwise than in the recording."""


def add_replay_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `replay`."""
    add = parser.add_argument
    add("recording", type=Path, nargs="+", help="a file of steerstream drive --record, or a folder"
        " of such files")  # fmt: skip
    add("--bundle", type=Path, help="the bundle (.onnx) that a server of the replay's own runs")
    add("--server", metavar="HOST:PORT", help="step it at this server instead")
    add("--model", help="with --server: name of the model there (default: the server's default)")
    add("--provider", help="with --bundle: what runs it (default: as in the recording)")
    add("--precision", help="with --bundle: what it computes in (default: as in the recording)")
    add("--rerun", metavar="FILE", type=output_file, help="write the recording for Rerun, .rrd;"
        " with neither --bundle nor --server that is all")  # fmt: skip
    add("--json", type=output_file, help="write the result as JSON; missing folders are made")
    add_connection_options(parser)


async def replay(options: argparse.Namespace) -> int:
    """Run `replay`.

    Returns:
        0 where all commands came out as in the recording, `DIFFERS` where one did not.

    Raises:
        SteerstreamError: something is wrong with the options, the recording or the server.
    """
    given = (options.bundle is not None) + (options.server is not None)
    if given > 1 or (not given and options.rerun is None):
        raise MediaError("give --bundle FILE or --server HOST:PORT, one of them")
    with command_needs("steerstream replay", "record"):
        from steerstream.recording import reader  # noqa: PLC0415
    found = reader.recordings(options.recording)
    if options.rerun is not None:
        _write_rrd(found, options.rerun)
    results = []
    for recording in found if given else ():
        result = await _replay(options, recording)
        print("\n".join(_lines(result)))
        results.append(result)
    if options.json:
        write_result(options.json, [result.as_json() for result in results])
    return DIFFERS if any(result.differing for result in results) else 0


def _write_rrd(found: Sequence[Recording], path: Path) -> None:
    with command_needs("steerstream replay --rerun", "rerun"):
        from steerstream.recording.rerun_log import SUFFIX, write_rrd  # noqa: PLC0415
    if len(found) > 1 or path.suffix != SUFFIX:
        raise MediaError(f"--rerun writes one recording, to a file whose name ends in {SUFFIX}")
    write_rrd(found[0], path)


async def _replay(options: argparse.Namespace, recording: Recording) -> Result:
    from steerstream.recording.messages import processor  # noqa: PLC0415
    from steerstream.recording.replay import Replay, terms  # noqa: PLC0415

    recorded = terms(recording)
    with ProgressLine() as progress:

        def show(done: int, count: int) -> None:
            if progress.is_due:
                progress.show(f"{bar(done, count)} {done}/{count}")

        with _server(options, recorded) as target:
            here = processor() if is_local(target) else ""
            async with steerstream.connect(target, **connection_arguments(options)) as client:
                return await Replay(
                    recording,
                    client,
                    model=options.model,
                    is_same_machine=here == recorded.server_processor != "",
                    progress=show,
                ).run()


@contextlib.contextmanager
def _server(options: argparse.Namespace, recorded: recording_pb2.RecordedSession) -> Iterator[str]:
    if options.server:
        yield options.server
        return
    from steerstream.testing.server_process import ServerFailedError, serve  # noqa: PLC0415

    model = recorded.opened.model
    words = [
        *("--provider", options.provider or model.provider or "auto"),
        # f32 runs a bundle as it is, whatever that computes in.
        *("--precision", options.precision or ("int8" if model.precision == "int8" else "f32")),
        *("--log-level", "error"),
    ]
    try:
        with serve(options.bundle, options=words) as server:
            yield server.address
    except ServerFailedError as error:
        raise MediaError(f"{options.bundle}: {error}") from error


def _lines(result: Result) -> Sequence[str]:
    recorded, replayed, first = result.recorded, result.replayed, result.first
    left_out = [
        f"{count:,} {what}"
        for count, what in (
            (result.plan.skipped, "skipped"),
            (result.plan.unanswered, "without an answer"),
            (result.plan.without_beginning, "whose state began before the recording"),
        )
        if count
    ]
    bundle = "as recorded" if result.same_bundle else "ANOTHER ONE"
    closeness = "to the last bit" if result.is_exact else "to what rounding and precision change"
    runs = (f"{model.precision} on {model.provider}" for model in (recorded, replayed))
    lines = [
        f"recording   {result.recording}",
        *(f"cut off     {path}, read to its last complete chunk" for path in result.cut_off),
        f"bundle      {bundle}: {replayed.name}, {replayed.bundle_sha256[:12]}",
        f"runs        {', again '.join(runs)}",
        f"compared    {result.compared:>8,}  commands, {closeness}",
        f"bit-equal   {result.bit_equal:>8,}",
        f"left out    {len(result.plan.frames) - result.compared:>8,}  {', '.join(left_out)}",
        f"differing   {result.differing:>8,}",
    ]
    if first is not None:
        lines.append(f"first       frame {first.sequence_number}, {first.after_s:.2f} s in:")
        lines += [
            f"  {field}: {one} in the recording, {other} now" for field, one, other in first.fields
        ]
    return lines
