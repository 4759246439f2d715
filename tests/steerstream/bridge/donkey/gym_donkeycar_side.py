"""Lets gym-donkeycar take the double for a simulator; runs in gym-donkeycar's own environment.

Argument: the picture. Prints what gym-donkeycar said and understood, as JSON.
"""

from __future__ import annotations

import importlib
import json
import socket
import sys
import time
from pathlib import Path

from gym_donkeycar.envs.donkey_sim import DonkeyUnitySimContoller

sys.path.insert(0, str(Path(__file__).parent))
words = importlib.import_module("simulator")

picture = Path(sys.argv[1]).read_bytes()
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
gym = DonkeyUnitySimContoller(level=1, port=port, hostname="127.0.0.1")
simulator = words.Simulator(socket.create_connection(("127.0.0.1", port)))
said = [simulator.ask(words.READY), simulator.ask(words.SCENES)]
simulator.say(words.LOADED)
understood = []
for decimal in (".", ","):
    gym.handler.speed = 0.0
    simulator.say(words.telemetry(picture, decimal))
    for _ in range(500):
        if gym.handler.speed:
            break
        time.sleep(0.01)
    understood.append([gym.handler.speed, gym.handler.cte, list(gym.handler.image_array.shape)])
# Its thread writes when something arrives, and then all that waits.
gym.take_action([-1.0, 0.5])
gym.handler.send_reset_car()
said.append("")
while not said[-1].endswith('"reset_car"}'):
    simulator.say(words.telemetry(picture))
    said[-1] += simulator.hear()
print(json.dumps({"said": said, "understood": understood}))
