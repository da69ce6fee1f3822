"""CRD: which vector of a memory bank belongs to the same sample, among thousands that do not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from wkd_det.losses.banks import check_banks, check_index_lists
from wkd_det.losses.contrast import ContrastiveLoss
from wkd_det.ops.arithmetic import equal_parts, promote, without_autocast
from wkd_det.ops.checks import check_positive, check_vectors, plain_number
from wkd_det.ops.processes import gather_rows

_GUARD = 1e-7  # on the sums under the fractions, as in the reference
_BLOCK_ELEMENTS = 2**22  # in the products of a block with the whole bank: 16 MiB in float32
_BLOCK_ELEMENTS_OF_ACCELERATORS = 2**26  # 256 MiB: there, few launches count


def crd_loss(
    student: Tensor,
    teacher: Tensor,
    student_bank: Tensor,
    teacher_bank: Tensor,
    contrast_index: Tensor,
    *,
    student_constant: float | Tensor,
    teacher_constant: float | Tensor,
    temperature: float = 0.07,
) -> Tensor:
    r"""Contrast of each embedding with vectors of the other network's memory bank.

    For a sample with the list :math:`(i_0, i_1, \ldots, i_K)` of its own index and ``K`` negatives,

    .. math::
        L = -\frac1N \sum_n \Bigl[ \log \frac{o_0}{o_0 + c + \delta}
        + \sum_{k \ge 1} \log \frac{c}{o_k + c + \delta} \Bigr], \qquad
        o_k = \frac{1}{Z} \exp(m_{i_k}^T v_n / \tau), \quad
        c = K / M, \quad \delta = 10^{-7}

    added up over two sides: the student's embeddings :math:`v` against the teacher's bank
    :math:`m`, and the teacher's against the student's, each with its constant :math:`Z`. ``M`` is
    the number of training samples.

    Convention:
        - Sum over the negatives, mean over samples, sum of both sides. No samples give 0 with a
          graph.
        - **Both** embeddings get a gradient: each is trained by its own side. The banks get none.
        - Embeddings and banks are taken as vectors of length 1; that is not checked.

    Numerics:
        Each embedding is multiplied with the whole bank, which is faster than to copy the rows of
        thousands of negatives for every sample, and takes no ``N K D`` numbers. Blocks of samples
        go forward and at once backward and their slopes are kept, so memory is that of a block,
        and banks may change before the backward pass.

    Args:
        student: Shape ``(N, D)``; any floating type, computed in at least float32.
        teacher: Same shape.
        student_bank: Last embeddings of all training samples, shape ``(M, D)``.
        teacher_bank: Same shape.
        contrast_index: Row of the sample itself, then those of its negatives, integers, shape
            ``(N, 1 + K)``, ``K`` at least 1.
        student_constant: :math:`Z` of the student's side, > 0; see :func:`contrast_constant`.
        teacher_constant: :math:`Z` of the teacher's side, > 0.
        temperature: :math:`\tau`, > 0.

    Returns:
        Scalar. Differentiable once.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree or ``temperature`` is not positive.

    References: Tian, Krishnan, Isola, Contrastive Representation Distillation, ICLR 2020; guards
        and constants are those of its code.

    Example:
        >>> one, two = torch.eye(2)[:1], torch.eye(2)
        >>> loss = crd_loss(  # c = 1/2, o_0 = e, o_1 = 1 on both sides
        ...     one, one, two, two, torch.tensor([[0, 1]]),
        ...     student_constant=1.0, teacher_constant=1.0, temperature=1.0,
        ... )
        >>> loss.round(decimals=4)  # 2 (log(1 + 1/2 / e) + log 3)
        tensor(2.5349)
    """
    check_vectors(student, teacher, same_width=True)
    check_positive(temperature=temperature)
    check_banks(student.shape[1], student_bank, teacher_bank)
    check_index_lists('contrast_index', contrast_index, len(student), 2)
    with without_autocast(student):
        student, teacher = promote(student, teacher)
        sides = (
            (student, teacher_bank, student_constant),
            (teacher, student_bank, teacher_constant),
        )
        per_sample = sum(
            _Contrast.apply(vectors, bank, contrast_index, constant, temperature)
            for vectors, bank, constant in sides
        )
        return per_sample.sum() / max(len(student), 1)


@torch.no_grad()
def contrast_constant(
    vectors: Tensor, bank: Tensor, contrast_index: Tensor, *, temperature: float = 0.07
) -> Tensor:
    r"""Estimate of the constant :math:`Z` of :func:`crd_loss` from a batch.

    .. math:: Z = M \cdot \overline{\exp(m_{i_k}^T v_n / \tau)}

    the mean over all samples and all entries of their lists, of all processes.

    Args:
        vectors: Embeddings of one network, shape ``(N, D)``.
        bank: Bank of the other network, shape ``(M, D)``.
        contrast_index: Shape ``(N, 1 + K)``.
        temperature: :math:`\tau`, > 0.

    Returns:
        Scalar, without a gradient.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree or ``temperature`` is not positive.
    """
    check_vectors(vectors, vectors)
    check_positive(temperature=temperature)
    check_banks(vectors.shape[1], bank, bank)
    check_index_lists('contrast_index', contrast_index, len(vectors), 2)
    with without_autocast(vectors):
        (vectors,) = promote(vectors)
        total = vectors.new_zeros(())
        for part, products in _blocks(vectors, bank, temperature):
            total += products.gather(1, contrast_index[part]).exp().sum()
        count = total.new_tensor(contrast_index.numel())
        totals, counts = gather_rows(total[None], count[None])
        return len(bank) * totals.sum() / counts.sum()


class _Contrast(torch.autograd.Function):
    """Loss of each sample on one side, ``(N,)``."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        vectors: Tensor,
        bank: Tensor,
        contrast_index: Tensor,
        constant: float | Tensor,
        temperature: float,
    ) -> Tensor:
        balance = (contrast_index.shape[1] - 1) / len(bank)
        constant = torch.as_tensor(constant, dtype=vectors.dtype, device=vectors.device)
        value, slopes = vectors.new_zeros(len(vectors)), torch.zeros_like(vectors)
        for part, products in _blocks(vectors, bank, temperature):
            lists = contrast_index[part]
            log_ratio = products.gather(1, lists) - constant.log()
            ratio = log_ratio.exp()
            below = ratio + (balance + _GUARD)
            value[part] = below.log().sum(dim=1) - log_ratio[:, 0]
            slope = ratio / below  # of the sum by each product
            slope[:, 0] -= 1
            slopes[part] = products.zero_().scatter_add_(1, lists, slope) @ bank.to(vectors)
        slopes /= temperature
        value -= (contrast_index.shape[1] - 1) * vectors.new_tensor(balance).log()
        ctx.save_for_backward(slopes)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        (slopes,) = ctx.saved_tensors
        return grad[:, None] * slopes, None, None, None, None


