"""Messages that no honest program sends: odd values in any field, and damaged bytes.

Fields are found by the messages' descriptors, so that a new field of the wire contract is fuzzed
without a change here.
"""

from __future__ import annotations

import math
import random
import sys
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_NUMBERS = (0.0, -0.0, 1.0, -1.0, 1e-9, 0.1, 1e9, math.nan, math.inf, -math.inf)
_EXTREMES = (math.ulp(0.0), sys.float_info.max, -sys.float_info.max)
_TEXTS = ("", "v", "\0", "\n", "é\u202e", "%s{}", "x" * 128, "x" * 1000, "tiny")
_MOST_AT_ONCE = 64
"""Bytes that are put in or repeated at one place."""


def spoil(rng: random.Random, message: Any) -> None:
    """Set one field of a message, or of a message in it, to an odd value."""
    fields = message.DESCRIPTOR.fields
    there = [field for field, _ in message.ListFields()]
    field = rng.choice(there if there and rng.random() < 0.7 else fields)
    if field.type != FieldDescriptor.TYPE_MESSAGE:
        _set(rng, message, field)
    elif field.is_repeated:
        spoil(rng, getattr(message, field.name).add())
    else:
        part: Message = getattr(message, field.name)
        part.SetInParent()
        if part.DESCRIPTOR.fields:
            spoil(rng, part)


def _set(rng: random.Random, message: Message, field: FieldDescriptor) -> None:
    value = _odd_value(rng, field)
    if field.is_repeated:
        getattr(message, field.name).extend([value] * rng.choice([1, 2, 1000]))
    else:
        setattr(message, field.name, value)


def _odd_value(rng: random.Random, field: FieldDescriptor) -> object:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return rng.choice([*_NUMBERS, *_EXTREMES, rng.gauss(0, 100)])
        case FieldDescriptor.CPPTYPE_BOOL:
            return rng.random() < 0.5
        case FieldDescriptor.CPPTYPE_STRING:
            if field.type == FieldDescriptor.TYPE_BYTES:
                return rng.randbytes(rng.choice([0, 1, 100, 5000]))
            return rng.choice(_TEXTS)
    low, high = _RANGES[field.cpp_type]
    return rng.choice([low, low + 1, high - 1, high, 0, 1, 2, 3, rng.randint(low, high)])


def damage(rng: random.Random, data: bytes, other: bytes = b"") -> bytes:
    """Return data with some bytes changed, lost, repeated, or taken from other data.

    Args:
        rng: chooses what and where.
        data: what is damaged.
        other: where bytes come from that are put in; random ones where it is empty.
    """
    damaged = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        start = rng.randint(0, len(damaged))
        end = min(len(damaged), start + rng.randint(1, _MOST_AT_ONCE))
        match rng.randrange(6):
            case 0 if start < len(damaged):
                damaged[start] ^= 1 << rng.randrange(8)
            case 1 if start < len(damaged):
                damaged[start] ^= rng.choice([0x7F, 0x80, 0xFF, rng.randint(1, 255)])
            case 2:
                del damaged[start:]
            case 3:
                del damaged[start:end]
            case 4:
                damaged[start:start] = damaged[start:end]
            case _:
                at = rng.randint(0, len(other))
                damaged[start:start] = other[at : at + end - start] or rng.randbytes(end - start)
    return bytes(damaged)


def numbers(message: Message) -> list[float]:
    """Return all floating-point numbers that are set in a message, at any depth."""
    found: list[float] = []
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for part in values:
                found += numbers(part)
        elif field.cpp_type in {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}:
            found += values
    return found
