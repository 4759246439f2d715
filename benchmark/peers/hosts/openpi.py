"""openpi's websocket policy server around the network.

One policy serves all connections and learns of neither their begin nor their end, so observations
name their session and the states live in a dict, as with Triton.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from openpi_client.base_policy import BasePolicy
from openpi_server import WebsocketPolicyServer

from benchmark.loadgen.picture_set import unpack
from benchmark.peers.hosts.network import Network, State


class DrivingPolicy(BasePolicy):  # type: ignore[misc]  # openpi has no types
    """Maps an observation of a session to its outputs.

    Args:
        network: one for all sessions.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._states: dict[int, State] = {}

    def infer(self, obs: dict[str, Any]) -> dict[str, Any]:
        """Return `outputs`, float32 [3], for `session`, `start` and `image`."""
        session = obs["session"]
        if obs["start"]:
            self._states[session] = self._network.initial_state()
        picture = self._network.picture(*unpack(memoryview(obs["image"])))
        outputs, self._states[session] = self._network.step(picture[None], self._states[session])
        return {"outputs": outputs[0]}


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    policy = DrivingPolicy(Network(options.model))
    WebsocketPolicyServer(policy, "127.0.0.1", options.port).serve_forever()


if __name__ == "__main__":
    main()
