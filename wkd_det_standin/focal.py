r"""The focal loss of sigmoids (Lin et al., ICCV 2017) and its gradient, by torch.

With :math:`p` the probability of a class: :math:`-\alpha (1 - p)^\gamma \log p` for the class of
the target, :math:`-(1 - \alpha) p^\gamma \log(1 - p)` for all others.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sigmoid_focal_loss_forward(
    logits: Tensor, target: Tensor, weight: Tensor, output: Tensor, *, gamma: float, alpha: float
) -> None:
    """Write the loss of every logit.

    Args:
        logits: Logits ``(N, C)``.
        target: Classes ``(N,)``; one that is no class of the logits (``C``) is the background.
        weight: Empty.
        output: Where the result is written, ``(N, C)``.
        gamma: Exponent.
        alpha: Weight of the class of the target.

    Raises:
        NotImplementedError: If there are weights of classes.
    """
    output.copy_(_loss(logits, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    logits: Tensor, target: Tensor, weight: Tensor, grad: Tensor, *, gamma: float, alpha: float
) -> None:
    """Write the derivative of every loss for its logit, ``(N, C)``."""
    with torch.enable_grad():
        logits = logits.detach().requires_grad_()
        grad.copy_(
            torch.autograd.grad(_loss(logits, target, weight, gamma, alpha).sum(), logits)[0]
        )


def _loss(logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float) -> Tensor:
    if weight.numel():
        raise NotImplementedError(
            "mmcv's sigmoid_focal_loss with weights of classes needs a compiled mmcv"
        )
    values = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    hit = target[:, None] == torch.arange(values.shape[1], device=values.device)
    probability = values.sigmoid()
    positive = alpha * (1 - probability) ** gamma * F.softplus(-values)
    negative = (1 - alpha) * probability**gamma * F.softplus(values)
    return torch.where(hit, positive, negative)
