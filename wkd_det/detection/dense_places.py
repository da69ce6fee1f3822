"""Places of two dense heads in one order: their values, scores, and those that lie in an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from wkd_det.detection.dense import DenseOutput


class DensePlaces:
    """All priors of all levels of a batch, ``P`` for each image, of student and teacher.

    They are ordered by level, prior, row and column. Each part is made when it is first asked
    for. Levels that the two networks round differently are cut to what both have.

    Args:
        student: Outputs of the student's head.
        teacher: Those of the teacher's, in the student's classes and sizes.
        inside: Places of each level whose centre lies in the image, ``(N, H, W)``; None where
            there is no padding.
        foreground: Places that the student's head was assigned an object for, each
            ``(N, A, H, W)``; None where they are not known.
    """

    def __init__(
        self,
        student: DenseOutput,
        teacher: DenseOutput,
        inside: Sequence[Tensor | None],
        foreground: Sequence[Tensor] | None,
    ) -> None:
        self._sides = {'student': student, 'teacher': teacher}
        self._sizes = [tuple(map(min, *pair)) for pair in zip(student.sizes, teacher.sizes)]
        self._inside = inside
        self._foreground = foreground
        self._made: dict[tuple[str, str], Tensor] = {}

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self._sides['student'].logits[0])

    @cached_property
    def inside(self) -> Tensor | None:
        """Places in the images, bool ``(N, P)``; None where all of them are."""
        if any(mask is None for mask in self._inside):
            return None
        logits = self._sides['student'].logits
        spread = [
            mask[:, None].expand(-1, one.shape[1], -1, -1)
            for mask, one in zip(self._inside, logits)
        ]
        return self._joined(spread)

    @cached_property
    def foreground(self) -> Tensor:
        """Places in the images that stand for an object, bool ``(N, P)``.

        Raises:
            ValueError: If the student's head did not assign any.
        """
        if self._foreground is None:
            raise ValueError("the student's dense head has assigned no objects in this step")
        found = self._joined(self._foreground)
        return found if self.inside is None else found & self.inside

    def scores(self, owner: str) -> Tensor:
        """The largest probability of a class, times the quality where a head predicts one.

        Args:
            owner: ``'student'`` or ``'teacher'``.

        Returns:
            Shape ``(N, P)``, in at least float32, without a gradient.
        """
        return self._once(owner, 'scores', lambda: self._scores(self._sides[owner]))

    def values(self, owner: str, part: str) -> Tensor:
        """The values of a part of the outputs, e.g. ``'logits'``, shape ``(N, C, P)``."""
        return self._once(
            owner,
            part,
            lambda: self._joined(
                [one.transpose(1, 2) for one in getattr(self._sides[owner], part)]
            ),
        )

    @torch.no_grad()
    def _scores(self, output: DenseOutput) -> Tensor:
        best = self._joined([one.detach().amax(dim=2) for one in output.logits])
        best = best.to(torch.promote_types(best.dtype, torch.float32)).sigmoid()
        if output.quality is None:
            return best
        return best * self._joined([one.detach() for one in output.quality]).to(best).sigmoid()

    def _joined(self, levels: Sequence[Tensor]) -> Tensor:
        """Maps ``(N, ..., A, H, W)`` as ``(N, ..., P)``, cut to what both networks have."""
        cut = (
            level[..., :height, :width].flatten(-3)
            for level, (height, width) in zip(levels, self._sizes)
        )
        return torch.cat(tuple(cut), dim=-1)

    def _once(self, owner: str, part: str, make: Callable[[], Tensor]) -> Tensor:
        if (owner, part) not in self._made:
            self._made[owner, part] = make()
        return self._made[owner, part]
