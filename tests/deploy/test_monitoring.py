"""Prometheus' rules and Grafana's dashboard: against made-up series, and against a real server."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import math
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.deploy.fleet import Program, drive, free_port, server, session
from tests.deploy.tools import DEPLOY, ROOT, tool
from tests.service.certificates import Authority

RULES = DEPLOY / "prometheus/rules.yml"
SCRAPING = DEPLOY / "prometheus/prometheus.yml"
CASES = ROOT / "tests/deploy/rules_test.yml"
DASHBOARD = DEPLOY / "grafana/dashboards/steerstream.json"
PROVISIONING = DEPLOY / "grafana/provisioning"
GREY = np.full((66, 200, 3), 100, np.uint8)
TRIES = 150
PAUSE_S = 0.2


def promtool(*arguments: str | Path) -> None:
    result = subprocess.run(
        [tool("promtool"), *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def alerts() -> dict[str, dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def panels() -> list[dict[str, Any]]:
    return json.loads(DASHBOARD.read_text())["panels"]


def queries() -> list[str]:
    """The dashboard's, as Grafana sends them."""
    given = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [
        query.replace("$instance", ".*").replace("$__rate_interval", "1m").replace("$__all", ".*")
        for query in given
    ]


def test_the_rules_are_valid() -> None:
    promtool("check", "config", SCRAPING)
    promtool("check", "rules", RULES)


def test_each_alert_fires_when_it_should_and_not_before() -> None:
    promtool("test", "rules", CASES)


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases = [
        case
        for test in yaml.safe_load(CASES.read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    for fires in (True, False):
        assert {c["alertname"] for c in cases if ("exp_alerts" in c) == fires} == set(alerts())


@contextlib.asynccontextmanager
async def prometheus(folder: Path, metrics: str) -> AsyncIterator[str]:
    """A Prometheus with the file that ships, but one server of this machine, scraped faster."""
    settings = yaml.safe_load(SCRAPING.read_text())
    settings["global"] = dict.fromkeys(settings["global"], "500ms")
    settings["rule_files"] = [str(RULES)]
    (job,) = settings["scrape_configs"]
    job["static_configs"] = [{"targets": [metrics]}]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(settings))
    address = f"127.0.0.1:{free_port()}"
    program = await Program.start(
        tool("prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    )
    try:
        await program.says("ready to receive web requests")
        yield address
    finally:
        await program.stop()


def ask(address: str, path: str, **arguments: str) -> Any:
    query = urllib.parse.urlencode(arguments)
    with urllib.request.urlopen(f"http://{address}/api/v1/{path}?{query}") as answer:
        body = json.load(answer)
    assert body["status"] == "success"
    return body["data"]


async def values(address: str, query: str) -> list[float]:
    """The values that a query gives."""
    found = await asyncio.to_thread(ask, address, "query", query=query)
    return [float(series["value"][1]) for series in found["result"]]


async def eventually(address: str, query: str) -> list[float]:
    """Wait until a query gives numbers, as a rate does from its second sample on."""
    for _ in range(TRIES):
        found = await values(address, query)
        if found and all(math.isfinite(value) for value in found):
            return found
        await asyncio.sleep(PAUSE_S)
    raise AssertionError(f"no numbers from {query}")


async def test_every_query_finds_a_real_servers_figures(tmp_path: Path) -> None:
    place = f"127.0.0.1:{free_port()}"
    authority = Authority(tmp_path / "authority")
    own = authority.server()
    tls = ("--tls-cert", own.certificate, "--tls-key", own.key)
    keys, settings = tmp_path / "ticket.keys", tmp_path / "server.toml"
    keys.write_text(f"fleet-1 = {base64.b64encode(bytes(32)).decode()} 2026-01-31\n")
    settings.write_text(f'ticket_keys = "{keys}"\n')
    options = ("--metrics", place, "--config", settings, "--record", tmp_path / "sessions", *tls)
    async with (
        server(port := free_port(), *map(str, options)),
        prometheus(tmp_path, place) as address,
        session(f"127.0.0.1:{port}", "car", tls=authority.client()) as car,
    ):
        # At a camera's pace: on a busy machine a server that is never idle is scraped too late.
        driving = asyncio.create_task(drive(car, GREY, frames=100_000, pause_s=0.05))
        try:
            for query in queries():
                assert await eventually(address, query)
            assert await eventually(address, "steerstream_load > 0")
            (group,) = (await asyncio.to_thread(ask, address, "rules"))["groups"]
            assert {rule["name"]: rule["health"] for rule in group["rules"]} == dict.fromkeys(
                alerts(), "ok"
            )
            names = set(await asyncio.to_thread(ask, address, "label/__name__/values"))
            for text in (RULES.read_text(), DASHBOARD.read_text()):
                assert set(re.findall(r"\bsteerstream_[a-z_]+", text)) <= names
            assert not driving.done()
        finally:
            driving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await driving


def test_labels_that_rules_and_dashboard_choose_by_are_the_servers_own() -> None:
    from steerstream_service.domain import SkipReason
    from steerstream_service.errors import ErrorReason
    from steerstream_service.telemetry.observer import ENDINGS

    known = {item.name.lower() for item in (*SkipReason, *ErrorReason)} | set(ENDINGS)
    text = RULES.read_text() + "".join(queries())
    chosen = re.findall(r'\b(?:reason|ended_by|cause)=~?"([^"]+)"', text)
    assert len(chosen) >= 5
    assert {value for values in chosen for value in values.split("|")} <= known


def test_panels_have_titles_of_their_own_and_do_not_overlap() -> None:
    assert len({panel["title"] for panel in panels()}) == len(panels())

    def cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
        for x in range(place["x"], place["x"] + place["w"]):
            yield from ((x, y) for y in range(place["y"], place["y"] + place["h"]))

    taken = [cell for panel in panels() for cell in cells(panel["gridPos"])]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24


def test_the_dashboard_asks_the_data_source_that_is_provisioned() -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    asked = {target["datasource"]["uid"] for panel in panels() for target in panel["targets"]}
    assert asked == {source["uid"]}
