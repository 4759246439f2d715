"""Options that several commands take."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent

Commands = argparse._SubParsersAction  # noqa: SLF001
"""The group of parsers to which a command adds its own."""


def add_device(command: argparse.ArgumentParser) -> None:
    """Add the choice between processor and GPU."""
    command.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where to train (default: a GPU, if torch sees one)",
    )


def add_data(command: argparse.ArgumentParser) -> None:
    """Add the folders of driving data and of what was prepared of it."""
    command.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("STEERSTREAM_DATA", CHECKOUT.parent / "shared" / "data")),
        metavar="DIR",
        help="folder with the driving data (default: STEERSTREAM_DATA, then ../shared/data)",
    )
    command.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="folder of prepared frames, shared by runs (default: cache beside the run's folder)",
    )
