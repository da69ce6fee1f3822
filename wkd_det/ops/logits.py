"""Logits before they are compared: standardised, and with their target class apart."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from wkd_det.ops.arithmetic import is_one, promote
from wkd_det.ops.checks import check_target, check_tensors, values_are_due

_GUARD = 1e-7  # of the deviation; the reference's value


def standardize_logits(logits: Tensor) -> Tensor:
    r"""Shift and scale the logits of each sample to mean 0 and deviation 1 over its classes.

    .. math:: (z - \bar z) / (\sigma + 10^{-7}), \quad \sigma^2 = \tfrac{1}{C - 1} \sum_k
        (z_k - \bar z)^2

    Student and teacher are then compared by the order and the relative distances of their classes
    alone; the temperature of the loss becomes a "base temperature". The gradient runs through mean
    and deviation.

    Args:
        logits: Shape ``(N, C)``, at least 2 classes.

    Returns:
        Shape ``(N, C)``. Equal logits give 0, with the gradient of a constant deviation.

    Raises:
        ValueError: If there is only one class.

    References: Sun, Ren, Li, Wang, Cao, Logit Standardization in Knowledge Distillation, CVPR 2024;
        the deviation is that of its code, with C - 1.

    >>> standardize_logits(torch.tensor([[1.0, 2.0, 3.0]])).round(decimals=4)
    tensor([[-1.,  0.,  1.]])
    """
    if logits.shape[1] < 2:
        raise ValueError(f'standardised logits need at least 2 classes, got {logits.shape[1]}')
    deviation = logits.std(dim=1, keepdim=True)  # its gradient at 0 is 0
    return (logits - logits.mean(dim=1, keepdim=True)) / (deviation + _GUARD)


def ready_logits(
    student: Tensor, teacher: Tensor, standardize: bool = False
) -> tuple[Tensor, Tensor]:
    """Return both in one type of at least 32 bits, the teacher detached, standardised if asked."""
    student, teacher = promote(student, teacher.detach())
    if standardize:
        student, teacher = standardize_logits(student), standardize_logits(teacher)
    return student, teacher


def with_background(logits: Tensor) -> Tensor:
    r"""Logits of the softmax that :math:`K` sigmoids stand for: background has the logit 0.

    A sigmoid for each class says with which probability :math:`p_k = \sigma(z_k)` the class is
    there, whatever the others are: the classes are independent events, and several may be there.
    A place of a detector stands for one object or for none. Under the condition that at most one
    of the events occurs,

    .. math:: P(k) = \frac{p_k \prod_{j \ne k} (1 - p_j)}
        {\prod_j (1 - p_j) + \sum_i p_i \prod_{j \ne i} (1 - p_j)}
        = \frac{e^{z_k}}{1 + \sum_i e^{z_i}},

    since :math:`p_k / (1 - p_k) = e^{z_k}`, and the remaining mass, that of background, is
    :math:`1 / (1 + \sum_i e^{z_i})`: the softmax of the logits and a 0. For a single class it
    is the sigmoid itself.

    Args:
        logits: Shape ``(R, K)``.

    Returns:
        Shape ``(R, K + 1)``, background last.

    >>> with_background(torch.tensor([[0.0, 0.0]])).softmax(dim=1)  # p = 1/2: each a third
    tensor([[0.3333, 0.3333, 0.3333]])
    """
    return F.pad(logits, (0, 1))


def tempered(logits: Tensor, temperature: float | Tensor) -> Tensor:
    """Return ``logits / temperature``; no operation is spent on the number 1."""
    return logits if is_one(temperature) else logits / temperature


def hard_target(target: Tensor, logits: Tensor, form: str) -> Tensor:
    """Class of each sample: the target itself, or the most probable class of soft labels.

    Args:
        target: Class indices of any integer type, shape ``(N,)``; or soft labels, shape ``(N, C)``,
            >= 0. Of equal ones the first counts.
        logits: Shape ``(N, C)``.
        form: The form of the loss that needs a second class, for the message.

    Returns:
        Indices, int64, shape ``(N,)``.

    Raises:
        TypeError: If the target is no tensor.
        ValueError: If shape or type differ, an index lies outside ``[0, C)`` (also -1, which stands
            for a sample without a label), a soft label is negative, or ``C < 2``.
    """
    if _is_soft(target, logits):
        target = target.argmax(dim=1)
    check_target(target, logits, form)
    return target.long()


def target_distribution(target: Tensor, logits: Tensor, form: str) -> Tensor:
    """Distribution over the classes that a target stands for: one-hot, or the soft labels.

    Args:
        target: As for :func:`hard_target`.
        logits: Shape ``(N, C)``.
        form: As for :func:`hard_target`.

    Returns:
        Shape ``(N, C)``, in the type of the logits.

    Raises:
        TypeError, ValueError: As :func:`hard_target`.
    """
    if _is_soft(target, logits):
        check_target(target.argmax(dim=1), logits, form)
        return target.to(logits.dtype)
    return one_hot(hard_target(target, logits, form), logits)


def one_hot(index: Tensor, logits: Tensor) -> Tensor:
    """1 at the class of each sample ``(N,)``, 0 elsewhere, in shape and type of ``logits``."""
    return torch.zeros_like(logits).scatter_(1, index[:, None], 1)


def _is_soft(target: Tensor, logits: Tensor) -> bool:
    check_tensors(target=target)
    if target.dim() != 2 or not target.is_floating_point():
        return False
    if target.shape != logits.shape:
        raise ValueError(
            f'soft labels in target must have the shape of the logits {tuple(logits.shape)}, '
            f'got {tuple(target.shape)}'
        )
    if values_are_due(target, 'soft target') and not (target >= 0).all():
        raise ValueError('soft labels in target must not be negative')
    return True


def of_target(values: Tensor, index: Tensor) -> Tensor:
    """Value of the class of each sample: ``(N, C)`` at ``(N,)`` gives ``(N,)``."""
    return values.gather(1, index[:, None]).squeeze(1)


def without_target(values: Tensor, index: Tensor) -> Tensor:
    """Values of the other classes, in their order.

    They are gathered, so nothing waits for the device, and no infinity stands for what is gone.

    Args:
        values: Shape ``(N, C)``.
        index: Class that is left out of each sample, shape ``(N,)``; or M different ones, shape
            ``(N, M)``.

    Returns:
        Shape ``(N, C - 1)``, or ``(N, C - M)``.

    >>> without_target(torch.tensor([[5, 6, 7], [5, 6, 7]]), torch.tensor([0, 1]))
    tensor([[6, 7],
            [5, 7]])
    """
    left_out = index.reshape(len(values), -1 if len(values) else 1).sort(dim=1).values
    count = values.shape[1] - left_out.shape[1]
    kept = torch.arange(count, device=values.device).expand(len(values), count)
    for one in left_out.unbind(dim=1):  # in rising order, so that each step is the last one's
        kept = kept + (kept >= one[:, None])
    return values.gather(1, kept)


def target_loss(student: Tensor, teacher: Tensor, index: Tensor) -> Tensor:
    r"""Cross entropy of the target class alone, weighted by the teacher.

    .. math:: -p^T_t \log p^S_t, \quad p = softmax(z)

    Args:
        student: Logits, shape ``(N, C)``.
        teacher: Logits, shape ``(N, C)``.
        index: Target classes, shape ``(N,)``.

    Returns:
        Shape ``(N,)``.
    """
    weight = of_target(teacher.softmax(dim=1), index)
    return weight * F.cross_entropy(student, index, reduction='none')


def non_target_mass(logits: Tensor, index: Tensor) -> Tensor:
    r"""Probability of all classes but the target, summed, so that the smallest is kept.

    .. math:: 1 - p_t = \sum_{k \ne t} p_k, \quad p = softmax(z)

    Args:
        logits: Shape ``(N, C)``.
        index: Target classes, shape ``(N,)``.

    Returns:
        Shape ``(N,)``.

    >>> non_target_mass(torch.tensor([[30.0, 0.0]]), torch.tensor([0]))
    tensor([9.3576e-14])
    """
    return logits.softmax(dim=1).scatter(1, index[:, None], 0).sum(dim=1)
