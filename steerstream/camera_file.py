"""A camera's description from a TOML file, for commands that drive with it."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

from steerstream.arguments import shown
from steerstream.errors import BadRequest
from steerstream.lens import LensModel
from steerstream.models import Camera

_FIELDS = {field.name for field in dataclasses.fields(Camera)}
_WHOLE = {"width_px", "height_px"}


def read_camera(path: Path) -> Camera:
    """Read a camera's description.

    The keys are the attributes of `Camera`; `lens` is pinhole, brown_conrady or fisheye.

    Args:
        path: the TOML file.

    Raises:
        BadRequest: the file cannot be read, or a key or a value of it cannot be used.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadRequest(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise BadRequest(f"{path}: not a TOML file: {error}") from None
    if unknown := sorted(table.keys() - _FIELDS):
        raise BadRequest(
            f"{path}: a camera has no {', '.join(unknown)}; it has {', '.join(sorted(_FIELDS))}"
        )
    try:
        return Camera(**{name: _value(name, value) for name, value in table.items()})
    except BadRequest as error:
        raise BadRequest(f"{path}: {error}") from None


def _value(name: str, value: object) -> Any:  # noqa: ANN401 - of the field's own type
    if name == "lens":
        try:
            return LensModel[str(value).upper()]
        except KeyError:
            known = ", ".join(model.name.lower() for model in LensModel)
            raise BadRequest(f"lens must be one of {known}, not {shown(value)}") from None
    if name == "distortion":
        if not isinstance(value, list) or not all(_is_number(each) for each in value):
            raise BadRequest(f"distortion must be a list of numbers, not {shown(value)}")
        return tuple(float(each) for each in value)
    if not _is_number(value) or (name in _WHOLE and not isinstance(value, int)):
        kind = "a whole number" if name in _WHOLE else "a number"
        raise BadRequest(f"{name} must be {kind}, not {shown(value)}")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
