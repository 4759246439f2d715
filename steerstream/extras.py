"""OpenCV, for the parts of this package that need it: it comes with an extra."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from steerstream.errors import MissingExtra


def has_opencv() -> bool:
    """Return whether OpenCV is installed."""
    return importlib.util.find_spec("cv2") is not None


def opencv(purpose: str) -> Any:  # noqa: ANN401
    """Import OpenCV.

    Args:
        purpose: what it is needed for, for the error's text.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise MissingExtra(
            f"{purpose} needs OpenCV; install it with: pip install 'steerstream[sim]'"
        ) from error
