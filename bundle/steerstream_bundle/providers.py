"""The execution providers of ONNX Runtime that the server knows, and how it chooses one.

Each comes with one flavour of ONNX Runtime, an extra of this project. An environment can hold only
one flavour, so the installation already makes a choice, which `auto` follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import onnxruntime

from steerstream_bundle import cudart
from steerstream_bundle.errors import ProviderError

AUTO = "auto"


def _nothing_missing() -> str | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One way to run a network.

    Attributes:
        name: what the setting `provider` calls it.
        ort_name: what ONNX Runtime calls it.
        package: the requirement that installs it.
        on_cpu: whether a step takes the CPU's own time.
        pads_batches: whether a batch is filled up to its bucket. With a fixed set of shapes,
            kernels are chosen and graphs captured at warm-up; on a CPU a padded row costs as much
            as a real one.
        pool_on_device: whether the recurrent state lives in the provider's memory.
        options: ONNX Runtime's options for it.
        thread_option: name of the option that bounds its threads, where it has its own.
        compiles_shapes: whether the first run of each shape takes several times as long.
        missing: returns why it cannot run on this machine, or None.
    """

    name: str
    ort_name: str
    package: str
    on_cpu: bool = False
    pads_batches: bool = False
    pool_on_device: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    thread_option: str | None = None
    compiles_shapes: bool = False
    missing: Callable[[], str | None] = _nothing_missing


_CUDA_OPTIONS = {
    # The same kernels at every start, so that replicas agree to the last bits.
    "cudnn_conv_algo_search": "HEURISTIC",
    # TF32 has 10 bits of mantissa: outputs would leave the tolerance that bundles are verified to.
    "use_tf32": "0",
}

CUDA = Provider(
    name="cuda",
    ort_name="CUDAExecutionProvider",
    package="onnxruntime-gpu[cuda,cudnn]",
    pads_batches=True,
    pool_on_device=True,
    options=_CUDA_OPTIONS,
    missing=cudart.missing,
)
OPENVINO = Provider(
    name="openvino",
    ort_name="OpenVINOExecutionProvider",
    package="onnxruntime-openvino",
    on_cpu=True,
    # Left to itself it computes in bfloat16 where the CPU has units for that: within 4e-4 of f32,
    # which is outside the tolerance that bundles are verified to.
    options={"device_type": "CPU", "precision": "FP32"},
    thread_option="num_of_threads",
    compiles_shapes=True,
)
CPU = Provider(name="cpu", ort_name="CPUExecutionProvider", package="onnxruntime", on_cpu=True)
TENSORRT = Provider(
    name="tensorrt",
    ort_name="TensorrtExecutionProvider",
    package="onnxruntime-gpu[cuda,cudnn]",
    pads_batches=True,
    missing=cudart.missing,
)

PREFERENCE = (CUDA, OPENVINO, CPU)
"""The choices of `auto`, best first; without TensorRT, which builds for minutes at each start."""
PROVIDERS = {provider.name: provider for provider in (*PREFERENCE, TENSORRT)}


def candidates(wanted: str = AUTO) -> tuple[Provider, ...]:
    """Return what may run networks here: what is asked for, or a GPU, or all that run on the CPU.

    Args:
        wanted: a name in `PROVIDERS`, or `auto`.

    Raises:
        ProviderError: it is unknown, not installed, or its device is missing; the message says what
            to do.
    """
    if wanted == AUTO:
        usable = [provider for provider in PREFERENCE if _reason_against(provider) is None]
        return tuple(item for item in usable if item.on_cpu == usable[0].on_cpu)
    provider = PROVIDERS.get(wanted)
    if provider is None:
        raise ProviderError(f"no provider {wanted!r}; choose {AUTO} or one of {sorted(PROVIDERS)}")
    if reason := _reason_against(provider):
        raise ProviderError(f"provider {wanted!r} cannot be used: {reason}")
    return (provider,)


def choose(wanted: str = AUTO) -> Provider:
    """Return the first of `candidates`."""
    return candidates(wanted)[0]


def _reason_against(provider: Provider) -> str | None:
    installed = onnxruntime.get_available_providers()
    if provider.ort_name not in installed:
        return (
            f"it is not installed; remove the installed flavour of ONNX Runtime, then "
            f"pip install '{provider.package}'"
        )
    return provider.missing()
