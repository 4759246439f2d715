"""What a command line says where a package that comes with an extra is not installed."""

from __future__ import annotations

import importlib
import json
import shlex
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from steerstream import extras
from steerstream.errors import MissingExtra
from steerstream.extras import command_needs, install_command, opencv, package, server_extras

ROOT = Path(__file__).resolve().parents[2]
WHEEL = "https://example.org/steerstream-0.1.0-py3-none-any.whl"


@pytest.fixture
def site_packages(monkeypatch, tmp_path):
    """A folder of packages that is searched first, and no checkout around the code."""
    monkeypatch.setattr(extras, "_CHECKOUT", tmp_path / "no checkout")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def _metadata(name):
    """The text of a package's metadata, in a file of another name in the root of a checkout."""
    found = metadata.distribution(name)
    return found.read_text("METADATA") or found.read_text("PKG-INFO")


def install(site_packages, name="steerstream", origin=None):
    text = f"Metadata-Version: 2.4\nName: {name}\nVersion: 0.1.0\n"
    if name == "steerstream":
        text = _metadata(name)
    info = site_packages / f"{name}-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(text)
    if origin is not None:
        (info / "direct_url.json").write_text(json.dumps(origin))
    importlib.invalidate_caches()


def test_a_missing_package_is_one_line_and_exit_code_2(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(SystemExit) as exit_info, command_needs("drive", "sim", "cpu"):
        importlib.import_module("cv2")
    assert exit_info.value.code == 2
    commands = f"{install_command('sim')} or {install_command('cpu')}"
    line = f"drive: cv2 is not installed; install it with: {commands}\n"
    assert capsys.readouterr().err == line


def test_a_missing_module_of_an_installed_package_shows_itself():
    with (
        pytest.raises(ModuleNotFoundError, match=r"steerstream\.gone"),
        command_needs("drive", "sim"),
    ):
        importlib.import_module("steerstream.gone")


def test_a_checkout_is_installed_again_from_its_path():
    assert shlex.split(install_command("cpu,sim"))[2:] == ["-e", f"{ROOT}[cpu,sim]"]


@pytest.mark.parametrize("extra", ["cpu", "gpu", "openvino", "metrics", "otel", "sim", "train"])
def test_a_wheel_of_a_registry_lists_what_the_extra_requires(site_packages, extra):
    install(site_packages)
    declared = map(Requirement, metadata.requires("steerstream") or [])
    with_extra = {
        item.name for item in declared if item.marker and item.marker.evaluate({"extra": extra})
    }
    listed = {Requirement(argument).name for argument in shlex.split(install_command(extra))[2:]}
    assert listed == with_extra != set()


def test_two_extras_list_what_they_share_once(site_packages):
    install(site_packages)
    listed = shlex.split(install_command("cpu,sim"))[2:]
    assert len(listed) == len(set(listed))
    assert {"uvloop", "gymnasium"} <= {Requirement(line).name for line in listed}


@pytest.mark.parametrize(
    ("origin", "url"),
    [
        ({"url": WHEEL, "archive_info": {}}, WHEEL),
        (
            {
                "url": "https://example.org/steerstream.git",
                "vcs_info": {"vcs": "git", "requested_revision": "v1", "commit_id": "c0ffee"},
            },
            "git+https://example.org/steerstream.git@c0ffee",
        ),
        (
            {"url": "https://example.org/all.zip", "archive_info": {}, "subdirectory": "drive"},
            "https://example.org/all.zip#subdirectory=drive",
        ),
    ],
)
def test_a_wheel_of_an_address_is_installed_again_from_there(site_packages, origin, url):
    install(site_packages, origin=origin)
    expected = ["pip", "install", f"steerstream[cpu,sim] @ {url}"]
    assert shlex.split(install_command("cpu,sim")) == expected


def test_a_wheel_of_a_file_is_installed_again_from_there_while_it_is_there(site_packages):
    file = site_packages / "a wheel.whl"
    file.touch()
    install(site_packages, origin={"url": file.as_uri(), "archive_info": {}})
    assert install_command("cpu") == f"pip install 'steerstream[cpu] @ {file.as_uri()}'"
    file.unlink()
    assert "onnxruntime>=" in install_command("cpu")


def test_the_hint_for_opencv_names_opencv_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtra) as caught:
        opencv("writing a video")
    message, _, command = str(caught.value).partition("; install it with: ")
    assert message == "writing a video needs OpenCV"
    *start, requirement = shlex.split(command)
    assert start == ["pip", "install"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert requirement in project["optional-dependencies"]["sim"]


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        ([], ("cpu", "gpu")),
        (["onnxruntime"], ("cpu",)),
        (["onnxruntime_gpu"], ("gpu",)),
        (["onnxruntime_openvino"], ("openvino",)),
    ],
)
def test_a_server_needs_the_flavour_of_onnx_runtime_that_is_installed(
    monkeypatch, tmp_path, installed, expected
):
    for name in installed:
        install(tmp_path, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert server_extras() == expected


def test_a_package_of_an_extra_is_imported_or_the_extra_is_named():
    assert package("json.decoder", extra="mcap", purpose="a test").JSONDecoder
    with pytest.raises(
        MissingExtra, match=r"reading needs nosuch; install it with: pip install -e .*\[mcap\]"
    ):
        package("nosuch.reader", extra="mcap", purpose="reading")
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'json\.nosuch'"):
        package("json.nosuch", extra="mcap", purpose="reading")
