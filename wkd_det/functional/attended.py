"""Feature difference under attention, as instance-conditional distillation takes it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from wkd_det.functional.precision import promote, without_autocast


def attended_loss(student: Tensor, teacher: Tensor, attention: Tensor) -> Tensor:
    r"""Attention-weighted squared difference of normalised values.

    .. math::
        L = \frac{1}{N M D} \sum_{n, m, d}
        \frac{\sum_s a_{nms} (\hat S_{nmsd} - \hat T_{nmsd})^2}{\sum_s a_{nms}}

    where the hat normalises each vector over its ``D`` channels to mean 0 and variance 1.

    Convention:
        - Mean over images, heads and channels; a head that attends nowhere counts as 0.
        - Neither the teacher nor the attention gets a gradient.

    Args:
        student: Values, shape ``(N, M, S, D)``: images, heads, pixels, channels of a head.
        teacher: Same shape.
        attention: Shape ``(N, M, S)``, >= 0.

    Returns:
        Scalar.

    Raises:
        ValueError: If shapes disagree.

    References: Kang, Zhang, Zhang, Sun, Zheng, Instance-Conditional Knowledge Distillation for
        Object Detection, NeurIPS 2021, section 3.3; the normalisation is that of its code.
    """
    if student.dim() != 4 or student.shape != teacher.shape:
        raise ValueError(
            'student and teacher must share a shape (N, M, S, D), '
            f'got {tuple(student.shape)} and {tuple(teacher.shape)}'
        )
    if attention.shape != student.shape[:3]:
        raise ValueError(
            f'attention must have the shape (N, M, S) = {tuple(student.shape[:3])}, '
            f'got {tuple(attention.shape)}'
        )
    with without_autocast(student):
        student, teacher, attention = promote(student, teacher.detach(), attention.detach())
        channels = student.shape[-1:]
        difference = F.layer_norm(student, channels) - F.layer_norm(teacher, channels)
        attended = (attention.unsqueeze(2) @ difference.square()).squeeze(2)
        return (attended / attention.sum(dim=2, keepdim=True).clamp(min=1e-6)).mean()
