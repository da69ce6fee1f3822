"""Reduction of per-sample losses, with the meaning that MMDetection's losses give it."""

from __future__ import annotations

from torch import Tensor


def weighted_mean(
    per_sample: Tensor, weight: Tensor | None = None, avg_factor: float | Tensor | None = None
) -> Tensor:
    """Mean over samples of a loss.

    Convention:
        ``sum(weight * per_sample) / avg_factor``; without ``avg_factor`` the number of samples
        divides, whatever the weights are (as in ``mmdet.models.losses.weight_reduce_loss``).

    Args:
        per_sample: Shape ``(N,)``; no samples give 0, still part of the graph.
        weight: Shape ``(N,)``.
        avg_factor: Positive divisor.

    Returns:
        Scalar.

    Raises:
        ValueError: If the shape of ``weight`` differs or ``avg_factor`` is not positive.
    """
    if weight is not None:
        if weight.shape != per_sample.shape:
            raise ValueError(
                f'weight must have the shape of the samples {tuple(per_sample.shape)}, '
                f'got {tuple(weight.shape)}'
            )
        per_sample = per_sample * weight
    if avg_factor is None:
        avg_factor = max(per_sample.numel(), 1)
    elif not avg_factor > 0:
        raise ValueError(f'avg_factor must be positive, got {avg_factor}')
    return per_sample.sum() / avg_factor
