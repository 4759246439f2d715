"""NVIDIA Triton, from the wheel of pytriton: the server's binary with its Python backend.

The wheel holds the server and its backends, but no model repository and no stub for this Python:
both are laid out here by hand.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from benchmark.host.jobs import SOURCES
from benchmark.peers.peer import Launch

MODEL = "driver"
MAX_BATCH = 32

CONFIG = """\
name: "{name}"
backend: "python"
max_batch_size: {max_batch}
input [ {{ name: "IMAGE" data_type: TYPE_UINT8 dims: [ -1 ] allow_ragged_batch: true }} ]
output [ {{ name: "OUTPUTS" data_type: TYPE_FP32 dims: [ 3 ] }} ]
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
sequence_batching {{
  oldest {{ max_candidate_sequences: {slots} max_queue_delay_microseconds: 0 }}
}}
parameters {{ key: "bundle" value: {{ string_value: "{bundle}" }} }}
"""
"""The model's configuration.

Frames of one batch may differ in size (ragged). No frame waits for others: on a CPU a larger batch
gains nothing. Sequences idle for a second are reaped, which is Triton's default.
"""


MODEL_FILE = """\
import sys

sys.path[:0] = {paths}

from benchmark.peers.hosts.triton_model import TritonPythonModel
"""
"""The file that the backend imports. Its stub takes no notice of PYTHONPATH."""


def command(launch: Launch) -> list[str]:
    """Lay out model and backend, and return the server's command line."""
    wheel = _packages(launch.python) / "pytriton" / "tritonserver"
    _lay_out_model(launch)
    _lay_out_backend(wheel, launch.folder / "backends")
    return [
        str(wheel / "bin" / "tritonserver"),
        f"--model-repository={launch.folder / 'models'}",
        f"--backend-directory={launch.folder / 'backends'}",
        *("--grpc-address=127.0.0.1", f"--grpc-port={launch.port}"),
        *("--allow-http=false", "--allow-metrics=false", "--log-info=false"),
    ]


def _packages(python: Path) -> Path:
    return next(python.parent.parent.glob("lib/python3.*/site-packages"))


def _lay_out_model(launch: Launch) -> None:
    folder = launch.folder / "models" / MODEL
    (folder / "1").mkdir(parents=True)
    paths = [*SOURCES, str(_packages(launch.python))]
    (folder / "1" / "model.py").write_text(MODEL_FILE.format(paths=paths))
    config = CONFIG.format(
        name=MODEL, max_batch=MAX_BATCH, slots=launch.slots, bundle=launch.model.resolve()
    )
    (folder / "config.pbtxt").write_text(config)


def _lay_out_backend(wheel: Path, folder: Path) -> None:
    """Put the Python backend beside the stub that was built for this version of Python."""
    shutil.copytree(wheel / "backends", folder)
    stub = wheel / "python_backend_stubs" / sysconfig.get_python_version()
    shutil.copy(stub / "triton_python_backend_stub", folder / "python")


def variables(launch: Launch) -> Mapping[str, str]:
    """Return variables that let the stub find Python's library, and those of the wheel."""
    libraries = (
        sysconfig.get_config_var("LIBDIR"),
        str(_packages(launch.python) / "nvidia_pytriton.libs"),
    )
    return {"LD_LIBRARY_PATH": os.pathsep.join(libraries)}
