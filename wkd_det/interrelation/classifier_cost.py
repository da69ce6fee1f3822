"""Class distances from the teacher's classifier."""

from __future__ import annotations

from typing import Any

from mmdet.registry import MODELS
from torch import Tensor

from wkd_det.functional import cosine_interrelation


@MODELS.register_module()
class ClassifierCost:
    """``1 - cosine`` between the rows of the teacher's last layer, background included.

    Needs nothing prepared. Distances lie in ``[0, 2]``.

    Args:
        center: Remove the mean row first, so that what all classes share does not count.
    """

    def __init__(self, *, center: bool = False) -> None:
        self.center = center

    def __call__(self, tap: Any, teacher: Any) -> Tensor:
        """Class distances, shape ``(C, C)``, for the logits that ``tap`` yields."""
        rows = tap.classifier_rows(teacher.module).detach().double()
        names = tap.class_names(teacher)
        return 1 - cosine_interrelation(rows, center=self.center, class_names=names)
