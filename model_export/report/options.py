"""The command lines of `measure` and `report`."""

from __future__ import annotations

import argparse
from pathlib import Path

from model_export.options import CHECKOUT, Commands, add_data, add_device
from steerstream.command_line import count, not_negative, output_file, positive

_DEFAULT = CHECKOUT / "models" / "pilotnet_lstm.onnx"


def add_measure(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command that measures bundles."""
    command = commands.add_parser("measure", help="measure bundles for the report")
    kinds = command.add_subparsers(required=True, metavar="WHAT")
    accuracy = kinds.add_parser("accuracy", help="errors on every source, calibration, lost frames")
    _add_bundles(accuracy)
    add_data(accuracy)
    accuracy.add_argument(
        "--runs",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="folder of training runs, which tell seeds and times (default: runs)",
    )
    accuracy.set_defaults(run=_measure_accuracy)
    speed = kinds.add_parser("speed", help="milliseconds a frame, the bundles in turns")
    _add_bundles(speed)
    speed.add_argument("--rounds", type=count, default=11, metavar="N", help="default: 11")
    speed.set_defaults(run=_measure_speed)
    _add_autonomy(kinds)
    recorded = kinds.add_parser("pictures", help="the closed loop on the real drive's pictures")
    _add_bundles(recorded)
    add_data(recorded)
    recorded.set_defaults(run=_measure_pictures)
    _add_metres(kinds)
    lenses = kinds.add_parser("lenses", help="drive unseen roads with other cameras")
    _add_bundles(lenses, "models/pilotnet_lstm.onnx")
    lenses.add_argument("--roads", type=count, default=10, metavar="N", help="default: all ten")
    lenses.add_argument(
        "--seconds", type=positive, default=15.0, metavar="S", help="of each drive (default: 15)"
    )
    lenses.set_defaults(run=_measure_lenses)
    optimized = kinds.add_parser("optimized", help="what FP16 and INT8 would cost and gain")
    _add_bundles(optimized)
    add_data(optimized)
    optimized.set_defaults(run=_measure_optimized)
    view = kinds.add_parser("view", help="what is lost where vehicles send what a network sees")
    _add_bundles(view)
    add_data(view)
    view.set_defaults(run=_measure_view)
    training = kinds.add_parser("training", help="what a step of training costs, and of what")
    training.add_argument("config", type=Path, nargs="+", metavar="FILE", help="TOML file")
    add_device(training)
    training.set_defaults(run=_measure_training)
    focal_length = kinds.add_parser("focal-length", help="the real camera's, from its recordings")
    add_data(focal_length)
    focal_length.set_defaults(run=_measure_focal_length)


def add_report(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command that writes the page."""
    command = commands.add_parser("report", help="write docs/models.md from what was measured")
    command.add_argument(
        "--models",
        type=Path,
        default=CHECKOUT / "models",
        metavar="DIR",
        help="folder of bundles (default: models)",
    )
    command.add_argument(
        "--root",
        type=Path,
        default=CHECKOUT,
        metavar="DIR",
        help="the checkout that holds the results and gets the page (default: this one)",
    )
    command.add_argument(
        "--check", action="store_true", help="write nothing; fail where the page differs"
    )
    command.set_defaults(run=_report)


def _add_bundles(command: argparse.ArgumentParser, default: str = "all of models") -> None:
    command.add_argument(
        "bundles",
        type=Path,
        nargs="*",
        metavar="FILE.onnx",
        help=f"the bundles (default: {default})",
    )
    command.add_argument(
        "--root",
        type=Path,
        default=CHECKOUT,
        metavar="DIR",
        help="the checkout that gets the results (default: this one)",
    )


def _add_autonomy(kinds: Commands[argparse.ArgumentParser]) -> None:
    command = kinds.add_parser(
        "autonomy",
        help="drive ten roads that no training saw; 1 if the vehicle left its lane",
    )
    command.add_argument(
        "--model",
        type=Path,
        default=_DEFAULT,
        metavar="FILE.onnx",
        help="the bundle (default: models/pilotnet_lstm.onnx)",
    )
    command.add_argument(
        "--delay-ms",
        type=not_negative,
        nargs="+",
        default=(),
        metavar="MS",
        help="from a picture to when its command acts; several are driven one after the other "
        "(default: what answers really take)",
    )
    command.add_argument("--roads", type=count, default=10, metavar="N", help="default: all ten")
    command.add_argument(
        "--seconds", type=positive, default=60.0, metavar="S", help="of each drive (default: 60)"
    )
    command.add_argument(
        "--json",
        type=output_file,
        metavar="FILE",
        help="write the results here; missing folders are made",
    )
    command.set_defaults(run=_measure_autonomy)


def _add_metres(kinds: Commands[argparse.ArgumentParser]) -> None:
    command = kinds.add_parser(
        "metres", help="what delay, jitter, loss and speed cost in both closed loops"
    )
    _add_bundles(command)
    add_data(command)
    command.add_argument("--roads", type=count, default=5, metavar="N", help="default: 5")
    command.add_argument(
        "--seconds", type=positive, default=15.0, metavar="S", help="on each road (default: 15)"
    )
    command.add_argument(
        "--latency-trace",
        type=Path,
        metavar="PATH",
        help="a recorded link to measure as well, as `steerstream simulate drive` takes it",
    )
    command.set_defaults(run=_measure_metres)


def _chosen(options: argparse.Namespace) -> list[Path]:
    from model_export.report import commands  # noqa: PLC0415

    return options.bundles or commands.bundles(CHECKOUT / "models")


def _measure_accuracy(options: argparse.Namespace) -> int:
    from model_export.report import commands  # noqa: PLC0415

    cache = options.cache or options.runs / "cache"
    commands.measure_accuracy(_chosen(options), options.data, options.runs, cache, options.root)
    return 0


def _measure_speed(options: argparse.Namespace) -> int:
    from model_export.report import commands  # noqa: PLC0415

    commands.measure_speed(_chosen(options), options.rounds, options.root)
    return 0


def _measure_autonomy(options: argparse.Namespace) -> int:
    from model_export.report import commands  # noqa: PLC0415

    return commands.measure_autonomy(
        options.model,
        options.delay_ms,
        options.roads,
        options.seconds,
        options.json,
    )


def _measure_pictures(options: argparse.Namespace) -> int:
    from model_export.report import commands  # noqa: PLC0415

    commands.measure_pictures(_chosen(options), options.data, options.root)
    return 0


def _measure_lenses(options: argparse.Namespace) -> int:
    from model_export.report import commands  # noqa: PLC0415

    found = options.bundles or [_DEFAULT]
    commands.measure_lenses(found, options.roads, options.seconds, options.root)
    return 0


def _measure_metres(options: argparse.Namespace) -> int:
    from model_export.report import commands  # noqa: PLC0415

    commands.measure_metres(
        _chosen(options),
        options.data,
        options.root,
        roads=options.roads,
        seconds=options.seconds,
        trace=options.latency_trace,
    )
    return 0


def _measure_training(options: argparse.Namespace) -> int:
    import torch  # noqa: PLC0415

    from model_export import config as configs  # noqa: PLC0415
    from model_export.report import training_cost  # noqa: PLC0415
    from model_export.training.hardware import device_named  # noqa: PLC0415

    torch.set_num_threads(1)
    device = device_named(options.device)
    for path in options.config:
        for line in training_cost.lines(configs.load(path), device):
            print(line)
    return 0


def _measure_focal_length(options: argparse.Namespace) -> int:
    from model_export.data import focal_length  # noqa: PLC0415

    print(focal_length.estimate(options.data))
    return 0


def _measure_optimized(options: argparse.Namespace) -> int:
    from model_export.report import commands  # noqa: PLC0415

    cache = options.cache or Path("runs") / "cache"
    commands.measure_optimized(_chosen(options), options.data, cache, options.root)
    return 0


def _measure_view(options: argparse.Namespace) -> int:
    from model_export.report import commands  # noqa: PLC0415

    cache = options.cache or Path("runs") / "cache"
    commands.measure_view(_chosen(options), options.data, cache, options.root)
    return 0


def _report(options: argparse.Namespace) -> int:
    from model_export.report import commands  # noqa: PLC0415

    act = commands.check if options.check else commands.write
    act(options.models, options.root)
    return 0
