"""What a command line says where a package that comes with an extra is not installed."""

from __future__ import annotations

import importlib
import shlex
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from steerstream import extras
from steerstream.extras import command_needs, install_command

ROOT = Path(__file__).resolve().parents[2]


def test_a_missing_package_is_one_line_and_exit_code_2(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(SystemExit) as exit_info, command_needs("drive", "sim", "cpu"):
        importlib.import_module("cv2")
    assert exit_info.value.code == 2
    line = f"drive: cv2 is not installed; {install_command('sim')} or {install_command('cpu')}\n"
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
def test_an_installed_wheel_lists_what_the_extra_requires(monkeypatch, tmp_path, extra):
    monkeypatch.setattr(extras, "_CHECKOUT", tmp_path)
    declared = map(Requirement, metadata.requires("steerstream") or [])
    with_extra = {
        item.name for item in declared if item.marker and item.marker.evaluate({"extra": extra})
    }
    listed = {Requirement(argument).name for argument in shlex.split(install_command(extra))[2:]}
    assert listed == with_extra != set()


def test_two_extras_list_what_they_share_once(monkeypatch, tmp_path):
    monkeypatch.setattr(extras, "_CHECKOUT", tmp_path)
    listed = shlex.split(install_command("cpu,sim"))[2:]
    assert len(listed) == len(set(listed))
    assert {"uvloop", "gymnasium"} <= {Requirement(line).name for line in listed}
