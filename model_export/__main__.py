"""The command line of training: `python -m model_export --help` lists its commands."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from model_export.errors import DataError, ModelExportError, ProcessError
from model_export.export.reduced_precision.options import add_optimize
from model_export.options import Commands, add_data, add_device
from model_export.report import options as report_options
from steerstream import whole_file
from steerstream.command_line import (
    CANNOT_START,
    INTERRUPTED,
    Parser,
    count,
    output_file,
    png_file,
    positive,
    share,
    sigterm_interrupts,
    whole,
)
from steerstream.errors import MediaError
from steerstream.extras import command_needs
from steerstream.sources.arguments import add_read_options, read_options
from steerstream.sources.convert import write_recording
from steerstream.sources.formats import open_recording
from steerstream.sources.labels_folder import LABELS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0, 1 for a failed verification, 2 for bad input."""
    options = _parser().parse_args(arguments)
    try:
        with command_needs("model_export", "train"), sigterm_interrupts():
            code: int = options.run(options)
    except (ModelExportError, OSError) as error:
        _say(str(error))
        return CANNOT_START
    except KeyboardInterrupt:
        goes_on = options.run is _train
        _say("stopped; the same command goes on from here" if goes_on else "stopped")
        return INTERRUPTED
    return code


def _say(text: str) -> None:
    """Say why the command ended; of processes that `torchrun` started, the first speaks for all."""
    if _is_first():
        print(f"model_export: {text}", file=sys.stderr)


def _is_first() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = Parser(
        prog="python -m model_export", description="Train networks and make bundles of them."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands)
    _add_export(commands)
    _add_verify(commands)
    _add_evaluate(commands)
    add_optimize(commands)
    _add_camera(commands)
    report_options.add_measure(commands)
    report_options.add_report(commands)
    _add_health(commands)
    return parser


