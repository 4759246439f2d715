"""One optimiser step of truncated back-propagation through time, and all state that it carries.

Several processes take the step together, each with its share of the rows: see
`model_export.parallel`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from model_export import parallel
from model_export.config import Config, StageConfig
from model_export.data.sequences import Batch
from model_export.networks import DrivingNetwork, State
from model_export.networks.parts.losses import Losses, MaskedLoss


class Learner:
    """Trains one network through one stage, batch by batch.

    Args:
        network: trained in place.
        config: the run's configuration.
        stage: its stage.
        rows: sequences side by side in the whole batch.

    Attributes:
        average: exponential moving average of the weights and of the running statistics.
    """

    def __init__(
        self, network: DrivingNetwork, config: Config, stage: StageConfig, rows: int
    ) -> None:
        self._network, self._stage, self._training = network, stage, config.training
        _freeze(network, stage)
        self._loss = MaskedLoss(config.heads).to(network.device)
        self._optimiser = AdamW(_parameter_groups(network, stage, config.training.weight_decay))
        average = get_ema_multi_avg_fn(config.training.ema_decay)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(network, multi_avg_fn=average, use_buffers=True)
        self._rows = rows
        self._state: State = _detached(network.learning_state(len(range(rows)[parallel.share()])))

    @property
    def averaged(self) -> DrivingNetwork:
        """The averaged network, in evaluation mode."""
        network = self.average.module.eval()
        assert isinstance(network, DrivingNetwork)  # noqa: S101
        return network

    def learning_rate(self, step: int, spent: float = 0.0) -> float:
        """Return the learning rate at a step: linear warm-up, then a cosine to zero.

        Args:
            step: of the stage.
            spent: share of the stage's time that is spent: where time is short, the rate decays
                with it.
        """
        warm = min(1.0, (step + 1) / self._training.warm_up)
        done = max(step / self._stage.steps, min(spent, 1.0))
        return self._stage.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * done))

    def step(self, batch: Batch, step: int, spent: float = 0.0) -> Losses:
        """Learn from one batch; return the losses before the step.

        Args:
            batch: this process's rows.
            step: of the stage.
            spent: see `learning_rate`.

        Returns:
            This process's part of the losses: those of the batch are the sum over all processes.
        """
        self._train_mode()
        for group in self._optimiser.param_groups:
            group["lr"] = group["rate"] * self.learning_rate(step, spent)
        losses, state = self._judged(batch, self._carried(self._moved(batch.resets)))
        self._optimiser.zero_grad()
        (losses.mean + losses.stddev).backward()  # type: ignore[no-untyped-call]
        parallel.sum_gradients(self._network)
        self._clip()
        self._optimiser.step()
        self.average.update_parameters(self._network)
        # Detached, because the next window's gradient ends where this window began.
        self._state = _detached(state)
        return Losses(losses.mean.detach(), losses.stddev.detach())

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on, apart from the batches.

        All processes call it, and all get the same: the state of all rows, and every process's
        random numbers.
        """
        shares = parallel.gathered(([one.cpu() for one in self._state], _random_state()))
        return {
            "network": self._network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "state": [
                parallel.whole(parts) for parts in zip(*(state for state, _ in shares), strict=True)
            ],
            "random": [random for _, random in shares],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another learner of the same stage stood."""
        self._network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        mine, device = parallel.share(), self._network.device
        self._state = tuple(tensor[mine].to(device) for tensor in state["state"])
        # A process that was not there before keeps its own random numbers.
        if parallel.rank() < len(state["random"]):
            _set_random_state(state["random"][parallel.rank()])

    def _judged(self, batch: Batch, state: State) -> tuple[Losses, State]:
        frames, intervals_s = self._moved(batch.frames), self._moved(batch.intervals_s)
        if self._stage.plan_only:
            return self._network.foresee(frames, state, intervals_s)
        labels, weights = self._moved(batch.labels), self._moved(batch.weights)
        if labels.shape[2] == 1:
            labels = labels.squeeze(2)
        return self._network.learn(
            frames, labels, weights, state, self._loss, intervals_s=intervals_s
        )

    def _moved(self, array: npt.NDArray[np.generic]) -> Tensor:
        """Return an array as a tensor on the network's device."""
        tensor = torch.from_numpy(array)
        device = self._network.device
        if device.type != "cuda":
            return tensor.to(device)
        # From pinned memory the copy runs while the step before is still at work.
        return tensor.pin_memory().to(device, non_blocking=True)

    def _clip(self) -> None:
        """Bound the gradient of the means and that of the deviations, each by itself."""
        own = [weight for layer in self._network.log_stddevs for weight in layer.parameters()]
        known = {id(weight) for weight in own}
        others = [weight for weight in self._network.parameters() if id(weight) not in known]
        for weights in (own, others):
            nn.utils.clip_grad_norm_(weights, self._training.clip_norm)

    def _train_mode(self) -> None:
        stage = self._stage
        self._network.train(not (stage.stddev_only or stage.plan_only))
        if stage.plan_only:
            for module in self._network.planning():
                module.train()
        if stage.freeze_statistics:
            for module in self._network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001
                    module.eval()

    def _carried(self, resets: torch.Tensor) -> State:
        initial = self._network.learning_state(len(resets))
        return tuple(
            torch.where(resets.view(-1, *[1] * (now.dim() - 1)), first, now)
            for first, now in zip(initial, self._state, strict=True)
        )


def _random_state() -> list[Tensor]:
    """Return the state of the generators that dropout draws from: the processor's, the GPU's."""
    gpu = [torch.cuda.get_rng_state()] if torch.cuda.is_available() else []
    return [torch.get_rng_state(), *gpu]


def _set_random_state(state: list[Tensor]) -> None:
    torch.set_rng_state(state[0])
    if torch.cuda.is_available() and len(state) > 1:
        torch.cuda.set_rng_state(state[1])


def _detached(state: State) -> State:
    return tuple(tensor.detach() for tensor in state)


def _freeze(network: DrivingNetwork, stage: StageConfig) -> None:
    """Freeze what a stage leaves as it is: no graph is built there, so a step costs a third."""
    network.requires_grad_(not (stage.stddev_only or stage.plan_only))
    if stage.plan_only:
        for module in network.planning():
            module.requires_grad_(True)  # noqa: FBT003
        return
    if stage.encoder_rate == 0:
        for module in network.encoder():
            module.requires_grad_(False)  # noqa: FBT003
    for layer in network.log_stddevs:
        layer.requires_grad_(True)  # noqa: FBT003


def _parameter_groups(
    network: DrivingNetwork, stage: StageConfig, weight_decay: float
) -> list[dict[str, Any]]:
    """Split the weights by learning rate, and into those that decay and those that do not."""
    encoder = {id(item) for module in network.encoder() for item in module.parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in trained:
        rate = stage.encoder_rate if id(parameter) in encoder else 1.0
        decay = weight_decay if parameter.dim() > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return [
        {"params": parameters, "rate": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]
