"""WCoRD: Wasserstein distances of embeddings, against memory banks and within a batch."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from wkd_det.losses.banks import check_banks, check_index_lists
from wkd_det.losses.contrast import ContrastiveLoss
from wkd_det.ops.arithmetic import matrix_product, promote, without_autocast
from wkd_det.ops.checks import (
    check_integers,
    check_nonnegative,
    check_positive,
    check_tensors,
    check_vectors,
    plain_number,
)
from wkd_det.ops.cosine import cosine_cost
from wkd_det.ops.transport import sinkhorn_cost


def lckt_loss(
    student: Tensor, teacher: Tensor, *, epsilon: float = 0.05, num_iters: int = 10
) -> Tensor:
    r"""Entropic transport between the embeddings of both networks for a batch.

    .. math::
        L = \langle P^\star, C \rangle, \qquad C_{ij} = 1 - \cos(s_i, t_j)

    with the plan of :func:`~wkd_det.ops.transport.sinkhorn_cost`, every sample of mass ``1 / N``.

    Convention:
        - This is **our reading** of the local part of a method whose authors have published no
          code: the primal form within a mini-batch. The defaults are ours.
        - No samples give 0 with a graph. The teacher gets no gradient: with one, both embeddings
          could agree on a single point.
        - The samples of one process are transported: under several processes each takes its own
          batch.

    Args:
        student: Shape ``(N, D)``; any floating type, computed in at least float32.
        teacher: Same shape.
        epsilon: Entropic regularisation, > 0, in units of the cost.
        num_iters: Sinkhorn rounds, >= 1; they run in the log domain.

    Returns:
        Scalar.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree or a number is outside its range.

    References: Chen et al., Wasserstein Contrastive Representation Distillation, CVPR 2021.

    Example:
        >>> import torch
        >>> one = torch.eye(2)
        >>> lckt_loss(one, one.flip(0)).round(decimals=4)  # the same set
        tensor(0.)
    """
    check_vectors(student, teacher, same_width=True)
    with without_autocast(student):
        student, teacher = promote(student, teacher.detach())
        samples = len(student)
        if samples == 0:
            return student.sum() * 0.0
        mass = student.new_full((1, samples), 1 / samples)
        cost = cosine_cost(student.mT, teacher.mT)
        return sinkhorn_cost(
            mass, mass, cost, epsilon=epsilon, num_iters=num_iters, log_domain=True
        ).sum()


def gckt_loss(
    student: Tensor,
    teacher: Tensor,
    critic: Tensor,
    student_bank: Tensor,
    teacher_bank: Tensor,
    negatives: Tensor,
    *,
    negative_weight: float = 1.0,
) -> Tensor:
    r"""Dual form of a Wasserstein distance between pairs that belong together and others.

    .. math::
        L = -\overline{g(t_n, s_n)} + \frac{\lambda}{2} \Bigl[
        \overline{g(m^T_{i_{nk}}, s_n)} + \overline{g(t_n, m^S_{i_{nk}})} \Bigr], \qquad
        g(t, s) = t^T A s

    with the student's and the teacher's embeddings :math:`s, t` of a batch, rows :math:`m` of the
    memory banks at the negatives :math:`i_{nk}`, and a critic :math:`g` that is 1-Lipschitz in
    each argument where the matrix :math:`A` has the spectral norm 1 and embeddings the length 1.
    For :math:`\lambda = 1` the maximum of :math:`-L` over all such functions would be the
    1-Wasserstein distance between joint and independent pairs.

    Convention:
        - This is **our reading** of the global part of a method whose authors have published no
          code: the abstract and the formula ask for a critic with spectral normalisation on the
          banks of CRD; its shape and :math:`\lambda` are ours.
        - Mean over samples and negatives. No samples give 0 with a graph.
        - Embeddings and critic get a gradient; the banks get none.

    Numerics:
        A bilinear critic sees the mean of a sample's negatives alone, so no tensor of
        ``N x K x D`` is built.

    Args:
        student: :math:`s`, shape ``(N, D)``; any floating type, computed in at least float32.
        teacher: :math:`t`, same shape.
        critic: :math:`A`, shape ``(D, D)``.
        student_bank: Last embeddings of all training samples, shape ``(M, D)``.
        teacher_bank: Same shape.
        negatives: Rows of the banks, int64, shape ``(N, K)``, ``K`` at least 1.
        negative_weight: :math:`\lambda`, >= 0.

    Returns:
        Scalar; it may be negative.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree or a number is outside its range.

    References: Chen et al., Wasserstein Contrastive Representation Distillation, CVPR 2021;
        Miyato et al., Spectral Normalization for Generative Adversarial Networks, ICLR 2018.

    Example:
        >>> import torch
        >>> one, two = torch.eye(2)[:1], torch.eye(2)
        >>> gckt_loss(one, one, two, two, two, torch.tensor([[1]]))  # -1 + (0 + 0) / 2
        tensor(-1.)
    """
    check_vectors(student, teacher, same_width=True)
    check_nonnegative(negative_weight=negative_weight)
    _check_operands(student, critic, student_bank, teacher_bank, negatives)
    with without_autocast(student):
        student, teacher, critic = promote(student, teacher, critic)
        if len(student) == 0:
            return (student.sum() + teacher.sum()) * 0.0
        other_teacher, other_student = (
            F.embedding_bag(negatives, bank.detach().to(student), mode='mean')
            for bank in (teacher_bank, student_bank)
        )
        # g(t, s) is linear in t and in s, so means of negatives stand for their values.
        seen_student = matrix_product(student, critic.mT)
        seen_other = matrix_product(other_student, critic.mT)
        together = (teacher * seen_student).sum(dim=1).mean()
        apart = (other_teacher * seen_student + teacher * seen_other).sum(dim=1).mean() / 2
        return negative_weight * apart - together


def _check_operands(
    vectors: Tensor, critic: Tensor, student_bank: Tensor, teacher_bank: Tensor, negatives: Tensor
) -> None:
    check_tensors(
        critic=critic, student_bank=student_bank, teacher_bank=teacher_bank, negatives=negatives
    )
    samples, width = vectors.shape
    if critic.shape != (width, width):
        raise ValueError(f'critic must have the shape {(width, width)}, got {tuple(critic.shape)}')
    check_banks(width, student_bank, teacher_bank)
    check_index_lists('negatives', negatives, samples, 1)


class WCoRDLoss(ContrastiveLoss):
    r"""Wasserstein distances of embeddings, against memory banks and within a batch (WCoRD).

    Maps are averaged over their pixels and embedded by one linear layer per network. The global
    part contrasts the embeddings with memory banks as CRD does, by a critic of spectral norm 1 in
    place of the logarithms, and trains both embeddings and the critic; the local part transports
    the batch's student embeddings to the teacher's, and trains those of the student. Classes come
    from the data set, so soft labels of a batch mean nothing here; a mixture of images is no
    sample of it and has no index.

    The authors have published no code. This is **our reading** of the paper: forms, weights,
    number of negatives and regularisation are our choices.

    Args:
        student_channels: Width of the student's map; set by the tap.
        teacher_channels: Width of the teacher's map; set by the tap.
        num_samples: Number of training samples.
        negatives: Negatives of each sample. Distinct, unless there are fewer samples of other
            classes.
        width: Width of the embeddings.
        momentum: Share of the old vector when a bank gets a new one, in [0, 1].
        negative_weight: Weight of the negatives in the global part, >= 0.
        epsilon: Entropic regularisation of the local part, > 0, in units of the cost 1 - cosine.
        num_iters: Sinkhorn rounds of the local part, >= 1.
        global_weight: Weight of the global part, >= 0.
        local_weight: Weight of the local part, >= 0.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If a number is outside its range.

    See :func:`wkd_det.functional.gckt_loss` and :func:`wkd_det.functional.lckt_loss` for formulas,
    conventions and source.
    """

    scalable: ClassVar[tuple[str, ...]] = ('global_weight', 'local_weight')

    def __init__(
        self,
        *,
        student_channels: int,
        teacher_channels: int,
        num_samples: int,
        negatives: int = 4096,
        width: int = 128,
        momentum: float = 0.5,
        negative_weight: float = 1.0,
        epsilon: float = 0.05,
        num_iters: int = 10,
        global_weight: float = 1.0,
        local_weight: float = 1.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(
            student_channels=student_channels,
            teacher_channels=teacher_channels,
            num_samples=num_samples,
            negatives=negatives,
            width=width,
            momentum=momentum,
            loss_weight=loss_weight,
        )
        check_positive(epsilon=epsilon)
        check_integers(num_iters=num_iters)
        check_nonnegative(
            negative_weight=negative_weight, global_weight=global_weight, local_weight=local_weight
        )
        self.negative_weight = plain_number(negative_weight)
        self.epsilon = plain_number(epsilon)
        self.num_iters = plain_number(num_iters)
        self.global_weight = plain_number(global_weight)
        self.local_weight = plain_number(local_weight)
        layer = nn.Linear(self.width, self.width, bias=False)
        nn.init.eye_(layer.weight)  # the cosine, to start with
        self.critic = spectral_norm(layer)

    def contrast(
        self, student: Tensor, teacher: Tensor, index: Tensor, negatives: Tensor
    ) -> Tensor:
        with without_autocast(student):
            critic = self.critic.weight  # a step of the power iteration in training mode
        globally = gckt_loss(
            student,
            teacher,
            critic,
            self.banks.student,
            self.banks.teacher,
            negatives,
            negative_weight=self.negative_weight,
        )
        locally = lckt_loss(student, teacher, epsilon=self.epsilon, num_iters=self.num_iters)
        return self.global_weight * globally + self.local_weight * locally
