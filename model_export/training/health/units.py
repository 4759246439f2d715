"""Units that never fire: rectifiers whose output is never above zero, whatever the camera sees.

A rectifier (ReLU, ReLU6, ELU) fires where its input is above zero. A unit is one channel of a
convolution, at all places of the picture together, or one number of a fully connected layer. One
that fires at no frame is dead: a ReLU's passes no gradient, so it stays so.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from model_export.networks import DrivingNetwork

RECTIFIERS: Mapping[str, str] = {"relu": "ReLU", "relu6": "ReLU6", "elu": "ELU"}
"""Names of torch's functions, and what they are called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFiring:
    """How the units of one rectified layer fire.

    Attributes:
        layer: name in the network of the last module with weights before the rectifier.
        rectifier: `ReLU`, `ReLU6` or `ELU`.
        units: of the layer.
        dead: units that never fire.
        firing: share of all values, over units, places and frames, that are above zero.
    """

    layer: str
    rectifier: str
    units: int
    dead: int
    firing: float

    def summary(self) -> dict[str, Any]:
        """Return all figures as plain values."""
        return {name: getattr(self, name) for name in self.__slots__}


class _Tally:
    """How often one layer's units have fired so far."""

    def __init__(self, units: int) -> None:
        self.fired = torch.zeros(units, dtype=torch.bool)
        self.above = 0
        self.values = 0

    def add(self, values: Tensor) -> None:
        """Count values [..., units]."""
        above = values > 0
        self.fired |= above.flatten(0, -2).any(0)
        self.above += int(above.sum())
        self.values += above.numel()


class UnitWatch:
    """Counts what every rectifier of a network gives while `watching`.

    Rectifiers are caught as torch's functions are called, because networks call these as often as
    they hold modules of them.

    Args:
        network: whose modules give the layers their names.
    """

    def __init__(self, network: DrivingNetwork) -> None:
        self._weighted = {
            name: part
            for name, part in network.named_modules()
            if name and any(True for _ in part.parameters())
        }
        self._last = ""
        self._tallies: dict[tuple[str, str], _Tally] = {}

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Count what the network does while the block runs."""
        hooks = [
            part.register_forward_hook(functools.partial(self._passed, name))
            for name, part in self._weighted.items()
        ]
        try:
            with _Rectifiers(self._count):
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def layers(self) -> tuple[LayerFiring, ...]:
        """Return what was counted, in the order in which the layers first ran."""
        return tuple(
            LayerFiring(
                layer=layer,
                rectifier=rectifier,
                units=len(tally.fired),
                dead=int((~tally.fired).sum()),
                firing=tally.above / tally.values,
            )
            for (layer, rectifier), tally in self._tallies.items()
        )

    def _passed(self, name: str, _part: nn.Module, _inputs: Any, _outputs: Any) -> None:  # noqa: ANN401
        self._last = name

    def _count(self, rectifier: str, values: Tensor) -> None:
        by_unit = values.movedim(_unit_axis(values), -1)
        tally = self._tallies.setdefault((self._last, rectifier), _Tally(by_unit.shape[-1]))
        tally.add(by_unit)


class _Rectifiers(TorchFunctionMode):
    """Tells of every rectifier that is applied while the mode is on."""

    def __init__(self, tell: Callable[[str, Tensor], None]) -> None:
        super().__init__()
        self._tell = tell

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        result = func(*args, **(kwargs or {}))
        # A function that works in place has an underscore at the end of its name.
        rectifier = RECTIFIERS.get(getattr(func, "__name__", "").rstrip("_"))
        if rectifier is not None:
            self._tell(rectifier, result)
        return result


def _unit_axis(values: Tensor) -> int:
    """Return where the units are: after the batch in [N, C] and [N, C, height, width].

    Windows have one more axis before them: [B, T, C] and [B, T, C, height, width].
    """
    return 1 + values.dim() % 2
