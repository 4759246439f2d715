"""Reads plain values, as JSON and TOML give them, into dataclasses, strictly.

Every key must be known, present unless it has a default, and of its field's type. A field's type
may be a scalar, a string enumeration, another dataclass, a mapping, or a tuple of these. A whole
number passes for a float.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

_T = TypeVar("_T")

_LONGEST_SHOWN = 80
"""Characters of a wrong value in a message: the value may be a megabyte."""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads one kind of file; its messages use the words of those who write such files.

    Attributes:
        error: what is raised, with the message.
        key: how a key is named: a template with `{}`, or with `{!r}`.
        types: what a type is called; a type that is missing here is called by its name.
        of_type: what stands before a type's name.
        unknown: template of the message for an unknown key, with `path`, `first` (the full
            name of the first such key), `names` (of all in this table) and `known`.
        finite: whether infinity and NaN are refused.
        reason_against: returns why a scalar is refused that has the right type, or None.
    """

    error: Callable[[str], Exception]
    key: str = "{}"
    types: Mapping[type, str] = dataclasses.field(default_factory=dict)
    of_type: str = "of type "
    unknown: str
    finite: bool = True
    reason_against: Callable[[object], str | None] = lambda _: None

    def read(self, kind: type[_T], data: object, path: str = "") -> _T:
        """Make a dataclass from a table, with all dataclasses that it holds.

        Args:
            kind: the dataclass.
            data: the table.
            path: where the table stands in its file, for messages; empty for the whole file.

        Raises:
            Exception: what `error` returns; the message has the full name of the key.
        """
        table = self._typed(dict, data, path)
        hints = typing.get_type_hints(kind)
        fields = {item.name: item for item in dataclasses.fields(typing.cast("Any", kind))}
        if unknown := sorted(table.keys() - fields.keys()):
            first = _shown(_join(path, unknown[0]))
            names = ", ".join(_shown(name)[1:-1] for name in unknown)
            text = self.unknown.format(path=path, first=first, names=names, known=", ".join(fields))
            raise self.error(text)
        values: dict[str, Any] = {}
        for name, item in fields.items():
            if name in table:
                values[name] = self._value(hints[name], table[name], _join(path, name))
            elif item.default is item.default_factory is dataclasses.MISSING:
                raise self.error(f"{self.key.format(_join(path, name))} is missing")
        return kind(**values)

    def _value(self, hint: Any, value: object, path: str) -> Any:  # noqa: ANN401
        origin = typing.get_origin(hint)
        if origin is tuple:
            return self._items(typing.get_args(hint), value, path)
        if origin is not None and issubclass(origin, Mapping):
            return types.MappingProxyType(self._typed(dict, value, path))
        if dataclasses.is_dataclass(hint):
            return self.read(typing.cast("type[Any]", hint), value, path)
        if issubclass(hint, enum.StrEnum):
            return self._enum(hint, value, path)
        return self._typed(hint, value, path)

    def _items(self, hints: tuple[Any, ...], value: object, path: str) -> tuple[Any, ...]:
        items = self._typed(list, value, path)
        if hints[-1] is not Ellipsis and len(items) != len(hints):
            name = self.key.format(path)
            raise self.error(f"{name} must be a list of {len(hints)}, is {_shown(items)}")
        return tuple(
            self._value(hints[0], item, f"{path}[{index}]") for index, item in enumerate(items)
        )

    def _enum(self, hint: type[enum.StrEnum], value: object, path: str) -> enum.StrEnum:
        known = [str(item) for item in hint]
        if value not in known:
            name = self.key.format(path)
            raise self.error(f"{name} must be one of {known}, is {_shown(value)}")
        return hint(str(value))

    def _typed(self, hint: type[_T], value: object, path: str) -> _T:
        name = self.key.format(path)
        if hint is float and type(value) is int:
            try:
                value = float(value)
            except OverflowError:
                raise self.error(f"{name} must be finite, is {_shown(value)}") from None
        if type(value) is not hint:
            called = self.types.get(hint, f"{self.of_type}{hint.__name__}")
            raise self.error(f"{name} must be {called}, is {_shown(value)}")
        if self.finite and isinstance(value, float) and not math.isfinite(value):
            raise self.error(f"{name} must be finite, is {value}")
        if reason := self.reason_against(value):
            raise self.error(f"{name} {reason}, is {_shown(value)}")
        return value


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
