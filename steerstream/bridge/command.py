"""The command `bridge`: one subcommand for each simulator."""

from __future__ import annotations

import argparse

from steerstream.bridge.gymnasium import command as gymnasium


def add_bridge_options(parser: argparse.ArgumentParser) -> None:
    """Add the simulators, each with its options."""
    simulators = parser.add_subparsers(title="simulators", required=True, metavar="SIMULATOR")
    about = "drive an environment of Gymnasium that shows a camera's pictures"
    simulator = simulators.add_parser("gymnasium", help=about, description=about)
    gymnasium.add_options(simulator)
    simulator.set_defaults(run=gymnasium.run)
