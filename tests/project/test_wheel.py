"""The wheel, installed outside of the checkout beside nothing but what it requires."""

from __future__ import annotations

import importlib.metadata
import json
import signal
import subprocess
import zipfile

import cv2
import numpy as np
import pytest

from tests.project.wheel import ROOT, Environment, build, copy_tracked_files, environment_variables

NAMES = {"steerstream", "steerstream_bundle", "steerstream_service", "steerstream_simulation"}
BUNDLES = {
    f"steerstream_bundle/default{ending}": (ROOT / "models" / f"pilotnet_lstm{ending}").read_bytes()
    for ending in (".onnx", ".int8.onnx")
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return copy_tracked_files(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def client_alone(wheel, tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("client"), wheel)


@pytest.fixture(scope="module")
def with_cpu(wheel, tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("cpu"), wheel, extras=["cpu"])


@pytest.fixture
def server(with_cpu, tmp_path):
    """The address of a server that was told nothing but where to listen."""
    command = with_cpu.command("serve", "--listen", "127.0.0.1:0", "--port-file", "address")
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment_variables(), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            for line in process.stderr:
                if json.loads(line)["event"] == "serving":
                    break
            yield (tmp_path / "address").read_text().strip()
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        assert process.returncode == 0


def test_the_wheel_has_no_name_that_another_project_could_have(wheel):
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    version = importlib.metadata.version("steerstream")
    assert tops == {*NAMES, f"steerstream-{version}.dist-info"}


def test_the_wheel_holds_every_module_of_its_packages(wheel):
    folders = {name: ROOT / name for name in ("bundle", "service", "simulation", "steerstream")}
    tracked = {
        path.relative_to(ROOT if name == "steerstream" else folder).as_posix()
        for name, folder in folders.items()
        for path in folder.rglob("*.py")
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.endswith(".py")}
    assert packed == tracked


def test_the_wheel_holds_the_files_of_the_live_page(wheel):
    tracked = (ROOT / "steerstream/watch/static").iterdir()
    wanted = {f"steerstream/watch/static/{path.name}": path.read_bytes() for path in tracked}
    with zipfile.ZipFile(wheel) as archive:
        assert {name: archive.read(name) for name in wanted} == wanted
    assert len(wanted) == 3


def test_the_wheel_holds_the_default_bundles_themselves(wheel):
    with zipfile.ZipFile(wheel) as archive:
        assert {name: archive.read(name) for name in BUNDLES} == BUNDLES


def test_a_wheel_built_from_the_source_distribution_is_the_same(source, wheel, tmp_path):
    sdist = build("sdist", source, tmp_path)
    subprocess.run(["tar", "-xzf", sdist, "-C", tmp_path], check=True)
    again = build("wheel", tmp_path / sdist.name.removesuffix(".tar.gz"), tmp_path)
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert set(second.namelist()) == set(first.namelist())
        assert {name: second.read(name) for name in BUNDLES} == BUNDLES


def test_the_client_alone_is_grpc_protobuf_and_numpy(client_alone, tmp_path):
    info = [path.name for path in client_alone.site_packages.glob("*.dist-info")]
    installed = {name.partition("-")[0] for name in info}
    assert installed == {"steerstream", "grpcio", "protobuf", "numpy", "typing_extensions"}
    result = client_alone.run("--version", cwd=tmp_path)
    version = importlib.metadata.version("steerstream")
    assert (result.returncode, result.stdout) == (0, f"steerstream {version}\n")


def test_the_help_names_the_commands_of_a_checkout_alone(client_alone, tmp_path):
    text = " ".join(client_alone.run("--help", cwd=tmp_path).stdout.split())
    assert "python -m model_export" in text
    assert "python -m benchmark" in text
    assert "commands of a checkout only" in text


@pytest.mark.parametrize(
    ("command", "lacks", "extras"),
    [
        ("serve --model models", "serve: onnxruntime", ["cpu", "gpu"]),
        ("simulate sheet --save roads.png", "simulate: cv2", ["sim"]),
        ("watch --target localhost:1", "watch: aiohttp", ["watch"]),
    ],
)
def test_the_client_alone_says_what_a_command_needs(client_alone, wheel, command, lacks, extras):
    result = client_alone.run(*command.split(), cwd=client_alone.folder)
    assert result.returncode == 2
    origins = [f"'steerstream[{extra}] @ {wheel.as_uri()}'" for extra in extras]
    hint = " or ".join(f"pip install {origin}" for origin in origins)
    assert result.stderr == f"steerstream {lacks} is not installed; install it with: {hint}\n"


def test_the_wheel_serves_its_own_bundle_and_drives_a_folder(with_cpu, server, tmp_path):
    (tmp_path / "pictures").mkdir()
    for index in range(10):
        picture = np.full((240, 320, 3), 20 * index, np.uint8)
        assert cv2.imwrite(str(tmp_path / "pictures" / f"{index}.jpg"), picture)
    result = with_cpu.run(
        "drive", "--source", "pictures", "--target", server, "--as-fast-as-possible",
        "--json", "drive.json", "--save", "drive.mp4", cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / "drive.json").read_text())
    assert figures["model"] == "pilotnet_lstm"
    assert figures["frames"] == figures["commands"] == 10
    assert cv2.VideoCapture(str(tmp_path / "drive.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 10


def test_the_wheel_drives_in_its_own_world(with_cpu, server, tmp_path):
    result = with_cpu.run(
        "simulate", "drive", "--target", server, "--seconds", "1", "--json", "a.json", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "a.json").read_text())["commands"] == 20


def test_a_picture_of_a_drive_needs_another_extra(with_cpu, tmp_path):
    """Found out before the drive: there is no server at this address."""
    result = with_cpu.run(
        "simulate", "drive", "--target", "localhost:1", "--plot", "a.png", cwd=tmp_path
    )
    assert result.returncode == 2
    assert result.stderr.startswith(
        "steerstream simulate: matplotlib is not installed; install it with: pip "
    )
