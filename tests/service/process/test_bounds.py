"""The sum of all bounds, what is told of it, and that the document tells the same."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from steerstream.v1 import drive_service_pb2, models_service_pb2, watch_pb2
from steerstream_bundle import loading
from steerstream_service.config import Config
from steerstream_service.process import bounds, server
from tests.service import bundles
from tests.service.processes import ROOT, TIMEOUT_S, command

OPERATIONS = Path(__file__).resolve().parents[3] / "docs/operations.md"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return bundles.recurrent(tmp_path_factory.mktemp("bundles") / "tiny.onnx")


def rows(config):
    contracts = [bundles.contract()]
    return [
        *bounds.always(config, contracts),
        *bounds.before_open(config, config.max_connections),
        *bounds.after_open(config, contracts, every=True),
    ]


def test_the_sum_is_that_of_all_rows():
    config = Config()
    total = bounds.total_bytes(config, [bundles.contract()], config.max_connections)
    assert total == sum(row.most * row.each_bytes for row in rows(config))
    assert total > config.max_sessions * config.max_waiting_frames * config.max_message_bytes


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("max_sessions", 65),
        ("max_connections", 4097),
        ("max_waiting_frames", 9),
        ("max_message_bytes", 5_000_000),
        ("max_pixels", 2_200_000),
        ("decode_threads", 3),
        ("max_unsent_answers", 65),
    ],
)
def test_each_setting_that_a_row_names_changes_the_sum(setting, value):
    contracts = [bundles.contract()]
    usual, larger = Config(), Config(**{setting: value})
    sums = [bounds.total_bytes(config, contracts, 5000) for config in (usual, larger)]
    if setting == "max_connections":  # The number of connections is given.
        assert sums[0] == sums[1]
        sums = [sum(row.bytes for row in rows(config)) for config in (usual, larger)]
    assert sums[0] < sums[1]
    named = {name for row in rows(usual) for name in row.setting.split(", ")}
    assert setting in named


def test_the_first_connection_reaches_every_bound_but_that_of_connections():
    contracts, config = [bundles.contract()], Config()
    none, one, two = (bounds.total_bytes(config, contracts, count) for count in (0, 1, 2))
    assert none == sum(row.bytes for row in bounds.always(config, contracts))
    assert none < one < two < 1.001 * one


def test_without_tickets_none_are_unsent():
    rows = bounds.after_open(Config(ticket_every_frames=0), [bundles.contract()], every=False)
    assert next(row for row in rows if row.what == "tickets, unsent").bytes == 0


def test_latest_keeps_fewer_frames_than_every():
    latest, every = (
        bounds.after_open(Config(), [bundles.contract()], every=every) for every in (False, True)
    )
    assert [row.what for row in latest] == [row.what for row in every]
    assert sum(row.bytes for row in latest) < sum(row.bytes for row in every)


def test_the_server_tells_grpc_the_bounds_that_are_summed_up():
    config = Config(max_sessions=10, max_connections=100, stream_window_bytes=100_000)
    options = dict(server._options(config, shares_port=False))
    assert options["grpc.max_allowed_incoming_connections"] == config.max_connections
    assert options["grpc.max_receive_message_length"] == config.max_message_bytes
    assert options["grpc.absolute_max_metadata_size"] == bounds.HEADER_BYTES
    assert options["grpc.http2.lookahead_bytes"] == 100_000
    wider = bounds.before_open(Config(stream_window_bytes=200_000), 10)
    default = bounds.before_open(Config(), 10)
    assert sum(row.bytes for row in wider) > sum(row.bytes for row in default)
    streams = 2 * 10 + 64 + 32
    assert options["grpc.max_concurrent_streams"] == streams
    assert options["grpc.server.max_pending_requests_hard_limit"] == 2 * (streams + 32)
    assert options["grpc.http2.max_deallocating_streams"] == 32


def test_every_method_but_drive_is_counted():
    services = [
        module.DESCRIPTOR.services_by_name[name]
        for module, name in (
            (drive_service_pb2, "DriveService"),
            (watch_pb2, "WatchService"),
            (models_service_pb2, "ModelsService"),
            (health_pb2, "Health"),
            (reflection_pb2, "ServerReflection"),
        )
    ]
    methods = sum(len(service.methods) for service in services)
    # Without Drive, with reflection in its second version; newer packages have Health's List.
    others = methods - 1 + 1
    assert others <= bounds.OTHER_METHODS <= others + 1


def test_the_option_prints_the_table_and_serves_nothing(tiny, tmp_path):
    settings = tmp_path / "server.toml"
    settings.write_text("max_sessions = 7\n")
    done = subprocess.run(
        command("--model", tiny, "--config", settings, "--workers", 3, "--explain-bounds"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_S,
    )
    expected = bounds.explain(Config(max_sessions=7), [bundles.contract()], workers=3)
    assert done.stdout == expected + "\n"
    assert done.stderr == ""
    sums = dict(re.findall(r"\*\*(in all, .*?|of .*?)\*\* .*\*\*([\d.,]+)\*\*", done.stdout))
    one, three = (float(sums[key].replace(",", "")) for key in list(sums)[1:])
    assert list(sums) == ["in all, one connection", "in all, 4,096 connections", "of 3 workers"]
    assert three == pytest.approx(3 * one, abs=0.2)


def test_the_document_has_the_table_of_the_defaults():
    """Where this fails, put what `steerstream serve --explain-bounds` prints between the marks."""
    text = OPERATIONS.read_text(encoding="utf-8")
    found = re.search(r"<!-- bounds:begin -->\n(.*?)<!-- bounds:end -->", text, re.DOTALL)
    assert found is not None
    contract = loading.load(loading.SHIPPED).contract
    assert found[1] == bounds.explain(Config(), [contract]) + "\n"
