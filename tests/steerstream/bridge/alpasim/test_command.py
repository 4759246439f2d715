from __future__ import annotations

import importlib.util

import pytest

from tests.steerstream.command_lines import command_line


@pytest.mark.skipif(
    importlib.util.find_spec("carla_driver_interface") is not None, reason="it is installed"
)
def test_the_missing_package_is_one_line_that_says_what_to_install(capsys):
    with command_line() as run, pytest.raises(SystemExit) as stop:
        run("bridge", "alpasim")
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("steerstream bridge alpasim: carla_driver_interface is not installed;")
    assert "[alpasim]" in error