def _blocks(vectors: Tensor, bank: Tensor, temperature: float) -> Iterator[tuple[slice, Tensor]]:
    """Walk blocks of samples: which, and their products with all of the bank, ``(n, M)``."""
    on_cpu = vectors.device.type == 'cpu'
    elements = _BLOCK_ELEMENTS if on_cpu else _BLOCK_ELEMENTS_OF_ACCELERATORS
    for part in equal_parts(len(vectors), elements // len(bank)):
        yield part, (vectors[part] @ bank.to(vectors).mT).div_(temperature)


class CRDLoss(ContrastiveLoss):
    """Contrast of embeddings with memory banks of all training samples (CRD).

    Maps are averaged over their pixels and embedded by one linear layer per network, both of
    which are trained. Each sample is contrasted with ``negatives`` samples of other classes,
    drawn anew in every step; then the banks take the new embeddings, those of all processes.
    Classes come from the data set, so soft labels of a batch mean nothing here; a mixture of
    images is no sample of it and has no index.

    Banks and constants are buffers: they are saved, and a resumed run goes on with them.
    :func:`~wkd_det.losses.banks.bank_bytes` computes how much memory they take.

    Args:
        student_channels: Width of the student's map; set by the tap.
        teacher_channels: Width of the teacher's map; set by the tap.
        num_samples: Number of training samples.
        negatives: Negatives of each sample; 16384 is that of the reference. Distinct, unless
            there are fewer samples of other classes.
        width: Width of the embeddings.
        temperature: Temperature of the contrast, > 0.
        momentum: Share of the old vector when a bank gets a new one, in [0, 1].
        loss_weight: Factor of the loss, >= 0; 0.8 is that of the reference.

    Raises:
        ValueError: If a number is outside its range.

    See :func:`wkd_det.functional.crd_loss` for formula, conventions and source.
    """

    def __init__(
        self,
        *,
        student_channels: int,
        teacher_channels: int,
        num_samples: int,
        negatives: int = 16384,
        width: int = 128,
        temperature: float = 0.07,
        momentum: float = 0.5,
        loss_weight: float = 0.8,
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
        check_positive(temperature=temperature)
        self.temperature = plain_number(temperature)
        self.register_buffer('constants', torch.zeros(2))
        self._settled = False

    def contrast(
        self, student: Tensor, teacher: Tensor, index: Tensor, negatives: Tensor
    ) -> Tensor:
        contrast_index = torch.cat([index.long()[:, None], negatives], dim=1)
        self._settle(student, teacher, contrast_index)
        return crd_loss(
            student,
            teacher,
            self.banks.student,
            self.banks.teacher,
            contrast_index,
            student_constant=self.constants[0],
            teacher_constant=self.constants[1],
            temperature=self.temperature,
        )

    def _settle(self, student: Tensor, teacher: Tensor, contrast_index: Tensor) -> None:
        """Find the constants from the first batch; later there is nothing to do."""
        if self._settled:
            return
        if not _are_sound(self.constants):
            sides = (student, self.banks.teacher), (teacher, self.banks.student)
            found = [
                contrast_constant(*side, contrast_index, temperature=self.temperature)
                for side in sides
            ]
            self.constants.copy_(torch.stack(found))
        # Those of a batch that is not finite, as happens with a scaled loss, are found again.
        self._settled = _are_sound(self.constants)

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self._settled = False  # the constants may be those before a first batch


def _are_sound(constants: Tensor) -> bool:
    return bool(((constants > 0) & constants.isfinite()).all())
