from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmark.errors import BenchmarkError
from benchmark.peers import environments, registry

LISTS = (
    "client",
    "openpi",
    "ray",
    "steerstream-openvino",
    "threads-torch",
    "triton",
    "triton-openvino",
)


@pytest.mark.parametrize("name", LISTS)
def test_every_package_of_every_environment_is_pinned(name: str) -> None:
    lines = environments.requirements(name).splitlines()
    packages = [line for line in lines if not line.startswith("#")]
    assert packages
    for line in packages:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+]+", line), line


def test_every_peer_has_a_list_or_runs_here() -> None:
    asked_for = {peer.requirements for peer in registry.PEERS.values() if peer.requirements}
    assert asked_for | {"client"} == set(LISTS)


def test_an_earlier_revision_is_checked_out_once(tmp_path: Path) -> None:
    folder = environments.check_out("HEAD", tmp_path)
    assert (folder / "CONTEXT.md").is_file()
    (folder / "CONTEXT.md").unlink()
    assert environments.check_out("HEAD", tmp_path) == folder
    assert not (folder / "CONTEXT.md").exists()
    with pytest.raises(BenchmarkError, match="no revision 'unheard-of'"):
        environments.check_out("unheard-of", tmp_path)
