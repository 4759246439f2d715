"""How far the picture moved sideways between two frames: a correlation layer, as in FlowNet.

A turning camera moves what it sees sideways, all distances alike, so the best match of two
neighbouring frames tells the yaw rate, and with it the curvature that the vehicle is driving. No
weights: bands of the picture are compared at every shift (normalised cross-correlation), and the
soft maximum of each curve gives a shift in parts of a pixel. FlowNet's correlation layer (arXiv
1504.06852), in one dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from model_export.config import FrameConfig
from model_export.networks.parts.comparison import Comparison
from model_export.networks.parts.convolutions import folded

BANDS = ((0.02, 0.24), (0.19, 0.41), (0.33, 0.5))
"""Rows from the far to the near, above the vehicle's nose, in a picture without most of its sky."""

_LOW_BANDS = ((0.0, 0.12), (0.08, 0.2), (0.16, 0.28))
"""The same where the picture begins just above the horizon and is 200 columns wide."""
_LOW_REACH = 12
_GREEN = 1

_BLUR = (1.0, 4.0, 6.0, 4.0, 1.0)
"""Binomial: correlation finds parts of a pixel only where neighbouring columns are alike."""
_VERTICAL = _COARSE = 2
"""Rows that are averaged: sideways motion needs no fine rows."""
_UNIT_PX = 8.0
_UNIT_GREY = 64.0
_EPSILON = 1e-3


class SidewaysMotion(Comparison):
    """Shift in pixels and likeness of two frames, band by band.

    Args:
        height: rows of the picture; those of the bands are used.
        width: its columns.
        bands: first and last row of each band, as fractions of the height.
        reach: greatest shift in columns, either way.
        sharpness: of the soft maximum; large enough that one peak decides.
        coarse: look at every two columns as one, and at green alone. No less is found, in half the
            time.
    """

    name = "look"

    def __init__(
        self,
        height: int,
        width: int,
        *,
        bands: tuple[tuple[float, float], ...],
        reach: int = 40,
        sharpness: float = 60.0,
        coarse: bool = False,
    ) -> None:
        super().__init__()
        rows = [(round(top * height), round(bottom * height)) for top, bottom in bands]
        self._first, self._last = min(top for top, _ in rows), max(bottom for _, bottom in rows)
        self._bands = [
            ((top - self._first) // _VERTICAL, (bottom - self._first) // _VERTICAL)
            for top, bottom in rows
        ]
        self._alike = len({end - top for top, end in self._bands}) == 1
        self._reach, self._sharpness = reach, sharpness
        self._coarse = coarse
        columns = _COARSE if coarse else 1
        self._averaged = (_VERTICAL, columns)
        green = torch.zeros(_VERTICAL, columns, 3)
        green[..., _GREEN] = 1 / (_VERTICAL * columns)
        self.register_buffer("green", green.view(1, 1, _VERTICAL, -1), persistent=False)
        self.shape = ((self._last - self._first) // _VERTICAL, width // columns)
        self.lengths, self.width = len(bands), 2 * len(bands)
        shifts = torch.arange(-reach, reach + 1)
        self.register_buffer("shifts", shifts.float(), persistent=False)
        blur = torch.tensor(_BLUR).view(1, 1, 1, -1) / (16 * _UNIT_GREY)
        self.register_buffer("blur", blur, persistent=False)

    def look(self, frames: Tensor) -> Tensor:
        """Turn frames into blurred rows and columns [N, *shape]; see `Comparison.look`."""
        rows = frames[:, self._first : self._last].float()
        if self._coarse:
            # A filter over the bytes as they lie: taking green out first costs ten times as much.
            green = self.get_buffer("green")
            side_by_side = rows.reshape(-1, 1, rows.shape[1], rows.shape[2] * rows.shape[3])
            averaged = functional.conv2d(side_by_side, green, stride=green.shape[2:])
        else:
            averaged = functional.avg_pool2d(rows.mean(-1)[:, None], self._averaged)
        blurred = functional.conv2d(averaged, self.get_buffer("blur"), padding=(0, 2))
        return blurred.flatten(1, 2).clamp_max(4.0)

    def forward(self, before: Tensor, now: Tensor) -> Tensor:
        """Compare two looks [N, *shape].

        Returns:
            [N, width]: each band's shift in units of eight pixels, then each band's likeness.
        """
        if self._alike:
            # Side by side as one batch: a small network's time is the number of its operations.
            stacked = (self._side_by_side(look) for look in (before, now))
            joined = self._curve(*stacked)
            curves = joined.reshape(-1, len(self._bands), joined.shape[-1])
        else:
            curves = torch.stack(
                [self._curve(before[:, top:end], now[:, top:end]) for top, end in self._bands],
                dim=1,
            )
        weights = torch.softmax(self._sharpness * curves, dim=-1)
        shift = (weights * self.get_buffer("shifts")).sum(-1) / _UNIT_PX
        return torch.cat((shift, curves.amax(-1)), dim=1)

    def _side_by_side(self, look: Tensor) -> Tensor:
        """Return bands of equal height [N * bands, rows, width]."""
        rows = torch.tensor([row for top, end in self._bands for row in range(top, end)])
        return look.index_select(1, rows.to(look.device)).reshape(
            -1, len(rows) // len(self._bands), look.shape[2]
        )

    def _curve(self, before: Tensor, now: Tensor) -> Tensor:
        """Return the correlation [N, 2 reach + 1] of one band at every shift."""
        template = _centred(before)[..., self._reach : -self._reach]
        search = _centred(now)
        span = template.shape[-1]
        products = (template.transpose(1, 2) @ search).flatten(1)
        # A shift is a diagonal; with rows that are one number longer it becomes a column.
        slanted = folded(functional.pad(products, (0, span)), (span, -1))
        dots = slanted[..., : 2 * self._reach + 1].sum(1)
        energy = (search * search).sum(1, keepdim=True)
        energies = functional.avg_pool1d(energy, span, stride=1)[:, 0] * span
        own = (template * template).sum((1, 2))[:, None]
        return dots / (energies * own + _EPSILON).sqrt()


def motion_below_the_sky(frame: FrameConfig) -> SidewaysMotion:
    """Return the layer for a picture like PilotNet's, which shows the road alone."""
    return SidewaysMotion(
        frame.height_px, frame.width_px, bands=_LOW_BANDS, reach=_LOW_REACH, coarse=True
    )


def _centred(band: Tensor) -> Tensor:
    return band - band.mean((1, 2), keepdim=True)
