"""Base of the losses that contrast embeddings with memory banks at drawn negatives."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from wkd_det.losses.banks import MemoryBanks
from wkd_det.losses.negatives import SampleTable, check_index
from wkd_det.losses.vectors import EmbeddedLoss


class ContrastiveLoss(EmbeddedLoss):
    """Base of losses with memory banks and drawn negatives.

    Args:
        student_channels: Width of the student's map.
        teacher_channels: Width of the teacher's map.
        num_samples: Number of training samples.
        negatives: Negatives of each sample.
        width: Width of the embeddings.
        momentum: Share of the old vector when a bank gets a new one, in [0, 1].
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If a number is outside its range.
    """

    needs: ClassVar[tuple[str, ...]] = ('index',)

    def __init__(
        self,
        *,
        student_channels: int,
        teacher_channels: int,
        num_samples: int,
        negatives: int,
        width: int,
        momentum: float,
        loss_weight: float,
    ) -> None:
        super().__init__(
            student_channels=student_channels,
            teacher_channels=teacher_channels,
            width=width,
            loss_weight=loss_weight,
        )
        self.banks = MemoryBanks(num_samples, width, momentum)
        self.table = SampleTable(num_samples, negatives)
        self._equal = False  # whether all processes have the same banks for sure

    def set_samples(self, labels: Tensor) -> None:
        """Take the class of every training sample, before training.

        Args:
            labels: Shape ``(num_samples,)``; a sample without a label has a negative one, and is
                a class of its own.

        Raises:
            TypeError, ValueError: If they are none, or of one class only.
        """
        self.table.fill(labels)

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        index: Tensor,
        mask: Tensor | None = None,
        *,
        negatives: Tensor | None = None,
    ) -> Tensor:
        """Loss of a batch, scalar; in training mode the banks are updated.

        Args:
            student: Maps, shape ``(N, C, H, W)``.
            teacher: Maps, shape ``(N, C', H', W')``.
            index: Indices of the samples in the data set, shape ``(N,)``.
            mask: Bool, shape ``(N, H, W)``: pixels that count.
            negatives: Indices to compare with, shape ``(N, K)``; drawn by default.

        Raises:
            RuntimeError: If negatives are drawn before :meth:`set_samples` was called.
            TypeError, ValueError: If shapes disagree or an index is outside the data set.
        """
        negatives = self._negatives(index, negatives)
        student, teacher = self.embed(student, teacher, mask, unit=True)
        loss = self.contrast(student, teacher, index, negatives)
        if self.training:
            self.banks.update(index, student, teacher)
        return self.loss_weight * loss

    def contrast(
        self, student: Tensor, teacher: Tensor, index: Tensor, negatives: Tensor
    ) -> Tensor:
        """Return the loss of embeddings of length 1, shape ``(N, D)``, without its weight."""
        raise NotImplementedError

    def _negatives(self, index: Tensor, given: Tensor | None) -> Tensor:
        """Return the negatives that are given, or draw them, after a check of the indices."""
        if not self._equal:
            self.banks.equalise()
            self._equal = True
        if given is None:
            return self.table.draw(index)
        check_index(index, self.table.num_samples)
        return given
