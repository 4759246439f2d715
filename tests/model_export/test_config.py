"""Configurations are read strictly: what is wrong is named by its full key."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from model_export import config
from model_export.errors import ConfigError

SHIPPED = sorted((Path(config.__file__).parent / "configs").glob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configurations_load(path: Path):
    assert config.load(path).source


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("settings =", "setings =", "unknown key 'network.setings'; known here: kind, settings"),
        ("steps = 4", "steps = 4.5", "key 'stage[0].steps' must be of type int, is 4.5"),
        (
            "window = 1",
            "window = 1\nstored_features = true",
            "stage frames: stored_features needs a frozen encoder",
        ),
        ("steps = 4", "steps = 0", "key 'stage[0].steps' must be at least 1, is 0"),
        ("window = 4", "window = -1", "key 'stage[1].window' must be at least 1, is -1"),
        ("= 1e-3", "= 0.0", "key 'stage[0].learning_rate' must be above 0 and at most 1, is 0.0"),
        ("= 1e-3", "= 1.5", "key 'stage[0].learning_rate' must be above 0 and at most 1, is 1.5"),
        ("warm_up = 2", "warm_up = 0", "key 'training.warm_up' must be at least 1, is 0"),
        ("warm_up = 2", "ema_decay = 2", "key 'training.ema_decay' must be from 0 to 1, is 2.0"),
        ("batch_size = 2", "batch_size = 0", "key 'source[0].batch_size' must be at least 1"),
        ("flip = 0.5", "flip = 1.5", "key 'source[0].augment.flip' must be from 0 to 1, is 1.5"),
        ("flip = 0.5", "gain = [0, 1]", "key 'source[0].augment.gain' must be above 0, is 0.0"),
        ("monitor = 1", "monitor = 0", "a source needs monitor above 0"),
        ("seed = 3", "seed = -3", "key 'seed' must be at least 0, is -3"),
        ("[training]", "[serving]\nrate_hz = 0\n[training]", "'serving.rate_hz' must be above 0"),
        ("[training]", "[frame]\nheight_px = 0\n[training]", "frame: frame size must be from 1"),
        ("[training]", "[frame]\ntop = 0.9\nbottom = 0.4\n[training]", "frame: crop must satisfy"),
        ("scale = 0.3", "scale = 0", "'heads.steering_wheel_angle.scale' must be above 0, is 0.0"),
        ("minimum = -8", "minimum = 9", "steering_wheel_angle: minimum must be below maximum"),
        ("steps = 4", "", "key 'stage[0].steps' is missing"),
        ("seed = 3", "seed = true", "key 'seed' must be of type int"),
        ("flip = 0.5", "gain = [1.0]", "key 'source[0].augment.gain' must be a list of 2"),
        ("monitor = 1", 'heads = ["brake"]\nmonitor = 1', "no head 'brake'"),
        ('name = "tiny"', "name = ", "not a TOML file"),
    ],
)
def test_an_error_names_the_file_and_the_wrong_key(
    tiny_config: Path, old: str, new: str, message: str
):
    text = tiny_config.read_text()
    assert old in text
    tiny_config.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError) as raised:
        config.load(tiny_config)
    assert message in str(raised.value)
    assert str(raised.value).startswith(str(tiny_config))


def test_whole_numbers_pass_for_floats(tiny_config: Path):
    assert config.load(tiny_config).heads.speed.mean == 10.0


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="No such file"):
        config.load(tmp_path / "none.toml")


def test_frames_go_missing_only_where_features_are_stored(tiny: config.Config):
    lossy = dataclasses.replace(tiny.source[0], augment=config.AugmentConfig(drop=0.3))
    with pytest.raises(ConfigError, match="drop and rates_hz need stages with stored_features"):
        dataclasses.replace(tiny, source=(lossy,))
