"""Distances of box offsets."""

from __future__ import annotations

from torch import Tensor

from wkd_det.functional.precision import promote, without_autocast
from wkd_det.functional.reduction import weighted_mean


def squared_offset_distance(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Squared distance :math:`\lVert o_T - o_S \rVert^2` of box offsets, one value per RoI.

    Convention:
        Sum over the offsets of a RoI, in the units of the box coder. The teacher gets no
        gradient.

    Args:
        student: Offsets, shape ``(R, D)``; computed in at least float32.
        teacher: Same shape.

    Returns:
        Shape ``(R,)``.

    Raises:
        ValueError: If shapes disagree.
    """
    if student.dim() != 2 or student.shape != teacher.shape:
        raise ValueError(
            'student and teacher must share a shape (R, D), '
            f'got {tuple(student.shape)} and {tuple(teacher.shape)}'
        )
    with without_autocast(student):
        student, teacher = promote(student, teacher.detach())
        return (student - teacher).square().sum(dim=1)


def offset_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of box offsets.

    Convention:
        Mean over RoIs and offsets. No RoI gives 0 with a graph. The teacher gets no gradient.

    Args:
        student: Offsets, shape ``(R, D)``; computed in at least float32.
        teacher: Same shape.

    Returns:
        Scalar.

    Raises:
        ValueError: If shapes disagree.

    References: the box part of Liu, Kan, Shan, Chen, Function-Consistent Feature Distillation,
        ICLR 2023, as in its detection code.
    """
    return weighted_mean(squared_offset_distance(student, teacher)) / student.shape[1]
