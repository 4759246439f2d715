"""How commands connect: over TLS, with a certificate and with a token, to a real server."""

from __future__ import annotations

import argparse
import re

import grpc
import pytest

import steerstream
from steerstream import BadRequest, Tls
from steerstream.__main__ import main
from steerstream.connection_options import add_connection_options, connection_arguments, read_token
from steerstream.transport import bearer
from tests.steerstream.certificates import make_certificate
from tests.steerstream.command_lines import command_line


def given(*words):
    parser = argparse.ArgumentParser()
    add_connection_options(parser)
    return connection_arguments(parser.parse_args(words))


def test_without_options_a_command_speaks_plain_text_and_sends_no_token():
    assert given() == {"tls": None, "token": None}


@pytest.mark.parametrize(
    ("words", "tls"),
    [
        (["--tls"], Tls()),
        (["--tls-ca", "ca.pem"], Tls(ca_file="ca.pem")),
        (["--tls-cert", "car.pem"], Tls(certificate_file="car.pem")),
        (
            ["--tls-ca", "ca.pem", "--tls-cert", "car.pem", "--tls-key", "car.key"],
            Tls("ca.pem", "car.pem", "car.key"),
        ),
    ],
)
def test_each_option_of_tls_asks_for_tls(words, tls):
    assert given(*words)["tls"] == tls


def test_a_token_is_read_for_each_call(tmp_path):
    path = tmp_path / "token"
    path.write_text("first\n")
    token = given("--token-file", str(path))["token"]
    assert callable(token)
    assert token() == "first"
    path.write_text("second\n")
    assert token() == "second"


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot read the token in .*: No such file"), ("\n", "no token"), ("é", "no token")],
)
def test_a_file_without_a_token_is_named(tmp_path, content, message):
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(BadRequest, match=message):
        read_token(path)
    with pytest.raises(BadRequest, match=message):
        given("--token-file", str(path))


@pytest.mark.parametrize("command", ["drive", "models", "bench", "doctor", "simulate drive"])
def test_every_command_of_a_vehicle_has_the_options(command, capsys):
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    assert set(re.findall(r"--(?:tls|token)[a-z-]*", capsys.readouterr().out)) == {
        "--tls",
        "--tls-ca",
        "--tls-cert",
        "--tls-key",
        "--token-file",
    }


def test_a_command_shows_its_certificate_and_its_token(tmp_path, capsys):
    key, certificate = make_certificate(tmp_path)
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), certificate.read_bytes())], certificate.read_bytes(), True
    )
    (tmp_path / "token").write_text("secret\n")
    with command_line(credentials=credentials) as run:
        tls = ("--tls-ca", certificate, "--tls-cert", certificate, "--tls-key", key)
        assert run("models", *tls, "--token-file", tmp_path / "token") == 0
        assert run("models", "--tls-ca", certificate) == 2
    assert "may ask for this client's certificate" in capsys.readouterr().err


def test_a_token_in_plain_text_does_not_leave_the_machine():
    with pytest.raises(BadRequest, match="could be read on its way"):
        steerstream.connect("server.example:50051", token="secret")
    with pytest.raises(BadRequest, match="could be read on its way"):
        steerstream.connect(["localhost:1", "server.example:2"], token=lambda: "secret")
    steerstream.connect("server.example:50051", token="secret", tls=Tls())
    steerstream.connect("localhost:50051", token="secret")


@pytest.mark.parametrize("token", ["", "two words", "line\n", "é", 5])
def test_what_is_no_token_is_refused_and_not_shown(token):
    with pytest.raises(BadRequest, match="token must be printable ASCII text") as refused:
        steerstream.connect("localhost:50051", token=token)
    assert str(token) not in str(refused.value) or not str(token)


@pytest.mark.parametrize("error", [OSError, steerstream.MediaError, steerstream.SteerstreamError])
def test_a_function_for_the_token_that_fails_is_named_and_its_text_is_not_shown(error):
    """Always by the same error: a drive session tries again after it, and ends after others."""

    def token():
        raise error("secret")

    problem = f"the function for the token raised {error.__name__}"
    with pytest.raises(BadRequest, match=problem) as failed:
        bearer(token)
    assert "secret" not in str(failed.value)
