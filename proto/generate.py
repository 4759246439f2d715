"""Generate the Python stubs of the wire contract in `steerstream/v1`: `python proto/generate.py`.

With `--check` it writes nothing and fails where the stubs there differ from what `proto/` says.
The `.pyi` files come from mypy-protobuf, which types maps and repeated fields fully.
"""

from __future__ import annotations

import filecmp
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
STUBS = Path("steerstream") / "v1"
MESSAGES = (
    "command",
    "drive_service",
    "frame",
    "model",
    "models_service",
    "recording",
    "session",
    "watch",
)
SERVICES = ("drive_service", "models_service", "watch")


def main() -> int:
    """Generate or check; return the exit code."""
    if sys.argv[1:] not in ([], ["--check"]):
        print("generate.py: takes no option but --check", file=sys.stderr)
        return 2
    if not sys.argv[1:]:
        generate(ROOT)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        stale = stale_stubs(Path(folder))
    if stale:
        names = ", ".join(stale)
        print(f"stubs out of step with proto/ ({names}): run `make proto`", file=sys.stderr)
        return 1
    print("stubs are in step with proto/")
    return 0


def generate(out: Path) -> None:
    """Write all stubs to `steerstream/v1` below a folder."""
    _protoc(out, MESSAGES, "python", "mypy")
    _protoc(out, SERVICES, "grpc_python", "mypy_grpc")


def stale_stubs(fresh: Path) -> list[str]:
    """Return the names of committed stubs that differ, are missing, or have no source any more."""
    committed = {path.name for path in (ROOT / STUBS).glob("*_pb2*.py*")}
    generated = {path.name for path in (fresh / STUBS).glob("*_pb2*.py*")}
    _, differing, broken = filecmp.cmpfiles(
        ROOT / STUBS, fresh / STUBS, sorted(committed & generated), shallow=False
    )
    return sorted([*differing, *broken, *(committed ^ generated)])


def _protoc(out: Path, names: tuple[str, ...], *plugins: str) -> None:
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={HERE}"]
    command += [f"--{plugin}_out={out}" for plugin in plugins]
    command += [f"steerstream/v1/{name}.proto" for name in names]
    subprocess.run(  # noqa: S603 - our own arguments
        command, check=True, stderr=subprocess.DEVNULL, cwd=HERE, env={**os.environ, "PATH": search}
    )


if __name__ == "__main__":
    sys.exit(main())
