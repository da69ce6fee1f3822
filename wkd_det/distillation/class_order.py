"""The student's classes among the teacher's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class ClassOrder:
    """Brings what the teacher says of its classes into the student's order.

    Classes that the student does not know are background to it: their probability goes to the
    background class where there is one, and is left out of the softmax where there is none.

    Args:
        indices: For each class of the student, its index among the teacher's classes.
        teacher_classes: Number of the teacher's classes, background not counted.
    """

    def __init__(self, indices: Sequence[int], teacher_classes: int) -> None:
        self.indices = list(indices)
        self.teacher_classes = teacher_classes
        self._kept = torch.tensor(self.indices)
        self._rest = torch.tensor(
            [index for index in range(teacher_classes + 1) if index not in set(self.indices)]
        )

    def logits(self, logits: Tensor) -> Tensor:
        """The teacher's logits as the student would order them.

        Args:
            logits: Shape ``(N, T)``, or ``(N, T + 1)`` with background as the last class.

        Returns:
            Shape ``(N, S)`` or ``(N, S + 1)``. The softmax of the latter gives background the
            probability of background and of all classes that the student does not know.

        Raises:
            ValueError: If the width is neither.
        """
        has_background = self._has_background(logits.shape[1])
        self._kept, self._rest = (part.to(logits.device) for part in (self._kept, self._rest))
        kept = logits.index_select(1, self._kept)
        if not has_background:
            return kept
        rest = logits.index_select(1, self._rest).logsumexp(dim=1, keepdim=True)
        return torch.cat([kept, rest.to(kept)], dim=1)

    def offsets(self, offsets: Tensor) -> Tensor:
        """The teacher's box offsets in the student's order, ``(N, 4 T)`` to ``(N, 4 S)``.

        Offsets that all classes share, ``(N, 4)``, are the same in any order.

        Raises:
            ValueError: If the width is neither.
        """
        if offsets.shape[1] == 4:
            return offsets
        if offsets.shape[1] != 4 * self.teacher_classes:
            raise ValueError(
                f'the teacher has {self.teacher_classes} classes, which gives 4 or '
                f'{4 * self.teacher_classes} offsets, got {offsets.shape[1]}'
            )
        self._kept = self._kept.to(offsets.device)
        return offsets.unflatten(1, (-1, 4)).index_select(1, self._kept).flatten(1)

    def matrix(self, values: Tensor) -> Tensor:
        """Rows and columns ``(T, T)`` or ``(T + 1, T + 1)`` in the student's order.

        Raises:
            ValueError: If the size is neither.
        """
        background = [self.teacher_classes] if self._has_background(len(values)) else []
        order = self.indices + background
        return values[order][:, order]

    def _has_background(self, width: int) -> bool:
        if width not in (self.teacher_classes, self.teacher_classes + 1):
            raise ValueError(
                f'the teacher has {self.teacher_classes} classes, which gives '
                f'{self.teacher_classes} logits, or one more with background; got {width}'
            )
        return width > self.teacher_classes
