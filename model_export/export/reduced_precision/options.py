"""The command `optimize` on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from model_export.export.reduced_precision.verdict import PRECISIONS
from model_export.options import Commands, add_data
from steerstream import whole_file
from steerstream.command_line import output_file


def add_optimize(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command `optimize`."""
    command = commands.add_parser(
        "optimize",
        help="make an FP16 or INT8 bundle, judge it beside its FP32 bundle; 1 if refused",
    )
    command.add_argument("bundle", type=Path, metavar="FILE.onnx", help="the FP32 bundle")
    command.add_argument("--to", required=True, choices=PRECISIONS, help="fp16 for GPUs")
    command.add_argument(
        "--out",
        type=output_file,
        metavar="OUT.onnx",
        help="the new bundle (default: beside the FP32 bundle, FILE.int8.onnx or FILE.fp16.onnx)"
        "; missing folders are made",
    )
    add_data(command)
    command.add_argument("--keep", action="store_true", help="write the bundle even if refused")
    command.add_argument(
        "--json",
        type=output_file,
        metavar="OUT",
        help="write the figures as JSON; missing folders are made",
    )
    command.set_defaults(run=_optimize)


def _optimize(options: argparse.Namespace) -> int:
    from model_export.export.reduced_precision.command import optimize  # noqa: PLC0415
    from steerstream_bundle.loading import reduced_path  # noqa: PLC0415

    verdict = optimize(
        options.bundle,
        options.to,
        options.out or reduced_path(options.bundle, options.to),
        options.data,
        options.cache or Path("runs") / "cache",
        keep=options.keep,
    )
    print("\n".join(verdict.lines()))
    if options.json is not None:
        whole_file.write_json(options.json, verdict.summary())
    return 0 if verdict.accepted else 1
