"""Kullback-Leibler divergences of one-dimensional distributions, element by element.

The first distribution, the one the mean is taken over, comes first: in distillation it is the
teacher's.
"""

from __future__ import annotations

from torch import Tensor


def gaussian_kl(
    first_mean: Tensor, first_variance: Tensor, second_mean: Tensor, second_variance: Tensor
) -> Tensor:
    r""":math:`\tfrac12 (\log \frac{v_2}{v_1} + \frac{v_1 + (\mu_1 - \mu_2)^2}{v_2} - 1)`.

    >>> import torch
    >>> one, two = torch.tensor(1.0), torch.tensor(2.0)
    >>> gaussian_kl(one, one, two, one)  # (1 - 2)^2 / 2
    tensor(0.5000)
    """
    ratio = (first_variance + (first_mean - second_mean).square()) / second_variance
    return (second_variance.log() - first_variance.log() + ratio - 1) / 2


def laplace_kl(
    first_mean: Tensor, first_scale: Tensor, second_mean: Tensor, second_scale: Tensor
) -> Tensor:
    r"""Laplace distributions of location :math:`\mu` and scale :math:`b`.

    .. math::
        \log \frac{b_2}{b_1} + \frac{|\mu_1 - \mu_2|}{b_2}
        + \frac{b_1}{b_2} e^{-|\mu_1 - \mu_2| / b_1} - 1

    >>> import torch
    >>> zero, one = torch.tensor(0.0), torch.tensor(1.0)
    >>> laplace_kl(zero, one, zero, 2 * one).round(decimals=4)  # log 2 + 1/2 - 1
    tensor(0.1931)
    """
    distance = (first_mean - second_mean).abs()
    overlap = first_scale / second_scale * (-distance / first_scale).exp()
    return second_scale.log() - first_scale.log() + distance / second_scale + overlap - 1


def exponential_kl(first_rate: Tensor, second_rate: Tensor) -> Tensor:
    r"""Exponential distributions of rate :math:`b`.

    .. math:: \log \frac{b_1}{b_2} + \frac{b_2}{b_1} - 1

    >>> import torch
    >>> exponential_kl(torch.tensor(1.0), torch.tensor(2.0)).round(decimals=4)  # 2 - 1 - log 2
    tensor(0.3069)
    """
    return first_rate.log() - second_rate.log() + second_rate / first_rate - 1
