"""Several processes take the steps of one, end as one, and any number of them can go on."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from model_export import config as configs
from model_export import parallel
from model_export.__main__ import main
from model_export.data.sequences import Batch
from model_export.errors import DataError, ProcessError
from model_export.networks import DrivingNetwork, build
from model_export.networks.parts.batch_norm import BatchNorm2d
from model_export.networks.parts.locked_dropout import LockedDropout
from model_export.run import RunFolder
from model_export.training.hardware import Hardware
from model_export.training.history import read
from model_export.training.learner import Learner
from model_export.training.trainer import train
from tests.model_export.builders import CASES, configured, uneven_batch
from tests.model_export.processes import in_processes


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_normalisation_is_that_of_the_whole_batch():
    rows = torch.randn(5, 3, 4, 6, generator=torch.Generator().manual_seed(0)) * 2 + 30

    def work() -> Any:
        norm = BatchNorm2d(3)
        mine = rows[parallel.share()].clone().requires_grad_()
        normed = norm(mine)
        (normed.sin() * normed).sum().backward()
        return normed.detach(), mine.grad, norm.state_dict()

    ((all_rows, gradient, state),) = [work()]
    shares = in_processes(2, work)
    close(parallel.whole([share[0] for share in shares]), all_rows)
    close(parallel.whole([share[1] for share in shares]), gradient)
    for _, _, own in shares:
        for name, value in state.items():
            close(own[name], value)


def undropped(config: configs.Config) -> DrivingNetwork:
    """A network that drops nothing, since what is dropped is drawn in each process."""
    torch.manual_seed(0)
    network = build(config)
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif isinstance(module, LockedDropout):
            module._share = 0.0
    return network


def gradients(config: configs.Config) -> dict[str, torch.Tensor]:
    """The gradients of a step with this process's share of a batch."""
    network = undropped(config)
    batch = uneven_batch(config, len(network.label_times_s))
    stage = dataclasses.replace(config.stage[1], freeze_statistics=False)
    learner = Learner(network, config, stage, rows=3)
    learner.step(Batch(*(part[parallel.share()] for part in dataclasses.astuple(batch))), 0)
    return {
        name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None
    }


def test_gradients_of_every_network_are_those_of_one_process(tiny: configs.Config):
    cases = [configured(tiny, kind, settings) for _, kind, settings in CASES]
    alone = [gradients(config) for config in cases]
    first, second = in_processes(2, lambda: [gradients(config) for config in cases])
    for (name, *_), one, left, right in zip(CASES, alone, first, second, strict=True):
        assert one.keys() == left.keys() == right.keys(), name
        for weight, gradient in one.items():
            assert torch.equal(left[weight], right[weight]), (name, weight)
            close(left[weight], gradient)


Train = Callable[..., Any]


@pytest.fixture
def undropped_toml(tiny_config: Path) -> Path:
    tiny_config.write_text(
        tiny_config.read_text().replace("hidden = 6", "hidden = 6, dropout = 0.0")
    )
    return tiny_config


@pytest.fixture
def trained(small_data: Path, tmp_path: Path) -> Train:
    """Train a configuration in a folder; return the result."""

    def run_in(config: Path, name: str, loaders: int = 0) -> Any:
        run, hardware = RunFolder(tmp_path / name), Hardware(loaders=loaders)
        return train(config, run, small_data, tmp_path / "cache", hardware=hardware)

    return run_in


@contextlib.contextmanager
def at_step(step: int, act: Callable[[], None]) -> Iterator[None]:
    """Act before a step of the optimiser, counted through all stages."""
    real, taken = Learner.step, itertools.count()

    def acting(self, *arguments):
        if next(taken) == step:
            act()
        return real(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "step", acting)
        yield


def stop() -> None:
    signal.raise_signal(signal.SIGTERM)


def test_two_processes_end_with_the_scores_of_one(
    undropped_toml: Path, trained: Train, tmp_path: Path
):
    alone = trained(undropped_toml, "alone")
    first, second = in_processes(2, lambda: trained(undropped_toml, "both", loaders=1))
    assert first.scores == second.scores
    assert first.scores[0].rmse == pytest.approx(alone.scores[0].rmse, rel=1e-3)
    entries, expected = (
        [json.loads(line) for line in RunFolder(tmp_path / name).metrics.read_text().splitlines()]
        for name in ("both", "alone")
    )
    assert [one["loss"] for one in entries] == pytest.approx(
        [one["loss"] for one in expected], rel=1e-3
    )


