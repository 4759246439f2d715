"""The command `bridge`: one subcommand for each simulator."""

from __future__ import annotations

import argparse

from steerstream.bridge.alpasim import command as alpasim
from steerstream.bridge.donkey import command as donkey
from steerstream.bridge.gymnasium import command as gymnasium
from steerstream.bridge.metadrive import command as metadrive
from steerstream.bridge.udacity import command as udacity


def add_bridge_options(parser: argparse.ArgumentParser) -> None:
    """Add the simulators, each with its options."""
    simulators = parser.add_subparsers(title="simulators", required=True, metavar="SIMULATOR")
    for name, bridge, about in (
        ("alpasim", alpasim, "drive for AlpaSim, and for whatever else speaks its driver contract"),
        ("donkey", donkey, "drive in the simulator of Donkey Car"),
        (
            "gymnasium",
            gymnasium,
            "drive an environment of Gymnasium that shows a camera's pictures",
        ),
        ("metadrive", metadrive, "drive MetaDrive's maps, or record its own driver"),
        ("udacity", udacity, "drive in Udacity's self-driving car simulator"),
    ):
        simulator = simulators.add_parser(name, help=about, description=about)
        bridge.add_options(simulator)
        simulator.set_defaults(run=bridge.run)
