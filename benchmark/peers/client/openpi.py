"""openpi's websocket protocol: msgpack with arrays, one request and one response in turn."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

import numpy as np
from openpi_client import msgpack_numpy
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from benchmark.peers.client.links import Answer, EndedError, Terms
from benchmark.peers.frameset import FrameSet

_GOODBYE_S = 0.5


class OpenpiTransport:
    """Sessions of an openpi server, which tells its policy nothing of connections.

    So each observation names its session, as Triton's correlation id does.

    Args:
        target: HOST:PORT.
        frames: what to send.
    """

    def __init__(self, target: str, frames: FrameSet) -> None:
        self._target = target
        self._images = [np.frombuffer(packed, np.uint8) for packed in frames.packed()]

    async def open(self, session: int, terms: Terms) -> OpenpiLink:  # noqa: ARG002
        """Connect and take the greeting; openpi knows no terms, and answers every frame."""
        socket = await connect(f"ws://{self._target}", compression=None, max_size=None)
        await socket.recv()
        return OpenpiLink(socket, session, self._images)


class OpenpiLink:
    """One connection; see `links.Link`."""

    def __init__(
        self,
        socket: ClientConnection,
        session: int,
        images: list[np.ndarray[tuple[int], np.dtype[np.uint8]]],
    ) -> None:
        self._socket = socket
        self._session = session
        self._images = images
        self._packer = msgpack_numpy.Packer()
        self._numbers: deque[int] = deque()

    async def send(self, number: int, frame: int) -> None:
        """Send a frame; see `links.Link.send`."""
        observation = {"session": self._session, "start": number == 0, "image": self._images[frame]}
        self._numbers.append(number)
        try:
            await self._socket.send(self._packer.pack(observation))
        except ConnectionClosed:
            raise EndedError("the connection is closed") from None

    async def receive(self) -> Answer:
        """Return the next answer; see `links.Link.receive`."""
        try:
            message = await self._socket.recv()
        except ConnectionClosed:
            raise EndedError("the connection is closed") from None
        if isinstance(message, str):
            raise EndedError(message.strip().splitlines()[-1])
        outputs = msgpack_numpy.unpackb(message)["outputs"]
        return Answer(self._numbers.popleft(), tuple(outputs.tolist()))

    async def close(self) -> None:
        """Close the connection with websocket's handshake; see `links.Link.close`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_S):
                await self._socket.close()
        await self.abort()

    async def abort(self) -> None:
        """Drop the connection; see `links.Link.abort`."""
        self._socket.transport.abort()
