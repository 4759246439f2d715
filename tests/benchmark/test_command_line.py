from __future__ import annotations

import json

import pytest

from benchmark.__main__ import COMMANDS, main


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_shows_no_default_that_says_nothing(name, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for empty in ("None", "", "False"):
        assert f"(default: {empty})" not in text


def test_the_help_shows_each_default_once(capsys):
    with pytest.raises(SystemExit):
        main(["decode", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "(default: 7)" in text
    assert (
        text.count("--data DATA folder with the driving data (default: STEERSTREAM_DATA, then") == 1
    )
    assert "data) (default:" not in text


def test_a_result_keeps_a_command_that_anybody_can_repeat(bundle_path, tmp_path):
    result = tmp_path / "result.json"
    options = ["--model", str(bundle_path), "--sessions", "1", "--seconds", "0.2"]
    assert main(["latency", *options, "--encoding", "rgb8", f"--json={result}"]) == 0
    command = json.loads(result.read_text())["command"]
    assert command.startswith("python -m benchmark latency --model")
    assert command.endswith("--seconds 0.2 --encoding rgb8")
