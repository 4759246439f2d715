"""A double of the Donkey simulator: what it says in its own words, one picture at a time.

gym-donkeycar 1.0.13 takes these words for the simulator's, as `make bridge-test` shows. Needs
nothing but Python, because that test runs it in gym-donkeycar's environment.
"""

from __future__ import annotations

import base64
import socket

SCENES = '{"msg_type":"scene_names","scene_names":["generated_road","warehouse"]}\n'
READY = '{"msg_type":"scene_selection_ready"}\n'
LOADED = '{"msg_type":"car_loaded"}\n'


def telemetry(picture: bytes, decimal: str = ".", speed: str = "7{}25") -> str:
    """The words of one picture; `decimal` is that of the simulator's machine."""
    image = base64.b64encode(picture).decode()
    text = (
        '{{"msg_type":"telemetry","steering_angle":-0{0}0625,"throttle":0{0}2,"speed":'
        + speed.replace("{}", "{0}")
        + ',"image":"'
        + image
        + '","hit":"none","pos_x":50{0}3,"pos_y":0{0}55,"pos_z":-4{0}125,"time":12{0}5,'
        '"cte":0{0}0123}}\n'
    )
    return text.format(decimal)


class Simulator:
    """Speaks over a connected socket, in turns."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.settimeout(10.0)

    def ask(self, text: str) -> str:
        """Say something and return what one read gives, as the simulator takes it."""
        self.say(text)
        return self.hear()

    def hear(self) -> str:
        return self._connection.recv(1 << 16).decode()

    def say(self, text: str) -> None:
        self._connection.sendall(text.encode())

    def close(self) -> None:
        self._connection.close()
