from __future__ import annotations

import importlib.util

import pytest

from steerstream.__main__ import main
from tests.steerstream.command_lines import command_line

needs_no_metadrive = pytest.mark.skipif(
    importlib.util.find_spec("metadrive") is not None, reason="it is installed"
)


@needs_no_metadrive
def test_the_missing_simulator_is_one_line_that_says_what_to_install(tmp_path, capsys):
    with command_line() as run:
        assert run("bridge", "metadrive", "drive") == 2
    assert "pip install --no-deps -r simulation/metadrive.txt" in capsys.readouterr().err
    assert main(["bridge", "metadrive", "record", str(tmp_path / "out")]) == 2
    assert "MetaDrive is not installed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("maps", ["5..3", "a", "1..b", "..", "-1"])
def test_maps_are_seeds_from_the_first_to_the_last(maps, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["bridge", "metadrive", "record", "out", f"--maps={maps}"])
    assert stop.value.code == 2
    assert "--maps" in capsys.readouterr().err
