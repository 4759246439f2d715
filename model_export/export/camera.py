"""Writes into bundles which camera they were trained with, and changes nothing else of them.

Bundles that were exported before contracts had a camera say nothing of it, and a server cannot map
other cameras to one that it does not know. A bundle's digest changes with its metadata: that of
what was made from it, and of results that were measured of it, follows.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from model_export.errors import BundleError
from model_export.export.onnx_graph import set_contract
from steerstream import whole_file
from steerstream_bundle.contract import (
    METADATA_KEY,
    PRECISIONS,
    Contract,
    ContractError,
    TrainedCamera,
)
from steerstream_bundle.loading import reduced_path


def set_camera(bundle: Path, camera: TrainedCamera) -> Iterator[tuple[Path, str, str]]:
    """Write a camera into an FP32 bundle, and into those of reduced precision beside it.

    Args:
        bundle: the ONNX file.
        camera: of the pictures that it was trained with.

    Yields:
        Each file that was changed, its digest before, and its digest now.

    Raises:
        BundleError: the file is no bundle, or is one of reduced precision.
    """
    _, precision = _read(bundle)
    if precision != "fp32":
        raise BundleError(f"{bundle}: is of reduced precision; give the FP32 bundle beside it")
    before, now = _rewrite(bundle, camera)
    yield bundle, before, now
    for other in PRECISIONS:
        path = reduced_path(bundle, other)
        if other != "fp32" and path.exists():
            yield path, *_rewrite(path, camera, reduced_from=(before, now))


def follow(folder: Path, digests: Sequence[tuple[str, str]]) -> list[Path]:
    """Write new digests of bundles into the results that were measured of them.

    Args:
        folder: of the results, JSON files.
        digests: of each bundle, before and now.

    Returns:
        The files that were changed.
    """
    changed = []
    for path in sorted(folder.glob("*.json")):
        text = new = path.read_text(encoding="utf-8")
        for before, now in digests:
            new = new.replace(before, now)
        if new != text:
            whole_file.write_bytes(path, new.encode())
            changed.append(path)
    return changed


def _rewrite(
    path: Path, camera: TrainedCamera, reduced_from: tuple[str, str] = ("", "")
) -> tuple[str, str]:
    """Write a bundle again; return its digest before and now."""
    contract, _ = _read(path)
    provenance = contract.provenance
    before, now = reduced_from
    if provenance.reduced_from == before:
        provenance = dataclasses.replace(provenance, reduced_from=now)
    data = path.read_bytes()
    model = onnx.load_from_string(data)
    set_contract(model, dataclasses.replace(contract, camera=camera, provenance=provenance))
    whole_file.write_bytes(path, model.SerializeToString())
    return hashlib.sha256(data).hexdigest(), hashlib.sha256(path.read_bytes()).hexdigest()


def _read(path: Path) -> tuple[Contract, str]:
    try:
        model = onnx.load(path)
        texts = {item.key: item.value for item in model.metadata_props}
        contract = Contract.from_json(texts[METADATA_KEY])
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from None
    except (KeyError, ContractError, DecodeError) as error:
        raise BundleError(f"{path}: not a bundle: {error}") from None
    return contract, contract.provenance.precision
