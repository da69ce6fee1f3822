"""RKD: distances and angles between the samples of a batch."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from wkd_det.losses.vectors import VectorLoss
from wkd_det.ops.arithmetic import matrix_product, promote, without_autocast
from wkd_det.ops.checks import check_nonnegative, check_vectors, plain_number

_GUARD = 1e-12  # on squared distances, as in the reference


def rkd_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    distance_weight: float = 25.0,
    angle_weight: float = 50.0,
) -> Tensor:
    r"""Difference of the distances, and of the angles, between the samples of a batch.

    .. math::
        L = w_d \, \overline{h(D^S_{ij} - D^T_{ij})} + w_a \, \overline{h(A^S_{ijk} - A^T_{ijk})},
        \qquad
        D_{ij} = \frac{\lVert f_i - f_j \rVert}{\overline{\lVert f_i - f_j \rVert}}, \quad
        A_{ijk} = \langle e_{ij}, e_{ik} \rangle, \quad
        e_{ij} = \frac{f_j - f_i}{\lVert f_j - f_i \rVert}

    with :math:`h` the smooth L1 distance (half the square below 1, then linear). Networks are
    compared by the relations of their own vectors, so widths may differ.

    Convention:
        - Means over all ``N^2`` and ``N^3`` entries, those with equal indices included; distances
          are divided by the mean of those between different samples.
        - Fewer than two samples have no relation and give 0 with a graph.
        - The teacher gets no gradient.
        - The samples of one process are related: under several processes each takes its own
          batch, as in the reference.

    Numerics:
        Angles take two ``N x N x N`` tensors for each network: 1 MiB each in float32 for 64
        samples, 64 MiB for 256, 4 GiB for 1024. With ``angle_weight=0`` they are not built, and
        the largest tensors are the differences, ``N x N x D``.

    Args:
        student: Shape ``(N, D)``; any floating type, computed in at least float32.
        teacher: Shape ``(N, D')``.
        distance_weight: :math:`w_d`, >= 0.
        angle_weight: :math:`w_a`, >= 0.

    Returns:
        Scalar.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If the numbers of samples differ or a weight is negative.

    References: Park, Kim, Lu, Cho, Relational Knowledge Distillation, CVPR 2019; weights and
        means are those of the code of Tian et al., Contrastive Representation Distillation.

    Example:
        >>> line = torch.tensor([[0.0], [1.0], [3.0]])
        >>> rkd_loss(line, 5 * line)  # scale does not matter
        tensor(0.)
    """
    check_vectors(student, teacher)
    check_nonnegative(distance_weight=distance_weight, angle_weight=angle_weight)
    if len(student) < 2:
        return promote(student)[0].sum() * 0.0
    with without_autocast(student):
        student, teacher = (
            vectors[None] - vectors[:, None] for vectors in promote(student, teacher.detach())
        )
        loss = 0.0 * student.sum()
        if distance_weight:
            distances = (_distances(differences) for differences in (student, teacher))
            loss = loss + distance_weight * F.smooth_l1_loss(*distances)
        if angle_weight:
            angles = (_angles(differences) for differences in (student, teacher))
            loss = loss + angle_weight * F.smooth_l1_loss(*angles)
        return loss


def _distances(differences: Tensor) -> Tensor:
    """Lengths of the differences ``(N, N, D)``, over the mean between different samples."""
    lengths = differences.square().sum(dim=2).clamp(min=_GUARD).sqrt()
    samples = len(lengths)
    itself = torch.eye(samples, dtype=torch.bool, device=lengths.device)
    lengths = lengths.masked_fill(itself, 0)
    return lengths / (lengths.sum() / (samples * (samples - 1)))


def _angles(differences: Tensor) -> Tensor:
    """Cosines of the angles at each sample between the ways to two others, ``(N, N, N)``."""
    ways = F.normalize(differences, dim=2)
    return matrix_product(ways, ways.mT)


class RKDLoss(VectorLoss):
    """Distances and angles between the samples of a batch (RKD).

    Maps are averaged over their pixels. Widths of student and teacher may differ.

    Args:
        distance_weight: Weight of the distances, >= 0.
        angle_weight: Weight of the angles, >= 0.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If a weight is negative.

    See :func:`wkd_det.functional.rkd_loss` for formula, conventions and source.
    """

    def __init__(
        self,
        *,
        distance_weight: float = 25.0,
        angle_weight: float = 50.0,
        loss_weight: float = 1.0,
    ) -> None:
        check_nonnegative(distance_weight=distance_weight, angle_weight=angle_weight)
        function = partial(
            rkd_loss,
            distance_weight=plain_number(distance_weight),
            angle_weight=plain_number(angle_weight),
        )
        super().__init__(function, loss_weight)
