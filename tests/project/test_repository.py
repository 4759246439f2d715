"""Promises of the repository as a whole that no single module can keep."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
MAX_BUNDLE_BYTES, MAX_BUNDLES_BYTES = 16_000_000, 40_000_000


def tracked_files() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return [ROOT / name for name in listing.split("\0") if name]


def read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="ignore")


def pins() -> dict[str, Version]:
    lines = read_text(ROOT / "constraints.txt").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {name.lower().replace("_", "-"): Version(version) for name, version in pairs}


def requirements() -> list[Requirement]:
    project = tomllib.loads(read_text(ROOT / "pyproject.toml"))["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    return [Requirement(line) for line in [*project["dependencies"], *extras]]


def test_every_requirement_is_pinned_to_a_version_that_it_allows() -> None:
    chosen_elsewhere = {"onnxruntime-gpu", "onnxruntime-openvino"}
    for requirement in requirements():
        if requirement.name not in chosen_elsewhere:
            pinned = pins().get(requirement.name)
            assert pinned is not None, f"{requirement.name} is not in constraints.txt"
            assert pinned in requirement.specifier


def test_stubs_are_generated_with_the_oldest_supported_grpc() -> None:
    oldest = {item.name: item.specifier for item in requirements()}
    assert str(oldest["grpcio-tools"]) == "==" + str(oldest["grpcio"]).removeprefix(">=")


def test_the_oldest_protobuf_loads_the_stubs() -> None:
    """A runtime older than the generator, even by a patch release, refuses to import them."""
    (protobuf,) = (item for item in requirements() if item.name == "protobuf")
    for stub in sorted((ROOT / "steerstream" / "v1").glob("*_pb2.py")):
        generator = re.search(r"^# Protobuf Python Version: (\S+)", read_text(stub), re.MULTILINE)
        assert generator is not None
        assert str(protobuf.specifier) == f">={generator[1]}"


def test_links_in_documents_lead_somewhere() -> None:
    documents = [path for path in tracked_files() if path.suffix == ".md"]
    assert documents
    for document in documents:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", read_text(document)):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    named = set(re.findall(r"\bmake ([a-z-]+)", read_text(ROOT / "README.md")))
    targets = set(re.findall(r"^([a-z-]+):", read_text(ROOT / "Makefile"), flags=re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


def test_no_driving_data_is_committed(data_dir: Path) -> None:
    theirs = {path.name for path in data_dir.rglob("*") if path.suffix in {".jpg", ".csv"}}
    ours = {path.name for path in tracked_files()}
    assert not theirs & ours


def test_bundles_stay_small() -> None:
    sizes = [path.stat().st_size for path in tracked_files() if path.suffix == ".onnx"]
    assert 0 < max(sizes) <= MAX_BUNDLE_BYTES
    assert sum(sizes) <= MAX_BUNDLES_BYTES


def test_the_client_needs_no_extra() -> None:
    """What `pip install .` brings is enough to import the client."""
    needed = importlib.metadata.requires("steerstream") or []
    base = {Requirement(line).name for line in needed if "extra ==" not in line}
    assert base == {"grpcio", "protobuf", "numpy"}


@pytest.mark.parametrize("name", ["demo", "test", "test-newest", "check", "bench", "proto", "help"])
def test_make_lists_its_targets(name: str) -> None:
    listing = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert f"make {name} " in listing
