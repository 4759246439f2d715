"""Generate the Python stubs of the wire contract: `python proto/generate.py OUT`.

The `.pyi` files come from mypy-protobuf, which types maps and repeated fields fully.
Files go to `OUT/steerstream/v1`. `make check` runs this into a temporary folder and compares.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
MESSAGES = ("command", "drive_service", "frame", "model", "session")
SERVICES = ("drive_service",)


def protoc(out: Path, names: tuple[str, ...], *plugins: str) -> None:
    """Run protoc over the named files; it raises CalledProcessError where it fails."""
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={ROOT}"]
    command += [f"--{plugin}_out={out}" for plugin in plugins]
    command += [f"steerstream/v1/{name}.proto" for name in names]
    subprocess.run(  # noqa: S603 - our own arguments
        command, check=True, stderr=subprocess.DEVNULL, cwd=ROOT, env={**os.environ, "PATH": search}
    )


def main() -> None:
    """Generate all stubs below the folder named on the command line."""
    out = Path(sys.argv[1]).resolve()
    protoc(out, MESSAGES, "python", "mypy")
    protoc(out, SERVICES, "grpc_python", "mypy_grpc")


if __name__ == "__main__":
    main()
