"""Work in several processes that are joined as `torchrun` joins those that it starts."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from model_export import parallel

_LONGEST_S = 120.0


def in_processes(count: int, work: Callable[[], Any]) -> list[Any]:
    """What `work` returns in each of so many processes; they are forked, so it may be a closure."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe(duplex=False) for _ in range(count)]
    started = [
        context.Process(target=_child, args=(rank, count, port, work, sends))
        for rank, (_, sends) in enumerate(pipes)
    ]
    for process in started:
        process.start()
    try:
        assert all(gets.poll(_LONGEST_S) for gets, _ in pipes), "a process gave nothing"
        found = [pickle.loads(gets.recv_bytes()) for gets, _ in pipes]
    finally:
        for process in started:
            process.kill()
            process.join()
    for one in found:
        assert not isinstance(one, _Raised), one.text
    return found


class _Raised:
    def __init__(self, text: str) -> None:
        self.text = text


def _child(rank: int, count: int, port: int, work: Callable[[], Any], sends: Connection) -> None:
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "LOCAL_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
    }
    try:
        with parallel.joined(torch.device("cpu")):
            sends.send_bytes(pickle.dumps(work()))
    except BaseException:  # noqa: BLE001 - the parent raises it
        sends.send_bytes(pickle.dumps(_Raised(traceback.format_exc())))
