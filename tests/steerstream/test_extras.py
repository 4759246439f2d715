"""What a command line says where a package that comes with an extra is not installed."""

from __future__ import annotations

import importlib
import sys

import pytest

from steerstream.extras import command_needs


def test_a_missing_package_is_one_line_and_exit_code_2(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(SystemExit) as exit_info, command_needs("drive", "'steerstream[sim]'"):
        importlib.import_module("cv2")
    assert exit_info.value.code == 2
    line = "drive: cv2 is not installed; pip install 'steerstream[sim]'\n"
    assert capsys.readouterr().err == line


def test_a_missing_module_of_a_package_that_is_there_shows_itself():
    with (
        pytest.raises(ModuleNotFoundError, match=r"steerstream\.gone"),
        command_needs("drive", "'steerstream[sim]'"),
    ):
        importlib.import_module("steerstream.gone")
