"""A run trains through its stages, leaves its record, and goes on after a kill as if unbroken."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from torch.optim import AdamW

from model_export import config as configs
from model_export.errors import ConfigError, DataError, DivergedError, RunError
from model_export.run import RunFolder
from model_export.training.learner import Learner
from model_export.training.trainer import Trainer, train


class KilledError(Exception):
    pass


def kill_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Let training die at its n-th optimiser step, wherever that is."""
    real = Learner.step
    taken: list[int] = []

    def step(self, batch, number, spent):
        if len(taken) == steps:
            raise KilledError
        taken.append(number)
        return real(self, batch, number, spent)

    monkeypatch.setattr(Learner, "step", step)


def diverge_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let a step of each stage that has so many leave weights that are no numbers."""
    real = AdamW.step

    def step_away(self, *arguments):
        real(self, *arguments)
        (taken,) = {int(state["step"]) for state in self.state.values()}
        if taken == step + 1:
            for group in self.param_groups:
                for weight in group["params"]:
                    weight.detach().fill_(math.nan)

    monkeypatch.setattr(AdamW, "step", step_away)


def test_a_run_leaves_its_weights_scores_and_record(tiny_run: RunFolder):
    result = tiny_run.load_result()
    assert [source.frames for source in result.sources] == [60]
    assert result.sources[0].heads == ("steering_wheel_angle",)
    assert [(score.head, score.frames) for score in result.scores] == [("steering_wheel_angle", 20)]
    entries = [json.loads(line) for line in tiny_run.metrics.read_text().splitlines()]
    assert [entry["step"] for entry in entries] == [2, 4, 6, 8, 9]
    assert [entry["stage"] for entry in entries] == ["frames"] * 2 + ["sequences"] * 3
    assert tiny_run.curves.read_bytes().startswith(b"\x89PNG")
    assert list(tiny_run.tensorboard.glob("events*"))


@pytest.mark.parametrize("steps", [1, 3, 5, 7])
def test_a_killed_run_ends_as_an_unbroken_one(
    tiny_run: RunFolder,
    tiny_config: Path,
    small_data: Path,
    tmp_path: Path,
    steps: int,
):
    run = RunFolder(tmp_path / "run")
    with pytest.MonkeyPatch.context() as patch:
        kill_after(patch, steps)
        with pytest.raises(KilledError):
            train(tiny_config, run, small_data, tmp_path / "cache")
    torch.rand(17)
    result = train(tiny_config, run, small_data, tmp_path / "cache")
    unbroken = tiny_run.load_result()
    assert result.scores == unbroken.scores
    for name, value in unbroken.weights.items():
        assert torch.equal(result.weights[name], value), name
    assert run.metrics.read_text() == tiny_run.metrics.read_text()


def test_a_run_whose_weights_are_no_numbers_any_more_ends(
    tiny_config: Path, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    diverge_at(monkeypatch, 0)
    run = RunFolder(tmp_path / "run")
    for _ in range(2):
        with pytest.raises(DivergedError, match=r"'frames': the loss is no number at step 2; "):
            train(tiny_config, run, small_data, tmp_path / "cache")
    assert not run.best.is_file()


def test_weights_that_the_last_step_made_no_numbers_are_not_kept(
    tiny_config: Path, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    text = tiny_config.read_text()
    tiny_config.write_text(text.replace("[training]", "[training]\nkeep_last = true"))
    diverge_at(monkeypatch, 4)
    run = RunFolder(tmp_path / "run")
    for _ in range(2):
        with pytest.raises(DivergedError, match=r"'sequences': a weight is no number after step 5"):
            train(tiny_config, run, small_data, tmp_path / "cache")
    kept = run.load_result().weights.values()
    assert all(value.isfinite().all() for value in kept)


def test_a_finished_run_is_left_as_it_is(tiny_run: RunFolder, small_data: Path):
    before = tiny_run.best.read_bytes()
    train(tiny_run.config, tiny_run, small_data, tiny_run.path.parent / "cache")
    assert tiny_run.best.read_bytes() == before


def test_a_run_without_data_leaves_no_folder_and_spoils_none(
    tiny_run: RunFolder, tiny_config: Path, tmp_path: Path
):
    cache, run = tiny_run.path.parent / "cache", RunFolder(tmp_path / "run")
    with pytest.raises(DataError, match="No such file"):
        train(tiny_config, run, tmp_path / "none", cache)
    assert not run.path.exists()
    with pytest.raises(DataError, match="No such file"):
        train(tiny_run.config, tiny_run, tmp_path / "none", cache)
    assert tiny_run.best.is_file()


def test_another_configuration_needs_another_folder(
    tiny_run: RunFolder, tiny_config: Path, small_data: Path
):
    tiny_config.write_text(tiny_config.read_text().replace("seed = 3", "seed = 4"))
    with pytest.raises(RunError, match="another configuration"):
        train(tiny_config, tiny_run, small_data, tiny_run.path.parent / "cache")


def test_training_stops_early_when_nothing_gets_better(
    tiny: configs.Config, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("model_export.training.keeper.monitored", lambda judgement: 1.0)
    patient = dataclasses.replace(tiny.training, patience=2, evaluate_every=1)
    stage = dataclasses.replace(tiny.stage[0], steps=50)
    config = dataclasses.replace(tiny, training=patient, stage=(stage,))
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    Trainer(config, run, small_data, tmp_path / "cache").train()
    assert len(run.metrics.read_text().splitlines()) == 3


def test_relabelled_drives_join_the_rendered_source(
    tiny: configs.Config, small_data: Path, tmp_path: Path
):
    rendered = configs.SourceConfig(
        kind="rendered", batch_size=1, options={"roads": 1, "validation_roads": 1, "seconds": 1.0}
    )
    stage = dataclasses.replace(tiny.stage[1], steps=2, batch_factor=1)
    drive = dataclasses.replace(stage, name="dagger", dagger_roads=2, dagger_seconds=0.5)
    config = dataclasses.replace(tiny, source=(*tiny.source, rendered), stage=(stage, drive))
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.config.write_text((tmp_path / "tiny.toml").read_text())
    result = Trainer(config, run, small_data, tmp_path / "cache").train()
    assert [source.frames for source in result.sources] == [60, 20, 20]
    assert "relabelled" in result.sources[2].name
    assert run.dagger("dagger").is_dir()


PLAN = """
[[stage]]
name = "plan"
steps = 2
window = 4
learning_rate = 1e-2
encoder_rate = 0.0
stored_features = true
plan_only = true
picture_drives = 2
dagger_roads = 1
dagger_seconds = 1.0

