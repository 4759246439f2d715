"""openpi's websocket protocol: msgpack with arrays, one request and one response in turn."""

from __future__ import annotations

import contextlib
import random
from collections import deque
from collections.abc import AsyncIterator

import numpy as np
import numpy.typing as npt
from openpi_client import msgpack_numpy
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from benchmark.loadgen.picture_set import PictureSet
from benchmark.loadgen.transport import (
    Answer,
    Connection,
    SessionEndedError,
    Stream,
    Terms,
    Transport,
)

_GOODBYE_S = 0.5

Images = list[npt.NDArray[np.uint8]]


class OpenpiTransport(Transport):
    """Connects to an openpi server, which tells its policy nothing of connections.

    So each observation names its session, as Triton's correlation id does.

    Args:
        address: HOST:PORT.
        pictures: what vehicles see.
    """

    def __init__(self, address: str, pictures: PictureSet) -> None:
        self._address = address
        self._images = [np.frombuffer(packed, np.uint8) for packed in pictures.packed()]

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[OpenpiConnection]:
        """Connect and take the greeting; the end of the context drops what is left of it."""
        url = f"ws://{self._address}"
        socket = await connect(url, compression=None, max_size=None, close_timeout=_GOODBYE_S)
        try:
            await socket.recv()
            yield OpenpiConnection(socket, self._images)
        finally:
            socket.transport.abort()


class OpenpiConnection(Connection):
    """One vehicle's socket."""

    def __init__(self, socket: ClientConnection, images: Images) -> None:
        self._socket = socket
        self._images = images

    async def open(self, vehicle_id: str, terms: Terms) -> OpenpiStream:  # noqa: ARG002
        """Begin a session; openpi knows no names and no terms, and answers every frame."""
        return OpenpiStream(self._socket, self._images)


class OpenpiStream(Stream):
    """One session; see `transport.Stream`."""

    def __init__(self, socket: ClientConnection, images: Images) -> None:
        self._socket = socket
        self._images = images
        self._session = random.getrandbits(62)
        self._packer = msgpack_numpy.Packer()
        self._numbers: deque[int] = deque()

    async def send(self, number: int, picture: int, capture_time_ns: int) -> None:  # noqa: ARG002
        """Send a frame; see `transport.Stream`."""
        image = self._images[picture % len(self._images)]
        observation = {"session": self._session, "start": number == 0, "image": image}
        self._numbers.append(number)
        try:
            await self._socket.send(self._packer.pack(observation))
        except ConnectionClosed:
            raise SessionEndedError("CLOSED", "the connection is closed") from None

    async def receive(self) -> Answer:
        """Return the next answer; see `transport.Stream`."""
        try:
            message = await self._socket.recv()
        except ConnectionClosed:
            raise SessionEndedError("CLOSED", "the connection is closed") from None
        if isinstance(message, str):
            raise SessionEndedError("ERROR", message.strip().splitlines()[-1])
        outputs = msgpack_numpy.unpackb(message)["outputs"]
        return Answer(self._numbers.popleft(), tuple(outputs.tolist()))

    async def close(self) -> None:
        """Close the connection with websocket's handshake; see `transport.Stream`."""
        await self._socket.close()

    async def abort(self) -> None:
        """Drop the connection; see `transport.Stream`."""
        self._socket.transport.abort()
