"""Diffusion: noise levels, the noisy form of a map, and its denoising by DDIM."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

TIMES = 1000
"""Number of noise levels."""
_FIRST_VARIANCE, _LAST_VARIANCE = 1e-4, 2e-2


def kept_shares() -> Tensor:
    r"""Return the share of the variance that is no noise at each time, shape ``(1000,)``.

    .. math:: a_\tau = \prod_{s \le \tau} (1 - \beta_s)

    with :math:`\beta` linear from 1e-4 to 2e-2. In float32, as code for diffusion has it.

    References: Ho, Jain, Abbeel, Denoising Diffusion Probabilistic Models, NeurIPS 2020.
    """
    added = torch.linspace(_FIRST_VARIANCE, _LAST_VARIANCE, TIMES, dtype=torch.float32)
    return (1 - added).cumprod(dim=0)


def diffused(maps: Tensor, noise: Tensor, shares: Tensor) -> Tensor:
    r"""Return noisy maps :math:`\sqrt{a} x + \sqrt{1 - a} n`, shape ``(N, C, H, W)``.

    Args:
        maps: Shape ``(N, C, H, W)``.
        noise: Same shape, of unit variance.
        shares: :math:`a` of each map, shape ``(N,)``.
    """
    shares = shares.to(maps)[:, None, None, None]
    return shares.sqrt() * maps + (1 - shares).sqrt() * noise


def inference_times(num_steps: int) -> list[int]:
    """Return the times of denoising: the later half of ``2 * num_steps`` that are equally far.

    >>> inference_times(5)
    [400, 300, 200, 100, 0]
    """
    stride = TIMES // (2 * num_steps)
    return [stride * step for step in reversed(range(num_steps))]


def denoised(
    maps: Tensor,
    network: Callable[[Tensor, Tensor], Tensor],
    shares: Tensor,
    *,
    num_steps: int,
) -> Tensor:
    r"""Remove noise from maps by DDIM without randomness (``eta = 0``).

    A step predicts the noise, :math:`n = \epsilon_\theta(x, \tau)`, and from it the clean map,

    .. math::
        x_0 = (x - \sqrt{1 - a_\tau}\, n) / \sqrt{a_\tau}, \qquad
        x \leftarrow \sqrt{a_{\tau'}}\, x_0 + \sqrt{1 - a_{\tau'}}\, n

    at the next time :math:`\tau'`; the last step returns :math:`x_0`.

    Args:
        maps: Shape ``(N, C, H, W)``; they count as maps of the first of the times.
        network: Takes maps and a time, shape ``()``, and returns the noise in the maps.
        shares: As :func:`kept_shares` returns them.
        num_steps: Number of steps; see :func:`inference_times`.

    Returns:
        Shape ``(N, C, H, W)``.

    References: Song, Meng, Ermon, Denoising Diffusion Implicit Models, ICLR 2021.
    """
    times = inference_times(num_steps)
    for time, following in zip(times, [*times[1:], None]):
        noise = network(maps, torch.full((), time, device=maps.device))
        share = shares[time].to(maps)
        clean = (maps - (1 - share).sqrt() * noise) / share.sqrt()
        if following is None:
            return clean
        share = shares[following].to(maps)
        maps = share.sqrt() * clean + (1 - share).sqrt() * noise
    return maps
