"""PKT: the probability that one sample of a batch is a neighbour of another."""

from __future__ import annotations

import torch
from torch import Tensor

from wkd_det.losses.vectors import VectorLoss
from wkd_det.ops.arithmetic import matrix_product, promote, without_autocast
from wkd_det.ops.checks import check_vectors

_GUARD = 1e-7  # on lengths and probabilities, as in the reference


def pkt_loss(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Divergence of the probabilities that samples of a batch are neighbours.

    .. math::
        L = \frac{1}{N^2} \sum_{ij} p^T_{ij} \log \frac{p^T_{ij} + \delta}{p^S_{ij} + \delta},
        \qquad
        p_{ij} = \frac{k_{ij}}{\sum_j k_{ij}}, \quad
        k_{ij} = \tfrac12 (1 + \cos(f_i, f_j)), \quad \delta = 10^{-7}

    Networks are compared by the relations of their own vectors, so widths may differ.

    Convention:
        - Mean over all ``N^2`` pairs, a sample with itself included; the paper takes a sum.
        - A vector of zeros has the cosine 0 to all. No samples give 0 with a graph, and one
          sample gives 0.
        - The teacher gets no gradient.
        - The samples of one process are related: under several processes each takes its own
          batch, as in the reference.

    Args:
        student: Shape ``(N, D)``; any floating type, computed in at least float32.
        teacher: Shape ``(N, D')``.

    Returns:
        Scalar.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If the numbers of samples differ.

    References: Passalis, Tefas, Learning Deep Representations with Probabilistic Knowledge
        Transfer, ECCV 2018; mean and guards are those of the code of Tian et al., Contrastive
        Representation Distillation.

    Example:
        >>> student, teacher = torch.eye(2), torch.ones(2, 1)
        >>> pkt_loss(student, teacher).round(decimals=4)  # 1/2 log of 1/2 over 2/3 and over 1/3
        tensor(0.0294)
    """
    check_vectors(student, teacher)
    if len(student) == 0:
        return promote(student)[0].sum() * 0.0
    with without_autocast(student):
        student, teacher = (_neighbours(vectors) for vectors in promote(student, teacher.detach()))
        return (teacher * ((teacher + _GUARD) / (student + _GUARD)).log()).mean()


def _neighbours(vectors: Tensor) -> Tensor:
    """Probability of each sample to be the neighbour of another, shape ``(N, N)``."""
    unit = vectors / (torch.linalg.vector_norm(vectors, dim=1, keepdim=True) + _GUARD)
    kernel = (matrix_product(unit, unit.mT) + 1) / 2
    return kernel / kernel.sum(dim=1, keepdim=True)


class PKTLoss(VectorLoss):
    """Probabilities that samples of a batch are neighbours (PKT).

    Maps are averaged over their pixels. Widths of student and teacher may differ.

    Args:
        loss_weight: Factor of the loss, >= 0; 30000 is that of the reference.

    Raises:
        ValueError: If ``loss_weight`` is negative.

    See :func:`wkd_det.functional.pkt_loss` for formula, conventions and source.
    """

    def __init__(self, *, loss_weight: float = 30000.0) -> None:
        super().__init__(pkt_loss, loss_weight)
