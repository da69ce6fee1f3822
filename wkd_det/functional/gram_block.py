"""Centred Gram matrices of a block of classes, given out in pieces."""

from __future__ import annotations

import torch
from torch import Tensor

KERNELS = ('linear', 'polynomial', 'rbf')


class GramBlock:
    """Centred Gram matrices ``H K H`` of some classes, never held as a whole.

    What a piece needs of its whole matrix (shift, size, median distance, row means) is computed
    once, here; classes for which it does not exist are listed and not computed.

    Args:
        features: Shape ``(classes, examples, dims)``.
        first: Index of the first of these classes among all.
        kernel: One of ``KERNELS``.
        degree: Of the polynomial kernel.
        bandwidth: Of the RBF kernel.
    """

    def __init__(
        self, features: Tensor, first: int, *, kernel: str, degree: int, bandwidth: float
    ) -> None:
        self.features = features
        self.kernel = kernel
        self.degree = degree
        self.row_mean: Tensor | None = None
        values = features.detach()
        eps = torch.finfo(values.dtype).eps
        least, largest = values.amin(1), values.amax(1)
        rounding = 8 * eps * torch.maximum(least.abs(), largest.abs())
        self.infinite = _indices(~torch.isfinite(largest - least).all(1), first)
        self.constant = _indices((largest - least <= rounding).all(1), first)
        self.coincident: list[int] = []
        if self.infinite or self.constant:
            return

        # Alignment ignores the size of a Gram matrix; at most about 1, its powers do not overflow.
        if kernel == 'polynomial':
            self.size = values.square().sum(2).amax(1)[:, None, None] + 1
            self.row_mean = self._entries(slice(None), slice(None)).mean(2, keepdim=True)
            return
        self.shift = features.mean(1, keepdim=True)
        self.size = (values - self.shift.detach()).square().sum(2).mean(1).sqrt()[:, None, None]
        if kernel == 'rbf':
            median = self._squared_distance(slice(None), slice(None)).flatten(1).median(1).values
            # The mean squared length is 1 now, and a distance of 0 comes out as its rounding.
            self.coincident = _indices(median <= 16 * eps, first)
            if not self.coincident:
                self.width = 2 * bandwidth**2 * median[:, None, None]
                self.row_mean = self._entries(slice(None), slice(None)).mean(2, keepdim=True)

    def piece(self, rows: slice, columns: slice) -> Tensor:
        """Some rows and columns of the matrices, shape ``(classes, rows, columns)``."""
        entries = self._entries(rows, columns)
        if self.row_mean is None:  # the linear kernel of centred features is centred
            return entries
        mean = self.row_mean.mean(1, keepdim=True)
        return entries - (self.row_mean[:, rows] - mean) - self.row_mean[:, columns].mT

    def _entries(self, rows: slice, columns: slice) -> Tensor:
        if self.kernel == 'rbf':
            return (-self._squared_distance(rows, columns) / self.width).exp()
        if self.kernel == 'polynomial':
            inner = self.features[:, rows] @ self.features[:, columns].mT
            return ((inner + 1) / self.size) ** self.degree
        return self._normalised(rows) @ self._normalised(columns).mT

    def _squared_distance(self, rows: slice, columns: slice) -> Tensor:
        left, right = self._normalised(rows), self._normalised(columns)
        lengths = left.square().sum(2)[:, :, None] + right.square().sum(2)[:, None]
        return (lengths - 2 * left @ right.mT).clamp(min=0)

    def _normalised(self, rows: slice) -> Tensor:
        return (self.features[:, rows] - self.shift) / self.size


def _indices(wrong: Tensor, first: int) -> list[int]:
    return (wrong.nonzero().flatten() + first).tolist()