def test_a_run_of_one_process_goes_on_in_two(undropped_toml: Path, trained: Train, tmp_path: Path):
    unbroken = trained(undropped_toml, "unbroken")
    with pytest.raises(KeyboardInterrupt), at_step(6, stop):
        trained(undropped_toml, "run")
    first, _ = in_processes(2, lambda: trained(undropped_toml, "run"))
    assert first.scores[0].rmse == pytest.approx(unbroken.scores[0].rmse, rel=1e-3)
    entries = RunFolder(tmp_path / "run").metrics.read_text().splitlines()
    assert [json.loads(line)["step"] for line in entries] == [2, 4, 6, 8, 9]


def test_an_interrupt_of_one_process_stops_both_and_leaves_what_they_learned(
    tiny_config: Path, trained: Train
):
    def interrupted() -> bool:
        with at_step(6, stop if parallel.rank() else lambda: None):
            try:
                trained(tiny_config, "run")
            except KeyboardInterrupt:
                return True
        return False

    unbroken, _ = in_processes(2, lambda: trained(tiny_config, "unbroken"))
    assert in_processes(2, interrupted) == [True, True]
    resumed, _ = in_processes(2, lambda: trained(tiny_config, "run"))
    assert resumed.scores == unbroken.scores
    for name, value in unbroken.weights.items():
        assert torch.equal(resumed.weights[name], value), name


def test_an_error_in_one_process_is_that_of_all(tiny_config: Path, trained: Train):
    def failing() -> str:
        def fail(*_: Any, **__: Any) -> None:
            raise DataError("labels.csv: no such file")

        with pytest.MonkeyPatch.context() as patch:
            if parallel.rank() == 1:
                patch.setattr("model_export.training.trainer.read_source", fail)
            try:
                trained(tiny_config, "run")
            except DataError as error:
                return str(error)
        return "none"

    assert in_processes(2, failing) == ["labels.csv: no such file"] * 2


def test_more_processes_than_rows_are_refused(tiny_config: Path, trained: Train):
    def refused() -> str:
        with pytest.raises(ProcessError) as caught:
            trained(tiny_config, "run")
        return str(caught.value)

    (message, *others) = in_processes(3, refused)
    assert "3 processes for the 2 rows of a batch of stage 'sequences'" in message
    assert others == [message] * 2


def test_a_killed_process_ends_the_command_and_one_process_goes_on(
    tiny_config: Path, small_data: Path, tmp_path: Path
):
    endless = tiny_config.read_text().replace("steps = 4\n", "steps = 1000000\n")
    tiny_config.write_text(endless)
    run = RunFolder(tmp_path / "run")
    command = ["-m", "model_export", "train", "--config", str(tiny_config), "--device", "cpu"]
    command += ["--data", str(small_data), "--out", str(run.path)]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "GLOO_SOCKET_IFNAME": "lo"}
    with subprocess.Popen(
        [*torchrun, "--nproc-per-node", "2", *command],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as both:
        try:
            wait_for(run.checkpoint.is_file)
            os.kill(process_of(both.pid, rank=1), signal.SIGKILL)
            said = both.communicate()[1]
        finally:
            both.terminate()
    assert both.returncode != 0
    (line,) = [line for line in said.splitlines() if line.startswith("model_export: ")]
    assert "another process of this run ended" in line
    assert "the same command goes on from the last checkpoint" in line
    before = torch.load(run.checkpoint, weights_only=True)["progress"]
    assert main([*command[2:], "--minutes", "0.000001"]) == 0
    assert torch.load(run.checkpoint, weights_only=True)["progress"][0] == 1
    first = [entry for entry in read(run) if entry["stage"] == "frames"]
    assert first[-1]["step"] == before[1] + 1


def wait_for(happened: Callable[[], bool]) -> None:
    for _ in range(2000):
        if happened():
            return
        time.sleep(0.05)
    raise AssertionError("it never happened")


def process_of(parent: int, *, rank: int) -> int:
    """Return the process that `torchrun` started for a rank."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    (found,) = (
        int(child)
        for child in children
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
    )
    return found