[[source]]
kind = "rendered"
batch_size = 1
options = { roads = 1, validation_roads = 1, seconds = 1.0 }
"""


def test_a_plan_is_learned_from_own_drives_and_the_commands_stay(
    tiny_config: Path, small_data: Path, tmp_path: Path
):
    horizon = "hidden = 6, motion = true, interval = true, horizon = true"
    text = tiny_config.read_text().replace("hidden = 6", horizon)
    tiny_config.write_text(text)
    first = RunFolder(tmp_path / "first")
    before = train(tiny_config, first, small_data, tmp_path / "cache")

    head, _, source = text.replace(horizon, f"{horizon}, plan = true").partition("[[stage]]")
    tiny_config.write_text(head + PLAN + source[source.index("[[source]]") :])
    run = RunFolder(tmp_path / "second")
    after = train(tiny_config, run, small_data, tmp_path / "cache", first)

    assert {name.partition(".")[0] for name in after.weights.keys() - before.weights} == {"plan"}
    assert after.weights["plan.fresh.weight"].any()
    for name in before.weights.keys() - {"calibration"}:
        assert torch.equal(after.weights[name], before.weights[name]), name
    own = after.sources[-1]
    assert own.frames == 2 * 60 + 20
    assert own.heads == ("steering_wheel_angle",)


def test_only_a_network_that_plans_has_a_stage_for_it(
    tiny_run: RunFolder, tiny_config: Path, small_data: Path, tmp_path: Path
):
    head, _, source = tiny_config.read_text().partition("[[stage]]")
    tiny_config.write_text(head + PLAN + source[source.index("[[source]]") :])
    run = RunFolder(tmp_path / "run")
    with pytest.raises(ConfigError, match="needs a network that plans"):
        train(tiny_config, run, small_data, tmp_path / "cache", tiny_run)


def test_a_stage_on_stored_features_trains_as_the_others_do(
    tiny_config: Path, small_data: Path, tmp_path: Path
):
    text = tiny_config.read_text()
    stored = "pass_frames = 12\nencoder_rate = 0.0\nstored_features = true"
    tiny_config.write_text(text.replace("pass_frames = 12", stored))
    run = RunFolder(tmp_path / "run")
    train(tiny_config, run, small_data, tmp_path / "cache")
    assert list((tmp_path / "cache").glob("features-*"))
    entries = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert entries[-1]["stage"] == "sequences"


def test_the_last_weights_are_kept_where_validation_has_no_say(
    tiny_config: Path, small_data: Path, tmp_path: Path
):
    text = tiny_config.read_text()
    tiny_config.write_text(text.replace("[training]", "[training]\npatience = 1\nkeep_last = true"))
    run = RunFolder(tmp_path / "run")
    result = train(tiny_config, run, small_data, tmp_path / "cache")
    entries = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert entries[-1]["step"] == 9
    assert result.scores[0].rmse == pytest.approx(entries[-1]["score"])
    assert "no say" in result.scores[0].note


ONLY_STDDEVS = """
[[stage]]
name = "stddevs"
steps = 3
window = 4
learning_rate = 1e-2
stddev_only = true
"""


def test_deviations_can_be_added_to_a_network_that_stays_as_it_is(
    tiny_run: RunFolder, small_data: Path, tmp_path: Path
):
    before = tiny_run.load_result()
    text = tiny_run.config.read_text()
    start = text.index("[[stage]]")
    config = tmp_path / "stddevs.toml"
    config.write_text(text[:start] + ONLY_STDDEVS + text[text.index("[[source]]") :])
    run = RunFolder(tmp_path / "run")
    after = train(config, run, small_data, tmp_path / "cache", tiny_run)
    changed = {
        name
        for name, value in after.weights.items()
        if not torch.equal(value, before.weights[name])
    }
    assert changed == {"heads.log_stddev.weight", "heads.log_stddev.bias"}
    assert after.sources == before.sources
    assert after.scores == before.scores


def test_weights_of_another_network_are_refused(
    tiny_run: RunFolder, tiny_config: Path, small_data: Path, tmp_path: Path
):
    tiny_config.write_text(tiny_config.read_text().replace("hidden = 6", "hidden = 7"))
    run = RunFolder(tmp_path / "run")
    with pytest.raises(RunError, match="not this network's"):
        train(tiny_config, run, small_data, tmp_path / "cache", tiny_run)


def test_another_cell_can_learn_on_the_features_of_a_run(
    tiny_run: RunFolder, tiny_config: Path, small_data: Path, tmp_path: Path
):
    text = tiny_run.config.read_text()
    start = text.index("[[stage]]")
    settings = text[:start].replace("settings = {", 'settings = { cell = "rnn",')
    settings = settings.replace("[training]", "[training]\nfresh_cell = true")
    frozen = ONLY_STDDEVS.replace("stddev_only = true", "encoder_rate = 0.0")
    config = tmp_path / "rnn.toml"
    config.write_text(settings + frozen + text[text.index("[[source]]") :])
    before = tiny_run.load_result().weights
    after = train(config, RunFolder(tmp_path / "rnn"), small_data, tmp_path / "cache", tiny_run)
    assert torch.equal(after.weights["project.weight"], before["project.weight"])
    assert not any("gates" in name for name in after.weights)
    assert not torch.equal(after.weights["heads.mean.weight"], before["heads.mean.weight"])

    wider = config.read_text().replace("features = ", "features = 1")
    config.write_text(wider)
    with pytest.raises(RunError, match="not this network's"):
        train(config, RunFolder(tmp_path / "wider"), small_data, tmp_path / "cache", tiny_run)


def test_a_start_without_weights_leaves_no_run_behind(
    tiny_config: Path, small_data: Path, tmp_path: Path
):
    run = RunFolder(tmp_path / "run")
    with pytest.raises(RunError, match="no trained weights yet"):
        train(tiny_config, run, small_data, tmp_path / "cache", RunFolder(tmp_path / "none"))
    assert not run.path.exists()


def test_held_out_blocks_choose_the_weights_and_calibrate(
    tiny_config: Path, small_data: Path, tmp_path: Path
):
    text = tiny_config.read_text()
    tiny_config.write_text(
        text.replace("monitor = 1", 'monitor = 1\noptions = { holdout = ["1"] }')
    )
    run = RunFolder(tmp_path / "run")
    result = train(tiny_config, run, small_data, tmp_path / "cache")
    assert result.sources[0].frames == 40
    assert "no say" in result.scores[0].note
    entries = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    last = [entry for entry in entries if entry["stage"] == "sequences"]
    assert [[entry["score"]] for entry in last] == [[*entry["held_out"].values()] for entry in last]
    chosen = min(last, key=lambda entry: entry["score"])
    assert [result.scores[0].rmse] == [*chosen["rmse"].values()]
    angle, speed, torque = result.weights["calibration"].tolist()
    assert (speed, torque) == (1.0, 1.0)
    assert angle > 0
    assert angle != 1.0
