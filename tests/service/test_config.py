"""Settings are read strictly, and every one has bounds and a reason."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

import pytest

from steerstream_service.config import Config, describe, load, parse
from steerstream_service.errors import ConfigError

SETTINGS = dataclasses.fields(Config)
NUMBERS = [setting for setting in SETTINGS if "low" in setting.metadata]
CHOICES = [setting for setting in SETTINGS if "choices" in setting.metadata]


def test_an_empty_file_gives_the_defaults():
    assert parse("") == Config()


def test_values_are_read():
    config = parse("max_sessions = 7\nidle_timeout_s = 30\ndefault_budget_ms = 33.3\n")
    assert (config.max_sessions, config.idle_timeout_s, config.default_budget_ms) == (7, 30.0, 33.3)


def test_a_file_is_read_and_named_in_errors(tmp_path):
    path = tmp_path / "server.toml"
    path.write_text("max_sessions = 7\n")
    assert load(path).max_sessions == 7
    assert load(None) == Config()
    for content, message in ((b"max_sessions = 0", "must be from"), (b"\xff", "can't decode")):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=f"{path}: .*{message}"):
            load(path)
    with pytest.raises(ConfigError, match=f"{tmp_path}: not a regular file"):
        load(tmp_path)


def test_a_file_without_an_end_is_refused_before_it_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/zero"), tmp_path / "pipe"):
        with pytest.raises(ConfigError, match=f"{path}: not a regular file"):
            load(path)
    large = tmp_path / "large.toml"
    large.write_text("#" * 2**20)
    assert load(large) == Config()
    large.write_text("#" * (2**20 + 1))
    with pytest.raises(ConfigError, match=f"{large}: larger than 1048576 bytes"):
        load(large)


def test_every_other_setting_is_the_name_of_a_file_or_texts():
    others = [setting for setting in SETTINGS if setting not in (*NUMBERS, *CHOICES)]
    assert {setting.name: type(setting.default) for setting in others} == {
        "ticket_keys": str,
        "token_keys": str,
        "token_audience": str,
        "identity_header": str,
        "vehicle_identity": tuple,
        "trusted_proxies": tuple,
        "administrators": tuple,
    }
    assert parse("ticket_keys = '/run/keys'\n").ticket_keys == "/run/keys"
    assert parse("administrators = ['a', 'b,c']\n").administrators == ("a", "b,c")
    assert "ticket_keys = ''  (a file's name, or empty)" in describe()
    assert "token_audience = steerstream  (text)" in describe()
    assert "trusted_proxies = ['127.0.0.0/8', '::1/128']  (a list of texts)" in describe()


@pytest.mark.parametrize("setting", CHOICES, ids=lambda setting: setting.name)
def test_every_choice_has_its_words_and_a_reason(setting):
    choices = setting.metadata["choices"]
    assert setting.default in choices
    assert setting.metadata["why"] in describe()
    for choice in choices:
        assert getattr(parse(f"{setting.name} = '{choice}'\n"), setting.name) == choice
    with pytest.raises(ConfigError, match=f"{setting.name} must be one of {choices[0]}, "):
        parse(f"{setting.name} = 'neither'\n")


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda setting: setting.name)
def test_every_number_has_bounds_and_a_reason(setting):
    low, high = setting.metadata["low"], setting.metadata["high"]
    assert low <= setting.default <= high
    assert setting.metadata["why"] in describe()
    for value in (low - 1, high * 2 + 1):
        with pytest.raises(ConfigError, match=f"{setting.name} must be from"):
            parse(f"{setting.name} = {value}\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_session = 7", "unknown setting 'max_session'"),
        ("max_sessions = 7.5", "max_sessions must be of type int, is 7.5"),
        ("max_sessions = true", "max_sessions must be of type int, is True"),
        ("max_sessions = '7'", "max_sessions must be of type int"),
        ("drain_s = nan", "drain_s must be from"),
        ("provider = 1", "provider must be of type str, is 1"),
        ("drain_s = false", "drain_s must be of type float"),
        ("[server]\nmax_sessions = 7", "unknown setting 'server'"),
        ("max_sessions 7", "not TOML"),
        pytest.param(f"max_sessions = {'9' * 5000}", "not TOML", id="a number without an end"),
        pytest.param(f"max_sessions = {'[' * 5000}", "nested too deeply", id="deep brackets"),
        (
            "min_budget_ms = 100.0\nmax_budget_ms = 50.0",
            "min_budget_ms must be at most max_budget_ms",
        ),
        ("default_budget_ms = 1.5", "default_budget_ms must lie between"),
        ("vehicle_identity = []", "vehicle_identity is empty"),
        ("vehicle_identity = ['']", "vehicle_identity: an empty text owns no vehicle"),
        *(
            (
                f"vehicle_identity = ['{{vehicle_id}}', '{owner}']",
                f"the only placeholder is {{vehicle_id}}, and '{re.escape(owner)}' has another",
            )
            for owner in ("spiffe://fleet/{vehicle}", "{vehicle_id", "{}", "{{vehicle_id}}")
        ),
        ("expiring_notice_s = 11.0", "expiring_notice_s must be less than idle_timeout_s"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(ConfigError, match=message):
        parse(text)
