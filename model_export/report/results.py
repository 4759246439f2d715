"""Files of results: one for each measurement of each bundle, with the machine it ran on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model_export.errors import BundleError, ReportError
from reports import machine
from steerstream import whole_file

FOLDER = Path("model_export/results")
ACCURACY, SPEED, CLOSED_LOOP, OPTIMIZED = "accuracy", "speed", "autonomy", "optimized"
VIEW, RECORDED, METRES, LENSES = "view", "pictures", "metres", "lenses"
"""The measurements, by the name in their file's `benchmark`."""

Result = Mapping[str, Any]


def digest(bundle: Path) -> str:
    """Return the digest of a bundle's bytes: a figure holds for these and no other.

    Raises:
        BundleError: the file cannot be read.
    """
    try:
        return machine.digest(bundle)
    except OSError as error:
        raise BundleError(f"{bundle}: {error.strerror}") from None


def path_of(kind: str, bundle: Path) -> Path:
    """Return where the results of a bundle lie below the checkout."""
    return FOLDER / f"{kind}-{bundle.stem}.json"


def write(path: Path, kind: str, measured: str, command: str, results: object) -> None:
    """Write what was measured of a bundle.

    Args:
        path: the file.
        kind: what was measured.
        measured: digest of the bundle, from before: it might be another file by now.
        command: the command line, as anybody can repeat it.
        results: ready for JSON.
    """
    content = {
        "benchmark": kind,
        "command": command,
        "bundle_sha256": measured,
        "machine": machine.describe(),
        "results": results,
    }
    whole_file.write_json(path, content)


def load(root: Path, kind: str, bundles: Sequence[Path]) -> dict[str, Result]:
    """Read the results of one kind, by bundle; a bundle that was not measured is left out.

    Args:
        root: the checkout.
        kind: what was measured.
        bundles: ONNX files.

    Raises:
        ReportError: a file is no result, or is of a bundle with other bytes.
    """
    found = {}
    for bundle in bundles:
        path = root / path_of(kind, bundle)
        if path.exists():
            found[bundle.stem] = _read(path, bundle)
    return found


def _read(path: Path, bundle: Path) -> Result:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        measured = result["bundle_sha256"]
    except (ValueError, KeyError, TypeError):
        raise ReportError(f"{path}: not a result; measure again") from None
    if measured != digest(bundle):
        raise ReportError(f"{path}: was measured of another {bundle.name}; measure again")
    return dict(result)
