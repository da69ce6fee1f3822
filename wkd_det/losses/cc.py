"""CC: differences of embeddings, multiplied between neighbours in the batch."""

from __future__ import annotations

from torch import Tensor

from wkd_det.losses.vectors import EmbeddedLoss
from wkd_det.ops.arithmetic import promote, without_autocast
from wkd_det.ops.checks import check_vectors


def cc_loss(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Product of the differences of neighbours in the batch.

    .. math::
        L = \frac{1}{N - 1} \sum_{n < N} \sum_d \delta_{n d} \, \delta_{n + 1, d}, \qquad
        \delta_n = \lvert s_n - t_n \rvert

    which is not the kernel correlation of the paper but what the reference computes: samples are
    related by their place in the shuffled batch.

    Convention:
        - Sum over the width, mean over the ``N - 1`` neighbours; fewer than two samples give 0
          with a graph.
        - **Both** arguments get a gradient: they are embeddings that are trained.
        - The samples of one process are related: under several processes each takes its own
          batch, as in the reference.

    Args:
        student: Embeddings, shape ``(N, D)``; any floating type, computed in at least float32.
        teacher: Embeddings, same shape.

    Returns:
        Scalar.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree.

    References: Peng et al., Correlation Congruence for Knowledge Distillation, ICCV 2019; the
        formula is that of the code of Tian et al., Contrastive Representation Distillation.

    Example:
        >>> import torch
        >>> student = torch.tensor([[1.0], [2.0], [3.0]])
        >>> cc_loss(student, torch.zeros(3, 1))  # (1 * 2 + 2 * 3) / 2
        tensor(4.)
    """
    check_vectors(student, teacher, same_width=True)
    with without_autocast(student):
        student, teacher = promote(student, teacher)
        difference = (student - teacher).abs()
        products = difference[:-1] * difference[1:]
        return products.sum() / max(len(products), 1)


class CCLoss(EmbeddedLoss):
    """Differences of embeddings, multiplied between neighbours in the batch (CC).

    Maps are averaged over their pixels and go through one linear layer per network. Both layers
    are trained, so the loss also falls when both shrink; the weight decay of the optimizer works
    in the same direction.

    Args:
        student_channels: Width of the student's map; set by the tap.
        teacher_channels: Width of the teacher's map; set by the tap.
        width: Width of the embeddings.
        loss_weight: Factor of the loss, >= 0; 0.02 is that of the reference.

    Raises:
        ValueError: If a number is outside its range.

    See :func:`wkd_det.functional.cc_loss` for formula, conventions and source.
    """

    def __init__(
        self,
        *,
        student_channels: int,
        teacher_channels: int,
        width: int = 128,
        loss_weight: float = 0.02,
    ) -> None:
        super().__init__(
            student_channels=student_channels,
            teacher_channels=teacher_channels,
            width=width,
            loss_weight=loss_weight,
        )

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
        """Loss of maps ``(N, C, H, W)``, scalar; ``mask`` ``(N, H, W)``: pixels that count."""
        student, teacher = self.embed(student, teacher, mask, unit=False)
        return self.loss_weight * cc_loss(student, teacher)
