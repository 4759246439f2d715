from __future__ import annotations

import pytest

from steerstream.__main__ import main


def test_a_simulator_must_be_named(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["bridge"])
    assert stop.value.code == 2
    assert "SIMULATOR" in capsys.readouterr().err


def test_the_help_names_the_simulators(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["bridge", "--help"])
    assert stop.value.code == 0
    assert "gymnasium" in capsys.readouterr().out
