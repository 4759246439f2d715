"""Strict reading of plain values into frozen dataclasses: every key known, present, of its type."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from model_export.errors import ConfigError

_T = TypeVar("_T")


def build(kind: type[_T], data: object, path: str = "") -> _T:
    """Make a dataclass from a table, with those that it holds.

    Args:
        kind: the dataclass.
        data: the table.
        path: where the table stands, for messages.

    Raises:
        ConfigError: a key is unknown, missing or of the wrong type. The message has its full name.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must be a table, is {data!r}")
    hints = typing.get_type_hints(kind)
    fields = {item.name: item for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(data.keys() - fields.keys()):
        known = ", ".join(fields)
        raise ConfigError(f"unknown key {_join(path, unknown[0])!r}; known here: {known}")
    values: dict[str, Any] = {}
    for name, item in fields.items():
        if name in data:
            values[name] = _value(hints[name], data[name], _join(path, name))
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            raise ConfigError(f"key {_join(path, name)!r} is missing")
    return kind(**values)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _value(hint: Any, value: object, path: str) -> Any:  # noqa: ANN401
    origin = typing.get_origin(hint)
    if origin is tuple:
        return _items(hint, value, path)
    if origin is not None and issubclass(origin, Mapping):
        return types.MappingProxyType(_typed(dict, value, path))
    if dataclasses.is_dataclass(hint):
        return build(typing.cast("type[Any]", hint), value, path)
    return _typed(hint, value, path)


def _items(hint: Any, value: object, path: str) -> tuple[Any, ...]:  # noqa: ANN401
    items = _typed(list, value, path)
    hints = typing.get_args(hint)
    if hints[-1] is not Ellipsis and len(items) != len(hints):
        raise ConfigError(f"key {path!r} must be a list of {len(hints)}, is {items!r}")
    return tuple(_value(hints[0], item, f"{path}[{index}]") for index, item in enumerate(items))


def _typed(hint: type[_T], value: object, path: str) -> _T:
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint:
        raise ConfigError(f"key {path!r} must be of type {hint.__name__}, is {value!r}")
    return value
