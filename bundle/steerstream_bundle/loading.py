"""A bundle: one ONNX file whose metadata is its contract, checked against the file's graph."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from steerstream_bundle import onnx_file, providers
from steerstream_bundle.contract import METADATA_KEY, PRECISIONS, Contract, ContractError
from steerstream_bundle.errors import BundleError
from steerstream_bundle.providers import Provider
from steerstream_bundle.runtime import Array, Runtime, TensorInfo
from steerstream_bundle.times import feed_times

SHIPPED = Path(str(resources.files("steerstream_bundle"))) / "default.onnx"
"""The bundle that comes with this package."""

_LONGEST_MESSAGE = 500
_REDUCED = {f".{precision}" for precision in PRECISIONS if precision != "fp32"}
_FLOAT, _UINT8 = "tensor(float)", "tensor(uint8)"


class Bundle:
    """A network that can be served.

    Args:
        runtime: the graph.
        sha256: digest of the file, in hexadecimal.

    Attributes:
        contract: what the metadata says of the network.
        sha256: digest of the file, or of the FP32 bundle beside it that it was made from: the
            state of one can go on in the other.
        reason: why it was chosen among the ways to run this network, for people.

    Raises:
        BundleError: there is no contract, or the graph does not keep it.
    """

    def __init__(self, runtime: Runtime, sha256: str) -> None:
        self.runtime = runtime
        self.contract = _contract(runtime)
        self.sha256 = sha256
        self.reason = "nothing else to choose from"
        _check(self.contract, runtime)
        self._values = len(self.contract.values)
        self._state_inputs = tuple(pair.input for pair in self.contract.state)
        self._fetches = [value.name for value in self.contract.values]
        self._fetches += [pair.output for pair in self.contract.state]

    @property
    def precision(self) -> str:
        """What its weights are computed in: `f32`, `f16` or `int8`."""
        return self.contract.provenance.precision_setting

    def step(
        self,
        frames: Array,
        state: Sequence[Array],
        interval_s: Array | None = None,
        act_in_s: Array | None = None,
    ) -> tuple[Sequence[Array], Sequence[Array]]:
        """Run the network once.

        Args:
            frames: uint8 [N, height, width, 3], RGB.
            state: one float32 array [N, *shape] for each state tensor, in the contract's order.
            interval_s: float32 [N], seconds since the last frame that each state has seen, for a
                network that takes it; by default one period of the contract's rate.
            act_in_s: float32 [N], seconds from each frame's capture until its command acts, for a
                network that takes it; by default what the contract says.

        Returns:
            One float32 array [N, *shape] for each of `contract.values`, and the new state in the
            order of the old one.
        """
        contract = self.contract
        feed = dict(zip(self._state_inputs, state, strict=True))
        feed[contract.frame.tensor] = frames
        feed |= feed_times(contract, len(frames), interval_s=interval_s, act_in_s=act_in_s)
        results = self.runtime.run(self._fetches, feed)
        return results[: self._values], results[self._values :]


def load(path: Path, *, provider: Provider = providers.CPU, intra_op_threads: int = 1) -> Bundle:
    """Read one bundle.

    Args:
        path: the ONNX file.
        provider: what runs it.
        intra_op_threads: threads of one step on a CPU; 0 for one a core.

    Raises:
        BundleError: the file is missing, empty, no ONNX model, or breaks its contract. The message
            begins with the path.
    """
    try:
        data = onnx_file.read(path)
        onnx_file.check(data)
        runtime = Runtime(data, provider=provider, intra_op_threads=intra_op_threads)
        return Bundle(runtime, hashlib.sha256(data).hexdigest())
    except BundleError as error:
        raise BundleError(f"{path}: {_one_line(str(error))}") from None


def reduced_path(path: Path, precision: str) -> Path:
    """Return where the bundle of reduced precision lies that is made from an FP32 bundle."""
    return path.with_suffix(f".{precision}{path.suffix}")


def full_precision(folder: Path) -> list[Path]:
    """Return the bundles of a folder, sorted, without those that belong beside an FP32 bundle."""
    return sorted(
        path for path in folder.glob("*.onnx") if not _REDUCED.intersection(path.suffixes)
    )


def _one_line(text: str) -> str:
    """Return a text that may hold names from the file, without line breaks and not too long."""
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}..."


def _contract(runtime: Runtime) -> Contract:
    text = runtime.metadata.get(METADATA_KEY)
    if text is None:
        raise BundleError(
            f"no contract under {METADATA_KEY!r} in the metadata; "
            "write the file with `python -m model_export export`"
        )
    try:
        return Contract.from_json(text)
    except ContractError as error:
        raise BundleError(f"its contract is broken: {error}") from None


def _check(contract: Contract, runtime: Runtime) -> None:
    inputs = {info.name: info for info in runtime.inputs}
    outputs = {info.name: info for info in runtime.outputs}
    if extra := sorted(inputs.keys() - set(contract.input_tensors)):
        raise BundleError(f"the graph has an input {extra[0]!r} that its contract does not name")
    _check_tensor(inputs, "input", contract.frame.tensor, _UINT8, contract.frame.shape)
    for item in contract.time_inputs:
        _check_tensor(inputs, "input", item.tensor, _FLOAT, ())
    for pair in contract.state:
        _check_tensor(inputs, "input", pair.input, _FLOAT, pair.shape)
        _check_tensor(outputs, "output", pair.output, _FLOAT, pair.shape)
    for value in contract.values:
        _check_tensor(outputs, "output", value.name, _FLOAT, value.shape)


def _check_tensor(
    tensors: dict[str, TensorInfo], side: str, name: str, kind: str, shape: tuple[int, ...]
) -> None:
    info = tensors.get(name)
    if info is None:
        raise BundleError(f"the contract names an {side} {name!r} that the graph does not have")
    if info.type != kind:
        raise BundleError(f"{side} {name!r} is {info.type} in the graph, must be {kind}")
    if not _fits(info.shape, shape):
        found = ["N" if size is None else size for size in info.shape]
        raise BundleError(f"{side} {name!r} is {found} in the graph, must be {['N', *shape]}")


def _fits(found: tuple[int | None, ...], shape: tuple[int, ...]) -> bool:
    """Whether a graph's shape has a free batch and then these sizes, as far as it states them."""
    if len(found) != 1 + len(shape) or found[0] is not None:
        return False
    return all(have in (None, want) for have, want in zip(found[1:], shape, strict=True))