def _add_train(commands: Commands[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("train", help="train a network, or go on with a run")
    command.add_argument(
        "--config",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="TOML file; of several, each begins with the best weights of the one before",
    )
    add_data(command)
    command.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="RUN",
        help="the run's folder; of several configurations the last one's, the others' lie in it",
    )
    command.add_argument(
        "--start",
        type=Path,
        metavar="RUN",
        help="begin a new run with the best weights of this one, of the same network"
        " (with fresh_cell in its configuration: the same encoder)",
    )
    command.add_argument(
        "--threads", type=count, default=1, metavar="N", help="threads of torch (default: 1)"
    )
    add_device(command)
    command.add_argument(
        "--loaders",
        type=whole,
        default=0,
        metavar="N",
        help="processes that decode, render and augment frames, for each that trains (default: 0)",
    )
    command.add_argument(
        "--minutes",
        type=positive,
        default=math.inf,
        metavar="M",
        help="end after so long with what is learned: a stage whose time is up is over",
    )
    command.set_defaults(run=_train)


def _add_export(commands: Commands[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("export", help="write a run's best weights as a bundle")
    command.add_argument("run_folder", type=Path, metavar="RUN", help="the run's folder")
    command.add_argument(
        "--out",
        type=output_file,
        required=True,
        metavar="FILE.onnx",
        help="the bundle; missing folders are made",
    )
    command.set_defaults(run=_export)


def _add_verify(commands: Commands[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "verify", help="compare a bundle with what it was made from; 1 if they differ"
    )
    command.add_argument("bundle", type=Path, metavar="FILE.onnx", help="the bundle")
    origin = command.add_mutually_exclusive_group(required=True)
    origin.add_argument("--run", dest="run_folder", type=Path, metavar="RUN", help="its run")
    origin.add_argument(
        "--against", type=Path, metavar="FILE.onnx", help="the FP32 bundle that it was made from"
    )
    command.set_defaults(run=_verify)


def _add_evaluate(commands: Commands[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("evaluate", help="run a bundle over a recording")
    command.add_argument("bundle", type=Path, metavar="FILE.onnx", help="the bundle")
    truth = command.add_mutually_exclusive_group(required=True)
    truth.add_argument("--labels", type=Path, metavar="FILE.csv", help="labels")
    truth.add_argument(
        "--source", type=Path, help="a recording with labels; docs/data.md lists the formats"
    )
    add_read_options(command)
    command.add_argument("--split", metavar="NAME", help="rows of one split only (default: all)")
    command.add_argument(
        "--view",
        action="store_true",
        help="show frames as a vehicle's client sends them: cropped, scaled and compressed again",
    )
    command.add_argument(
        "--drop", type=share, default=0.0, metavar="P", help="share of frames lost, 0 to 0.9"
    )
    command.add_argument(
        "--rate", type=positive, metavar="HZ", help="frames a second (default: the recording's)"
    )
    command.add_argument(
        "--seed", type=whole, default=0, metavar="N", help="which frames are lost (default: 0)"
    )
    command.add_argument(
        "--json",
        type=output_file,
        metavar="OUT",
        help="write the figures as JSON; missing folders are made",
    )
    command.add_argument(
        "--plot",
        type=png_file,
        metavar="OUT.png",
        help="draw truth and prediction; missing folders are made",
    )
    command.set_defaults(run=_evaluate)


def _add_camera(commands: Commands[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "camera", help="write into bundles which camera they were trained with"
    )
    command.add_argument(
        "bundles",
        type=Path,
        nargs="+",
        metavar="FILE.onnx",
        help="an FP32 bundle; those of reduced precision beside it are written too",
    )
    for name, default, what in (
        ("fov-deg", 18.0, "horizontal field of view of the whole picture"),
        ("aspect", 4 / 3, "width of the picture by its height"),
        ("height-m", 1.3, "height of the lens above the ground"),
        ("horizon", 0.45, "row of the horizon as a fraction of the picture's height"),
    ):
        text = f"{what} (default: {default:.4g}, the camera of the data that this project uses)"
        command.add_argument(f"--{name}", type=positive, default=default, help=text)
    command.add_argument(
        "--results",
        type=Path,
        metavar="DIR",
        help="write the new digests into the results there that quote the old ones",
    )
    command.set_defaults(run=_camera)


def _add_health(commands: Commands[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "health", help="look inside trained networks: gradients, dead units, gates, worst moments"
    )
    command.add_argument(
        "run_folders",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="a run's folder; several to compare",
    )
    add_data(command)
    command.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of the pictures (default: health in each run's own)",
    )
    command.add_argument(
        "--json",
        type=output_file,
        metavar="FILE",
        help="write the figures as JSON; missing folders are made",
    )
    command.set_defaults(run=_health)


def _train(options: argparse.Namespace) -> int:
    import cv2  # noqa: PLC0415
    import torch  # noqa: PLC0415

    from model_export import config as configs  # noqa: PLC0415
    from model_export import parallel  # noqa: PLC0415
    from model_export.run import RunFolder  # noqa: PLC0415
    from model_export.training.hardware import Hardware, device_named  # noqa: PLC0415
    from model_export.training.time_limit import TimeLimit  # noqa: PLC0415
    from model_export.training.trainer import train  # noqa: PLC0415

    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    cache = options.cache or options.out.parent / "cache"
    start = RunFolder(options.start) if options.start else None
    *before, _ = options.config
    folders = [*(options.out / config.stem for config in before), options.out]
    limit = TimeLimit(options.minutes, sum(len(configs.load(one).stage) for one in options.config))
    hardware = Hardware(device=device_named(options.device), loaders=options.loaders)
    try:
        with parallel.joined(hardware.device):
            for config, folder in zip(options.config, folders, strict=True):
                run = RunFolder(folder)
                result = train(
                    config, run, options.data, cache, start, hardware=hardware, limit=limit
                )
                start = run
    except ProcessError as error:
        # Said here, while no SIGTERM of torchrun ends this process: see `taking_note`.
        _say(str(error))
        return CANNOT_START
    if _is_first():
        print("RMSE on what validates, in rad, m/s and Nm")
        for item in result.scores:
            print(f"{item.head:24} {item.rmse:8.4f}  {item.source}")
    return 0


def _export(options: argparse.Namespace) -> int:
    from model_export.export.exporter import export  # noqa: PLC0415
    from model_export.run import RunFolder  # noqa: PLC0415

    export(RunFolder(options.run_folder), options.out)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB")
    return 0


def _verify(options: argparse.Namespace) -> int:
    import torch  # noqa: PLC0415

    from model_export.export.verify import verify, verify_against  # noqa: PLC0415
    from model_export.run import RunFolder  # noqa: PLC0415

    # Steps of a few frames: on a busy machine threads that wait for each other cost minutes.
    torch.set_num_threads(1)
    if options.against is not None:
        result = verify_against(options.bundle, options.against)
    else:
        result = verify(options.bundle, RunFolder(options.run_folder))
    print("\n".join(result.lines()))
    return 0 if result.passed else 1


def _evaluate(options: argparse.Namespace) -> int:
    from model_export.evaluation.evaluate import evaluate, report  # noqa: PLC0415
    from model_export.evaluation.frame_loss import FrameLoss  # noqa: PLC0415

    loss = FrameLoss(drop=options.drop, rate_hz=options.rate, seed=options.seed)
    with contextlib.ExitStack() as stack:
        labels, images = options.labels, options.images
        if options.source is not None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            labels, images = _as_labels(options, folder / "recording"), None
        result = evaluate(
            options.bundle, labels, images, options.split, loss, as_views=options.view
        )
    print("\n".join(report(result)))
    if options.json is not None:
        whole_file.write_json(options.json, result.summary())
    if options.plot is not None:
        from model_export.evaluation.plots import plot_evaluation  # noqa: PLC0415

        with whole_file.replacing(options.plot) as part:
            plot_evaluation(result, part)
    return 0


def _as_labels(options: argparse.Namespace, folder: Path) -> Path:
    """Write a recording as a folder with a labels file, and return the file."""
    reading = read_options(options)
    try:
        recording = open_recording(options.source, reading, options.format)
        write_recording(recording, folder, reading)
    except MediaError as error:
        raise DataError(str(error)) from None
    for line in (*recording.assumed, *reading.bad_rows.summary()):
        print(f"model_export: {line}", file=sys.stderr)
    return folder / LABELS


def _camera(options: argparse.Namespace) -> int:
    from model_export.export import camera  # noqa: PLC0415
    from steerstream_bundle.contract import TrainedCamera  # noqa: PLC0415

    trained = TrainedCamera(
        horizontal_fov_deg=options.fov_deg,
        aspect_ratio=options.aspect,
        mount_height_m=options.height_m,
        horizon_fraction=options.horizon,
    )
    digests = []
    for bundle in options.bundles:
        for path, before, now in camera.set_camera(bundle, trained):
            print(f"{path}: {before[:12]} is now {now[:12]}")
            digests.append((before, now))
    if options.results is not None:
        for path in camera.follow(options.results, digests):
            print(f"{path}: follows")
    return 0


def _health(options: argparse.Namespace) -> int:
    from model_export.run import RunFolder  # noqa: PLC0415
    from model_export.training import health  # noqa: PLC0415

    runs = [RunFolder(path) for path in options.run_folders]
    health.check_names(runs)
    found = []
    for run in runs:
        found.append(health.examine(run, options.data, options.cache or run.path.parent / "cache"))
        print("\n".join(health.lines(found[-1])))
    for path in health.draw(found, options.out):
        print(path)
    if options.json is not None:
        whole_file.write_json(options.json, [health.summary(one) for one in found])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
