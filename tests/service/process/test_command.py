"""The command line: what it serves, and what it refuses in one line with exit code 2."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess

import grpc
import numpy as np
import pytest

from steerstream.v1 import drive_service_pb2, drive_service_pb2_grpc
from steerstream_bundle.contract import METADATA_KEY
from steerstream_service.config import DEFAULT_MODEL, Config, parse
from tests.service import bundles
from tests.service.processes import ROOT, command, process, refusal

GREY = np.full((8, 16, 3), 100, np.uint8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return bundles.recurrent(tmp_path_factory.mktemp("bundles") / "tiny.onnx")


def broken_contract(kind):
    text = bundles.contract().to_json()
    match kind:
        case "contract":
            return text.replace('"rate_hz"', '"rate"')
        case "name":
            return text.replace('"tiny"', json.dumps("a\nb" * 10_000))
        case "tensor":
            return bundles.contract(interval_tensor="x\n" * 100).to_json()
        case "dimensions":
            data = json.loads(text)
            data["state"][0]["shape"] = [1] * 70
            return json.dumps(data)
        case "large":
            return text + " " * 27_000_000
        case "field twice":
            return text.replace('"name"', '"name": "other", "name"', 1)
    raise AssertionError(kind)


def broken(tmp_path, kind):
    path = tmp_path / "broken.onnx"
    match kind:
        case "missing":
            pass
        case "empty":
            path.write_bytes(b"")
        case "not ONNX":
            path.write_bytes(b"these are not the weights" * 100)
        case "truncated":
            whole = bundles.recurrent(path).read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
        case "no contract":
            bundles.write(path, bundles.contract(), _NODES, metadata={})
        case "limits":
            bundles.recurrent(path, limits_profile="rocket")
        case "pipe":
            os.mkfifo(path)
        case _:
            metadata = {METADATA_KEY: broken_contract(kind)}
            bundles.write(path, bundles.contract(), _NODES, metadata=metadata)
    return path


_NODES = [*bundles.mean_colour(), *bundles.hidden(), *bundles.heads("h_next")]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("missing", "No such file"),
        ("empty", "the file is empty"),
        ("not ONNX", "not an ONNX model"),
        ("truncated", "not an ONNX model|broken"),
        ("no contract", "no contract under 'steerstream.contract'"),
        ("contract", "its contract is broken: contract has unknown fields: rate"),
        ("limits", "limits profile 'rocket' is not one of"),
        ("pipe", "not a regular file"),
        ("name", "its contract is broken: contract.name must be at most 1000 printable"),
        ("tensor", "its contract is broken: contract.interval_tensor must be at most"),
        ("dimensions", r"its contract is broken: state '\w+' must have at most 8 dimensions"),
        ("large", "its contract is broken: the contract must be at most 262144 bytes"),
        ("field twice", "its contract is broken: the contract has the field 'name' twice"),
    ],
)
def test_a_broken_bundle_is_one_line_and_exit_code_2(tmp_path, kind, text):
    line = refusal("--model", broken(tmp_path, kind))
    assert re.search(text, line), line
    assert line.count("\n") == 1
    assert len(line) < 1000
    assert line.startswith("steerstream serve: ")


def test_a_bad_setting_is_one_line_and_exit_code_2(tiny, tmp_path):
    file = tmp_path / "server.toml"
    file.write_text("max_sessions = 0\n")
    line = refusal("--model", tiny, "--config", file)
    assert line == f"steerstream serve: {file}: max_sessions must be from 1 to 65536, is 0\n"


def test_a_reduced_bundle_of_another_is_one_line_and_exit_code_2(tmp_path):
    tiny = bundles.recurrent(tmp_path / "tiny.onnx")
    sibling = bundles.reduced(tiny, reduced_from="0" * 64)
    line = refusal("--model", tiny)
    assert line.startswith(f"steerstream serve: {sibling}: was not made from {tiny} as it is now")
    assert line.count("\n") == 1


@pytest.mark.parametrize("asked", ["option", "setting"])
def test_a_client_is_told_the_precision_that_was_asked_for_and_why(tmp_path, asked):
    tiny = bundles.recurrent(tmp_path / "tiny.onnx")
    bundles.reduced(tiny)
    (tmp_path / "server.toml").write_text('precision = "int8"\n' if asked == "setting" else "")
    given = ["--precision", "int8"] if asked == "option" else []
    given += ["--config", tmp_path / "server.toml"]
    with process("--model", tiny, *given, folder=tmp_path) as (_, address):
        (model,) = described(address).models
    assert (model.precision, model.provider) == ("int8", "cpu")
    assert model.runtime_reason == "int8 was asked for"
    assert model.bundle_sha256 == hashlib.sha256(tiny.read_bytes()).hexdigest()


def test_an_unknown_default_model_is_one_line_and_exit_code_2(tiny):
    line = refusal("--model", tiny, "--default-model", "other")
    assert line == "steerstream serve: default model 'other' is not one of ['tiny']\n"


def test_several_models_without_a_default_are_one_line_and_exit_code_2(tiny, tmp_path):
    other = bundles.stateless(tmp_path / "a.onnx")
    line = refusal("--model", tiny, "--model", other)
    assert line == (
        "steerstream serve: which model is the default? "
        "choose --default-model of ['stateless', 'tiny']\n"
    )


def test_the_network_to_drive_with_is_the_default_among_several(tmp_path):
    bundles.recurrent(tmp_path / "z.onnx", name=DEFAULT_MODEL)
    bundles.stateless(tmp_path / "a.onnx")
    with process("--model", tmp_path, folder=tmp_path) as (_, address):
        assert described(address).default_model == DEFAULT_MODEL


def test_without_a_model_the_bundle_that_ships_is_served(tmp_path):
    with process(folder=tmp_path) as (_, address):
        answer = described(address)
    assert [model.name for model in answer.models] == [DEFAULT_MODEL]
    assert answer.default_model == DEFAULT_MODEL


def described(address):
    with grpc.insecure_channel(address) as channel:
        stub = drive_service_pb2_grpc.DriveServiceStub(channel)
        return stub.DescribeModels(drive_service_pb2.DescribeModelsRequest(), timeout=60)


def test_a_taken_port_is_one_line_and_exit_code_2(tiny):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refusal("--model", tiny, "--listen", f"127.0.0.1:{port}")
    assert line == f"steerstream serve: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_a_server_that_never_listened_logs_no_end(tiny):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        lines = refusal("--model", tiny, "--listen", place, "--log-level", "info")
    assert lines == f"steerstream serve: cannot listen on {place}: Address already in use\n"


def test_a_unix_socket_in_a_folder_that_is_missing_is_one_line_with_the_reason(tiny, tmp_path):
    place = f"unix:{tmp_path}/none/socket"
    lines = refusal("--model", tiny, "--listen", place, "--log-level", "info")
    assert lines == f"steerstream serve: cannot listen on {place}: No such file or directory\n"


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", "127.0.0.1:99999", ":", "a:b:1"])
def test_a_malformed_address_is_one_line_and_exit_code_2(tiny, address):
    line = refusal("--model", tiny, "--listen", address)
    assert line == f"steerstream serve: cannot listen on {address!r}; give HOST:PORT or unix:PATH\n"


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["--model"], "--model"),
        (["--port", "5"], "--port 5"),
        (["--model", "a", "--wat"], "--wat"),
        (["--workers", "٣"], "--workers: needs a number from 1 to 256, not ٣"),
        (["--workers", "257"], "--workers: needs a number from 1 to 256, not 257"),
        (["--metrics", "127.0.0.1:٣"], "--metrics: needs HOST:PORT, not 127.0.0.1:٣"),
        (["--traces", "foo"], "--traces: needs http://HOST:PORT, not foo"),
        (["--traces", "http://"], "--traces: needs http://HOST:PORT, not http://"),
        (["--traces", "http://a:b"], "--traces: needs http://HOST:PORT, not http://a:b"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(arguments, wrong):
    result = subprocess.run(
        command(*arguments), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert wrong in result.stderr
    assert result.stderr.startswith("steerstream serve: ")
    assert result.stderr.endswith("; see steerstream serve --help\n")
    assert result.stderr.count("\n") == 1


def test_workers_that_listen_each_need_a_port_to_begin_with(tiny):
    line = refusal("--model", tiny, "--listen-each", "--workers", 2)
    assert line.startswith("steerstream serve: --listen-each uses a port and the following ones;")
    assert line.count("\n") == 1


@pytest.mark.parametrize("option", ["--metrics", "--admin-listen"])
def test_workers_beyond_the_last_port_are_one_line_and_exit_code_2(tiny, option):
    line = refusal("--model", tiny, option, "127.0.0.1:65535", "--workers", 2)
    said = "worker 1 has no port after 127.0.0.1:65535; the last is 65535"
    assert line == f"steerstream serve: {said}\n"


def test_help_explains_every_option_and_setting():
    text = subprocess.run(
        command("--help"), cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    options = ("--model", "--default-model", "--config", "--listen", "--port-file", "--workers")
    for name in (*options, "--log-level", *Config.__dataclass_fields__):
        assert name in text


def test_the_defaults_are_within_their_bounds():
    assert parse("") == Config()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tls-cert", "a"], "--tls-cert and --tls-key go together; give both"),
        (["--tls-key", "a"], "--tls-cert and --tls-key go together; give both"),
        (["--client-ca", "a"], "--client-ca needs --tls-cert and --tls-key"),
        (
            ["--tls-cert", "a", "--tls-key", "b", "--plaintext"],
            "--plaintext contradicts --tls-cert; choose one",
        ),
        (
            ["--admin-plaintext"],
            "--admin-plaintext needs --admin-listen; --plaintext is for --listen",
        ),
        (
            ["--tls-cert", "no-file", "--tls-key", "b"],
            "--tls-cert: no-file: No such file or directory",
        ),
    ],
)
def test_options_of_tls_that_do_not_fit_together_are_one_line_and_exit_code_2(
    tiny, options, message
):
    assert refusal("--model", tiny, *options) == f"steerstream serve: {message}\n"


def test_plain_text_beyond_this_machine_is_one_line_and_exit_code_2(tiny):
    for listen in (["--listen", "0.0.0.0:0"], ["--admin-listen", "0.0.0.0:0"]):
        line = refusal("--model", tiny, *listen)
        assert line.startswith("steerstream serve: plain text at 0.0.0.0:0 could be read")
        assert line.count("\n") == 1


def test_keys_of_tokens_that_cannot_be_used_are_one_line_and_exit_code_2(tiny, tmp_path):
    settings, keys = tmp_path / "server.toml", tmp_path / "keys.json"
    keys.write_text("{}")
    settings.write_text(f"token_keys = {str(keys)!r}\n")
    for options in (["--config", settings], ["--token-keys", keys]):
        line = refusal("--model", tiny, *options)
        assert line == f"steerstream serve: token_keys: {keys}: no JSON Web Key Set\n"


def test_owners_of_vehicles_without_identities_are_one_line_and_exit_code_2(tiny, tmp_path):
    settings = tmp_path / "server.toml"
    settings.write_text("vehicle_identity = ['CN={vehicle_id}']\n")
    line = refusal("--model", tiny, "--config", settings)
    assert line.startswith("steerstream serve: vehicle_identity is set, but identity is none")
    assert line.count("\n") == 1
