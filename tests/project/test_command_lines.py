"""Every command line, in an environment without its extra and in a broken checkout."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest
from packaging.requirements import Requirement

import benchmark.__main__
from steerstream.extras import server_extras
from steerstream_bundle import providers
from steerstream_service.process import command as serve
from tests.project.test_repository import tracked_files
from tests.project.test_structure import PACKAGES

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WITHOUT = """
import runpy, sys
missing, command, *sys.argv[1:] = sys.argv[1:]
sys.modules.update(dict.fromkeys(missing.split(",")))
runpy.run_module(command, run_name="__main__", alter_sys=True)
"""
OPTIONAL = "cv2,grpc_health,gymnasium,matplotlib,onnx,onnxruntime,torch"


def run_without(missing, command, *arguments):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, missing, command, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("extras", "name", "command"),
    [
        (server_extras(), "serve", ["steerstream_service", "--model", "models"]),
        (
            ["sim"],
            "simulate",
            ["steerstream", "simulate", "sheet", "--save", "none.png"],
        ),
        ([f"{extra},sim" for extra in server_extras()], "benchmark", ["benchmark", "latency"]),
        (
            ["train"],
            "model_export",
            ["model_export", "train", "--config", "none", "--out", "none"],
        ),
    ],
)
def test_a_missing_extra_is_named_in_one_line_with_the_command_to_install_it(extras, name, command):
    result = run_without(OPTIONAL, *command)
    assert result.returncode == 2
    assert result.stderr.startswith((f"{name}: ", f"steerstream {name}: "))
    hint = " or ".join(f"pip install -e '{ROOT}[{extra}]'" for extra in extras)
    assert result.stderr.endswith(f" is not installed; install it with: {hint}\n")
    assert result.stderr.count("\n") == 1
    assert set(",".join(extras).split(",")) <= PROJECT["optional-dependencies"].keys()


def test_a_bundle_is_evaluated_without_torch(tmp_path):
    cv2.imwrite(str(tmp_path / "0.jpg"), np.full((480, 640, 3), 90, np.uint8))
    labels = tmp_path / "labels.csv"
    labels.write_text("frame_id,filename,steering_angle_rad\n1000000000,0.jpg,0.1\n")
    bundle = "models/pilotnet_lstm.onnx"
    result = run_without("torch", "model_export", "evaluate", bundle, "--labels", str(labels))
    assert result.returncode == 0, result.stderr
    assert "steering_wheel_angle" in result.stdout


def test_a_module_of_ours_that_is_missing_shows_itself():
    result = run_without(
        "steerstream_service.process.server", "steerstream_service", "--model", "models"
    )
    assert result.returncode == 1
    assert "ModuleNotFoundError" in result.stderr
    assert "steerstream_service.process.server" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["steerstream"],
        *(["steerstream", name] for name in ("drive", "models", "simulate", "serve")),
        *(["steerstream", "simulate", name] for name in ("drive", "render", "sheet")),
        *(["model_export", name] for name in ("train", "export", "verify", "evaluate", "health")),
        *(["benchmark", name] for name in ("latency", "soak", "peers", "report")),
    ],
    ids=" ".join,
)
def test_no_option_can_be_abbreviated(command, monkeypatch, capsys):
    monkeypatch.setattr("os.execv", lambda _, arguments: serve.main(arguments[3:]))
    main = importlib.import_module(f"{command[0]}.__main__").main
    with pytest.raises(SystemExit) as stop:
        main([*command[1:], "--hel"])
    assert stop.value.code == 2
    assert not capsys.readouterr().out


def test_no_parser_allows_abbreviations():
    """Every parser is the shared one, or, in a peer's own environment, one set up like it."""
    calls = [
        ast.unparse(node)
        for path in tracked_files()
        if path.suffix == ".py" and "tests" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("ArgumentParser")
    ]
    assert calls
    assert [call for call in calls if "allow_abbrev=False" not in call] == []


WRITES_FILES = [
    *(["steerstream", "drive", option] for option in ("--save", "--json")),
    *(["steerstream", "simulate", "drive", option] for option in ("--save", "--json", "--plot")),
    *(["steerstream", "simulate", name, "--save"] for name in ("render", "sheet")),
    *(["model_export", "evaluate", option] for option in ("--json", "--plot")),
    *(["model_export", "optimize", option] for option in ("--out", "--json")),
    ["steerstream", "serve", "--port-file"],
    ["model_export", "export", "--out"],
    ["model_export", "health", "--json"],
    ["model_export", "measure", "autonomy", "--json"],
    *(["benchmark", name, "--json"] for name in benchmark.__main__.COMMANDS),
    *(["benchmark", name, "--plot"] for name in ("latency", "capacity", "soak")),
]


@pytest.mark.parametrize("command", WRITES_FILES, ids=" ".join)
def test_a_file_that_cannot_be_written_is_found_out_before_the_work(
    command, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("os.execv", lambda _, arguments: serve.main(arguments[3:]))
    (tmp_path / "file").write_text("no folder")
    path = tmp_path / "file" / "below.mp4"
    main = importlib.import_module(f"{command[0]}.__main__").main
    with pytest.raises(SystemExit) as stop:
        main([*command[1:], str(path)])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert f"argument {command[-1]}: cannot write {path}: Not a directory" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", WRITES_FILES, ids=" ".join)
def test_the_help_says_that_the_folder_of_a_file_is_made(command, monkeypatch, capsys):
    monkeypatch.setattr("os.execv", lambda _, arguments: serve.main(arguments[3:]))
    main = importlib.import_module(f"{command[0]}.__main__").main
    with pytest.raises(SystemExit):
        main([*command[1:-1], "--help"])
    text = " ".join(capsys.readouterr().out.split())
    about = text.rpartition(f" {command[-1]} ")[2].partition(" --")[0]
    assert "missing folders are made" in about


def test_every_package_that_a_hint_names_belongs_to_an_extra():
    extras = PROJECT["optional-dependencies"].values()
    known = {str(Requirement(line)) for lines in extras for line in lines}
    named = {provider.package for provider in providers.PROVIDERS.values()}
    for path in tracked_files():
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in PACKAGES:
            named |= set(
                re.findall(r"pip install '?([a-z][\w.-]*(?:\[[\w,]+\])?)", path.read_text())
            )
    assert {"onnx", "onnxruntime-gpu[cuda,cudnn]"} <= named
    for name in named:
        assert any(re.split("[><=;]", line)[0] == str(Requirement(name)) for line in known), name
