"""The folder of a run: which configuration it is of."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from model_export.__main__ import main
from model_export.errors import RunError
from model_export.run import RunFolder, save

MISTAKES = {
    "setting": ("hidden = 6", "hiden = 6", "hiden"),
    "source": ('kind = "udacity_ch2"', 'kind = "udacity_ch3"', "no source 'udacity_ch3'"),
    "option": ("monitor = 1", "monitor = 1\noptions = { holdouts = [] }", "no option 'holdouts'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_configuration_can_be_mended_in_the_same_folder(
    mistake: str,
    tiny_config: Path,
    small_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    text, (right, wrong, message) = tiny_config.read_text(), MISTAKES[mistake]
    assert right in text
    config = tmp_path / "config.toml"
    command = ["train", "--config", str(config), "--data", str(small_data)]
    command += ["--out", str(tmp_path / "run"), "--cache", str(tmp_path / "cache")]
    config.write_text(text.replace(right, wrong))
    assert main(command) == 2
    assert message in capsys.readouterr().err
    config.write_text(text)
    assert main(command) == 0


@pytest.mark.parametrize("name", ["checkpoint.pt", "best.pt", "start.pt"])
def test_a_damaged_file_is_one_line(
    name: str,
    tiny_run: RunFolder,
    small_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    run = tmp_path / "run"
    shutil.copytree(tiny_run.path, run)
    command = ["train", "--config", str(run / "config.toml"), "--data", str(small_data)]
    command += ["--out", str(run), "--cache", str(tiny_run.path.parent / "cache")]
    whole = tiny_run.best.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"text", bytes(len(whole))):
        (run / name).write_bytes(damaged)
        assert main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{name}: is damaged" in line


def test_a_checkpoint_of_something_else_is_damaged(tmp_path: Path):
    run = RunFolder(tmp_path)
    for content in ({"progress": [0, 1]}, {}):
        save(content, run.checkpoint)
        with pytest.raises(RunError, match="is damaged"):
            run.load_checkpoint()


def test_a_folder_with_trained_weights_is_of_one_configuration(
    tiny_run: RunFolder, tiny_config: Path, tmp_path: Path
):
    other = tmp_path / "other.toml"
    other.write_text(tiny_config.read_text().replace("seed = 3", "seed = 4"))
    with pytest.raises(RunError, match="a run of another configuration; choose another --out"):
        tiny_run.begin(other)
