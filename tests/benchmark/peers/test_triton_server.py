from __future__ import annotations

import sys
from pathlib import Path

from benchmark.peers import triton_server
from benchmark.peers.peer import Launch


def test_triton_gets_as_many_candidates_as_there_are_slots(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    wheel = packages / "pytriton" / "tritonserver"
    stub = wheel / "python_backend_stubs" / f"{sys.version_info[0]}.{sys.version_info[1]}"
    for folder in (wheel / "backends" / "python", stub):
        folder.mkdir(parents=True)
    (stub / "triton_python_backend_stub").write_text("stub")
    launch = Launch(
        python=tmp_path / "bin" / "python",
        model=Path("bundle.onnx"),
        port=1,
        slots=32,
        folder=tmp_path / "run",
        admits_all=True,
    )
    triton_server.command(launch)
    config = (launch.folder / "models" / "driver" / "config.pbtxt").read_text()
    assert "max_candidate_sequences: 32" in config
    assert (launch.folder / "backends" / "python" / "triton_python_backend_stub").exists()
    model = (launch.folder / "models" / "driver" / "1" / "model.py").read_text()
    assert "/bundle'" in model.splitlines()[2]
