#!/usr/bin/env bash
# gym-donkeycar sends an action only when the simulator says something, then all that wait as one.
#
# Version: gym-donkeycar 1.0.13, Python 3.11.
# Guess: `take_action` writes the control message to the simulator's socket at once.
# Behaviour: it queues the message for a thread in `asyncore.loop()`, which sleeps in `select` for up to
#     30 s and is woken by nothing but the simulator. Two actions in between leave one after the other
#     without a delimiter, so the simulator finds two JSON objects in what it reads.
# Output seen: nothing within 3 s of an action; after a message of the simulator both, glued.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder/site" gym-donkeycar==1.0.13 numpy==2.4.6 2>/dev/null

seen=$(PYTHONPATH="$folder/site" timeout 60 python3 -W ignore - 2>/dev/null <<'PROGRAM' | tail -n 2
import socket, time
from gym_donkeycar.envs.donkey_sim import DonkeyUnitySimContoller

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
gym = DonkeyUnitySimContoller(level=0, port=port, hostname="127.0.0.1")
simulator = socket.create_connection(("127.0.0.1", port))
simulator.settimeout(3.0)
simulator.sendall(b'{"msg_type":"car_loaded"}\n')
while not gym.handler.loaded:
    time.sleep(0.01)
time.sleep(0.5)
gym.take_action([0.5, 0.5])
gym.take_action([-0.5, 0.5])
try:
    print(simulator.recv(1000))
except TimeoutError:
    print("nothing for 3 s")
simulator.sendall(b'{"msg_type":"car_loaded"}\n')
time.sleep(1.0)
print(simulator.recv(1000).count(b"}{"), "pair of glued messages")
PROGRAM
)
expected="nothing for 3 s
1 pair of glued messages"
if [ "$seen" = "$expected" ]; then echo "as stated"; else echo "CHANGED, saw: $seen"; exit 1; fi
