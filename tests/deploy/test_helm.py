"""The Helm chart: Helm's own checks, Kubernetes' schemas, and what the server reads of it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import steerstream
from steerstream_service import config
from steerstream_service.process import command
from tests.deploy import dockerfile
from tests.deploy.fleet import SETTINGS
from tests.deploy.tools import DEPLOY, ROOT, tool

CHART = DEPLOY / "helm/steerstream"
OLDEST, NEWEST = "1.27", "1.37"
"""Versions of Kubernetes; the chart says the older, and `kubernetes-validate` knows both."""
PLAIN: tuple[str, ...] = ()
FULL = (
    "--set=autoscaling.enabled=true",
    "--set=secrets={keys,tokens}",
    "--set=tls.secret=server",
    "--set=imagePullSecrets[0].name=registry",
    "--set=resources.limits.nvidia\\.com/gpu=1",
    '--set-json=tolerations=[{"key":"gpu","operator":"Exists"}]',
    "--set-string=server.settings=max_load = 0.7\nidle_timeout_s = 600.0",
)


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tool("helm"), *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def rendered(*values: str) -> str:
    result = helm("template", "fleet", CHART, "--namespace", "cars", *values)
    assert result.returncode == 0, result.stderr
    return result.stdout


def resources(*values: str) -> dict[str, dict[str, Any]]:
    """What the chart makes, by kind."""
    return {item["kind"]: item for item in yaml.safe_load_all(rendered(*values)) if item}


@pytest.mark.parametrize("values", [PLAIN, FULL], ids=["plain", "full"])
def test_helm_finds_nothing_wrong_with_the_chart(values: tuple[str, ...]) -> None:
    result = helm("lint", "--strict", CHART, *values)
    assert result.returncode == 0, result.stdout
    assert "[WARNING]" not in result.stdout


@pytest.mark.parametrize("values", [PLAIN, FULL], ids=["plain", "full"])
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_takes_what_the_chart_makes(
    values: tuple[str, ...], version: str, tmp_path: Path
) -> None:
    file = tmp_path / "rendered.yaml"
    file.write_text(rendered(*values))
    result = subprocess.run(
        [tool("kubernetes-validate"), "--strict", "-k", version, file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(re.findall("passed for resource", result.stdout + result.stderr)) == 5 + bool(values)


@pytest.mark.parametrize(
    "value",
    ["replica=3", "server.port=1", "replicas=0", "autoscaling.targetLoadPercent=120"],
)
def test_a_wrong_value_is_refused(value: str) -> None:
    result = helm("template", "fleet", CHART, "--set", value)
    assert result.returncode != 0
    assert value.partition("=")[0].rpartition(".")[2] in result.stderr


def test_the_drain_is_set_in_one_place() -> None:
    result = helm("template", "fleet", CHART, "--set-string", "server.settings=drain_s = 5.0")
    assert result.returncode != 0
    assert "settings" in result.stderr


@pytest.mark.parametrize("values", [PLAIN, FULL], ids=["plain", "full"])
def test_kubernetes_waits_for_the_whole_drain(values: tuple[str, ...]) -> None:
    made = resources(*values)
    settings = config.parse(made["ConfigMap"]["data"]["server.toml"])
    pod = made["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    sleep, pause_s = container["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == "sleep"
    assert pod["terminationGracePeriodSeconds"] >= float(pause_s) + settings.drain_s + 5
    assert settings.drain_s == config.parse(SETTINGS.read_text()).drain_s
    assert settings.max_load == (0.7 if values else config.Config().max_load)


@pytest.mark.parametrize("values", [PLAIN, FULL], ids=["plain", "full"])
def test_the_server_takes_its_options_on_the_ports_that_are_probed(values: tuple[str, ...]) -> None:
    (container,) = resources(*values)["Deployment"]["spec"]["template"]["spec"]["containers"]
    name, *options = container["args"]
    assert name == "serve"
    parsed = command._parser().parse_args(options)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert parsed.listen == f"0.0.0.0:{ports['grpc']}"
    assert parsed.metrics.port == ports["metrics"]
    probed = "admin" if values else "grpc"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"]["port"] == ports[probed]
    if values:
        assert str(parsed.admin_listen) == f"0.0.0.0:{ports['admin']}"
    assert (parsed.plaintext, parsed.admin_plaintext) == (not values, bool(values))


def test_the_files_of_tls_are_mounted_where_the_server_looks_for_them() -> None:
    pod = resources(*FULL)["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    parsed = command._parser().parse_args(container["args"][1:])
    (mount,) = (mount for mount in container["volumeMounts"] if mount["name"] == "tls")
    assert "subPath" not in mount, "a file of its own would never change"
    for path in (parsed.tls_cert, parsed.tls_key, parsed.client_ca):
        assert str(path.parent) == mount["mountPath"]
    (volume,) = (volume for volume in pod["volumes"] if volume["name"] == "tls")
    assert volume["secret"]["secretName"] == "server"


def test_the_pod_runs_as_the_images_user_without_rights() -> None:
    pod = resources()["Deployment"]["spec"]["template"]["spec"]
    users = [
        rest
        for name, rest in dockerfile.instructions(DEPLOY / "docker/Dockerfile")
        if name == "USER"
    ]
    security = pod["securityContext"]
    assert [f"{security['runAsUser']}:{security['runAsGroup']}"] == users
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_autoscaling_follows_the_servers_own_load() -> None:
    made = resources("--set=autoscaling.enabled=true")
    assert "replicas" not in made["Deployment"]["spec"]
    (metric,) = made["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert metric["pods"] == {
        "metric": {"name": "steerstream_load"},
        "target": {"type": "AverageValue", "averageValue": "700m"},
    }


def test_secrets_are_mounted_read_only() -> None:
    pod = resources(*FULL)["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    for name in ("keys", "tokens"):
        assert mounts[f"/etc/steerstream/secrets/{name}"]["readOnly"]


def test_prometheus_operator_is_told_the_job_that_the_rules_name() -> None:
    made = resources("--set=prometheus.podMonitor=true")
    label = made["PodMonitor"]["spec"]["jobLabel"]
    labels = made["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert f'job="{labels[label]}"' in (DEPLOY / "prometheus/rules.yml").read_text()


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == steerstream.__version__
    assert chart["kubeVersion"].startswith(f">={OLDEST}.")
