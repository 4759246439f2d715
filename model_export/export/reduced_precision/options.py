"""The command `optimize` on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from model_export.export.reduced_precision.verdict import PRECISIONS
from model_export.options import Commands
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
        "--out", type=output_file, required=True, metavar="FILE.onnx", help="new bundle"
    )
    command.add_argument(
        "--labels",
        type=Path,
        required=True,
        metavar="FILE.csv",
        help="labels file: rows of split train calibrate, rows of split validation judge",
    )
    command.add_argument(
        "--images", type=Path, metavar="DIR", help="folder of the pictures (default: the CSV's)"
    )
    command.add_argument("--keep", action="store_true", help="write the bundle even if refused")
    command.add_argument(
        "--json", type=output_file, metavar="OUT", help="write the figures as JSON"
    )
    command.set_defaults(run=_optimize)


def _optimize(options: argparse.Namespace) -> int:
    from model_export.export.reduced_precision.command import optimize  # noqa: PLC0415

    verdict = optimize(
        options.bundle,
        options.to,
        options.out,
        options.labels,
        options.images,
        keep=options.keep,
    )
    print("\n".join(verdict.lines()))
    if options.json is not None:
        whole_file.write_json(options.json, verdict.summary())
    return 0 if verdict.accepted else 1
