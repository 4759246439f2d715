"""Images and compose file: linters, and the Dockerfile's steps in a folder. No Docker runs."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from steerstream_service import config
from tests.deploy import dockerfile
from tests.deploy.fleet import SETTINGS, Program, drive, free_port, session
from tests.deploy.tools import DEPLOY, ROOT, tool

DOCKERFILE = DEPLOY / "docker/Dockerfile"
COMPOSE = DEPLOY / "compose.yaml"
GPU = DEPLOY / "compose.gpu.yaml"
AFTER_DRAIN_S = 5
GREY = np.full((66, 200, 3), 100, np.uint8)


def checked(*command: object) -> None:
    result = subprocess.run(
        [*map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def services() -> dict[str, dict[str, Any]]:
    return yaml.safe_load(COMPOSE.read_text())["services"]


def test_hadolint_finds_nothing_wrong_with_the_dockerfile() -> None:
    checked(tool("hadolint"), DOCKERFILE)


@pytest.mark.parametrize("file", [COMPOSE, GPU], ids=lambda file: file.name)
def test_compose_files_keep_the_schema(file: Path) -> None:
    checked(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", file)


def test_the_build_is_sent_what_it_copies() -> None:
    sent = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    for name, rest in dockerfile.instructions(DOCKERFILE):
        if name == "COPY" and not rest.startswith("--from"):
            assert {f"!{source}" for source in rest.split()[:-1]} <= set(sent)


def test_mounted_files_and_folders_exist() -> None:
    mounts = [mount for service in services().values() for mount in service.get("volumes", [])]
    places = [mount.split(":")[0] for mount in mounts if mount.startswith("./")]
    assert len(places) >= 5
    assert [place for place in places if not (DEPLOY / place).exists()] == []


def test_envoy_and_prometheus_name_the_services_of_the_compose_file() -> None:
    servers = {name for name in services() if name.startswith("server-")}
    assert len(servers) == 2
    envoy = yaml.safe_load((DEPLOY / "envoy/envoy.yaml").read_text())
    (cluster,) = envoy["static_resources"]["clusters"]
    (group,) = cluster["load_assignment"]["endpoints"]
    addresses = [item["endpoint"]["address"]["socket_address"] for item in group["lb_endpoints"]]
    assert {item["address"] for item in addresses} == servers
    scraping = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    (static,) = scraping["scrape_configs"][0]["static_configs"]
    assert {target.partition(":")[0] for target in static["targets"]} == servers


def test_services_are_published_on_this_machine_only() -> None:
    ports = [port for service in services().values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_docker_waits_for_the_whole_drain() -> None:
    drain_s = config.parse(SETTINGS.read_text()).drain_s
    for name in ("server-1", "server-2"):
        grace = services()[name]["stop_grace_period"]
        assert int(grace.removesuffix("s")) >= drain_s + AFTER_DRAIN_S


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> dockerfile.Image:
    """The Dockerfile's steps, run; takes the packages from the registry, as a build does."""
    image = dockerfile.Image(tmp_path_factory.mktemp("image"), ROOT)
    image.build(DOCKERFILE)
    return image


def written(root: Path) -> Iterator[tuple[str, float]]:
    """Every file of the image, and when it was written."""
    for path in root.rglob("*"):
        if not path.is_symlink():
            yield str(path), path.stat().st_mtime


@pytest.mark.timeout(300)  # for the packages
async def test_the_images_command_serves_and_its_health_check_sees_it(
    image: dockerfile.Image, tmp_path: Path
) -> None:
    port, metrics = free_port(), free_port()
    places = {
        "0.0.0.0:50051": f"127.0.0.1:{port}",
        "127.0.0.1:50051": f"127.0.0.1:{port}",
        "0.0.0.0:9464": f"127.0.0.1:{metrics}",
    }
    commands = {
        name: [places.get(word, word) for word in words] for name, words in image.commands.items()
    }
    environment = {**image.environment, "HOME": str(tmp_path)}

    async def healthy() -> int:
        check = await Program.start(*commands["HEALTHCHECK"], cwd=tmp_path, env=environment)
        try:
            return await check.ended()
        finally:
            await check.stop()

    before = dict(written(image.root))
    assert await healthy() == 1
    server = await Program.start(
        *commands["ENTRYPOINT"], *commands["CMD"], cwd=tmp_path, env=environment
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(server.stop)
        await server.says('"serving"')
        assert await healthy() == 0
        async with session(f"127.0.0.1:{port}", "car") as car:
            await drive(car, GREY, frames=2)
    assert dict(written(image.root)) == before


def test_the_image_runs_as_a_user_without_rights(image: dockerfile.Image) -> None:
    assert image.user == "10001:10001"
