"""One optimiser step of truncated back-propagation through time, and all state that it carries."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

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
        rows: sequences side by side in a batch.

    Attributes:
        average: exponential moving average of the weights and of the running statistics.
    """

    def __init__(
        self, network: DrivingNetwork, config: Config, stage: StageConfig, rows: int
    ) -> None:
        self._network, self._stage, self._training = network, stage, config.training
        self._loss = MaskedLoss(config.heads)
        _freeze(network, stage)
        self._optimiser = AdamW(_parameter_groups(network, stage, config.training.weight_decay))
        average = get_ema_multi_avg_fn(config.training.ema_decay)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(network, multi_avg_fn=average, use_buffers=True)
        self._state: State = _detached(network.learning_state(rows))

    @property
    def averaged(self) -> DrivingNetwork:
        """The averaged network, in evaluation mode."""
        network = self.average.module.eval()
        assert isinstance(network, DrivingNetwork)  # noqa: S101
        return network

    def learning_rate(self, step: int) -> float:
        """Return the learning rate at a step: linear warm-up, then a cosine to zero."""
        warm = min(1.0, (step + 1) / self._training.warm_up)
        return (
            self._stage.learning_rate
            * warm
            * 0.5
            * (1 + math.cos(math.pi * step / self._stage.steps))
        )

    def step(self, batch: Batch, step: int) -> Losses:
        """Learn from one batch; return the losses before the step."""
        self._train_mode()
        for group in self._optimiser.param_groups:
            group["lr"] = group["rate"] * self.learning_rate(step)
        state = self._carried(torch.from_numpy(batch.resets))
        labels = torch.from_numpy(batch.labels)
        losses, state = self._network.learn(
            torch.from_numpy(batch.frames),
            labels.squeeze(2) if labels.shape[2] == 1 else labels,
            torch.from_numpy(batch.weights),
            state,
            self._loss,
            intervals_s=torch.from_numpy(batch.intervals_s),
        )
        self._optimiser.zero_grad()
        (losses.mean + losses.stddev).backward()  # type: ignore[no-untyped-call]
        self._clip()
        self._optimiser.step()
        self.average.update_parameters(self._network)
        # Detached, because the next window's gradient ends where this window began.
        self._state = _detached(state)
        return Losses(losses.mean.detach(), losses.stddev.detach())

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on, apart from the batches."""
        return {
            "network": self._network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "state": list(self._state),
            "torch_rng": torch.get_rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another learner of the same stage stood."""
        self._network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._state = tuple(state["state"])
        torch.set_rng_state(state["torch_rng"])

    def _clip(self) -> None:
        """Bound the gradient of the means and that of the deviations, each by itself."""
        own = [weight for layer in self._network.log_stddevs for weight in layer.parameters()]
        known = {id(weight) for weight in own}
        others = [weight for weight in self._network.parameters() if id(weight) not in known]
        for weights in (own, others):
            nn.utils.clip_grad_norm_(weights, self._training.clip_norm)

    def _train_mode(self) -> None:
        self._network.train(not self._stage.stddev_only)
        if self._stage.freeze_statistics:
            for module in self._network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001
                    module.eval()

    def _carried(self, resets: torch.Tensor) -> State:
        initial = self._network.learning_state(len(resets))
        return tuple(
            torch.where(resets.view(-1, *[1] * (now.dim() - 1)), first, now)
            for first, now in zip(initial, self._state, strict=True)
        )


def _detached(state: State) -> State:
    return tuple(tensor.detach() for tensor in state)


def _freeze(network: DrivingNetwork, stage: StageConfig) -> None:
    """Freeze what a stage leaves as it is: no graph is built there, so a step costs a third."""
    network.requires_grad_(not stage.stddev_only)
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
