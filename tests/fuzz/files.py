"""Odd and damaged files and tickets, to everything that reads one.

A reader may refuse what it is given, with its own kind of error, and nothing else may happen.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from steerstream.errors import MediaError
from steerstream.sources.labels import read_labels
from steerstream_bundle import jpeg_header, loading, onnx_file
from steerstream_bundle.contract import Contract, ContractError
from steerstream_bundle.errors import BundleError, UndecodableError
from steerstream_service import config
from steerstream_service.admission.ticket_office import TicketOffice, read_keys
from steerstream_service.config import Config
from steerstream_service.errors import BadTicketError, ConfigError
from steerstream_service.session import ticket
from steerstream_service.session.ticket import TicketError
from tests.bundle.jpeg_files import PROGRESSIVE, RESTARTS, WHOLE, exif, with_segments
from tests.fuzz.messages import damage
from tests.fuzz.tally import Tally
from tests.service import bundles, states

_ODD_VALUES = (
    None, True, 0, -1, 2**63, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"),
    "", "x", "\0", "\ud800", "x" * 10_000, [], {}, [[]], [0] * 5000, {"x": 1},
)  # fmt: skip
_ODD_TEXTS = (
    "", "nan", "inf", "-1", "0", "1e999", "9" * 5000, "true", '"text"', "[]", "[[[[", "{}", "'",
    "1979-05-27", "0x10", "\0", "é", ",", "\n", '"', "[" * 3000,
)  # fmt: skip
_LABELS = """\
frame_id,filename,angle,torque,speed,block,split
1000000000,a.jpg,0.1,-0.2,9.5,1,train
1050000000,b.jpg,-0.1,,9.6,1,test
1100000000,c.jpg,0.0,0.3,,2,test
"""
_KEYS = f"# of the fleet\nnew = {'A' * 43}=\nold = {'B' * 43}=\n"


class _Reader(NamedTuple):
    """Something that reads bytes.

    Attributes:
        name: what it reads.
        samples: good ones, or nearly.
        read: reads bytes.
        refusal: what it may raise.
        spoil: changes a sample where it matters; None where only bytes are damaged.
    """

    name: str
    samples: list[bytes]
    read: Callable[[bytes], object]
    refusal: type[Exception]
    spoil: Callable[[random.Random, bytes], bytes] | None = None


async def fuzz(messages: int, seed: int, folder: Path, tally: Tally) -> None:
    """Read odd files until there were so many.

    Args:
        messages: how many.
        seed: of all that is chosen.
        folder: for files.
        tally: counts files and faults.
    """
    rng = random.Random(seed)
    readers = _readers(folder)
    while tally.messages < messages:
        reader = rng.choice(readers)
        tally.messages += 1
        sample = rng.choice(reader.samples)
        if reader.spoil is not None and rng.random() < 0.6:
            data = reader.spoil(rng, sample)
        else:
            data = damage(rng, sample, rng.choice(reader.samples))
        try:
            reader.read(data)
        except reader.refusal as error:
            tally.count(f"{reader.name} refused")
            str(error).encode()
        except Exception as error:  # noqa: BLE001 - any other error is what is looked for
            tally.fault(f"{reader.name} raised {type(error).__name__}", error)
        else:
            tally.count(f"{reader.name} read")
        tally.progress()


def _readers(folder: Path) -> list[_Reader]:
    bundle = loading.load(bundles.recurrent(folder / "tiny.onnx"))
    file = folder / "file"
    office = TicketOffice(None, 60.0, wall_s=lambda: 1e9)
    state = states.state(tensors=bytes(ticket.state_bytes(bundle.contract)))
    settings = "\n".join(
        f"{item.name} = {json.dumps(item.default)}" for item in dataclasses.fields(Config)
    )

    def from_file(read: Callable[[Path], object]) -> Callable[[bytes], object]:
        def written(data: bytes) -> object:
            file.write_bytes(data)
            return read(file)

        return written

    sealed = office.seal(state, "car", bundle, "0" * 16)

    def opened(data: bytes) -> None:
        office.open(data, "car", bundle)
        assert data == sealed, "a changed ticket was opened"

    jpegs = [WHOLE, PROGRESSIVE, RESTARTS, with_segments(WHOLE, exif(6), exif(3, order=">"))]
    return [
        _Reader(
            "contract",
            [bundles.contract().to_json().encode(), bundles.timed_contract().to_json().encode()],
            lambda data: Contract.from_json(data.decode(errors="replace")),
            ContractError,
            _spoil_json,
        ),
        _Reader("network", [(folder / "tiny.onnx").read_bytes()], onnx_file.check, BundleError),
        _Reader("settings", [settings.encode()], from_file(config.load), ConfigError, _spoil_lines),
        _Reader("labels", [_LABELS.encode()], from_file(read_labels), MediaError, _spoil_lines),
        _Reader("keys", [_KEYS.encode()], from_file(read_keys), ConfigError, _spoil_lines),
        _Reader("ticket", [sealed], opened, BadTicketError),
        _Reader(
            "state",
            [ticket.pack(state)],
            lambda data: ticket.unpack(data, bundle.contract),
            TicketError,
        ),
        _Reader("JPEG header", jpegs, jpeg_header.read, UndecodableError),
    ]


def _spoil_json(rng: random.Random, data: bytes) -> bytes:
    """Change, drop or add one value, at any depth."""
    content = json.loads(data)
    container: Any = content
    while True:
        key = rng.choice(list(container) if isinstance(container, dict) else range(len(container)))
        inner = container[key]
        if not inner or not isinstance(inner, dict | list) or rng.random() < 0.2:
            break
        container = inner
    match rng.randrange(4):
        case 0:
            del container[key]
        case 1 if isinstance(container, dict):
            container["unknown"] = rng.choice(_ODD_VALUES)
        case _:
            container[key] = rng.choice(_ODD_VALUES)
    return json.dumps(content).encode(errors="replace")


def _spoil_lines(rng: random.Random, data: bytes) -> bytes:
    """Put an odd text in place of a value, or repeat or drop a line."""
    lines = data.decode().splitlines()
    index = rng.randrange(len(lines))
    match rng.randrange(4):
        case 0:
            lines[index : index + 1] = [lines[index]] * rng.choice([0, 2])
        case _:
            mark = "," if "," in lines[index] else "="
            values = lines[index].split(mark)
            values[rng.randrange(len(values))] = rng.choice(_ODD_TEXTS)
            lines[index] = mark.join(values)
    return "\n".join(lines).encode()
