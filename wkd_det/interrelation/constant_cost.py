"""The same distance between all classes."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.registry import MODELS
from torch import Tensor

from wkd_det.functional.number_check import check_positive


@MODELS.register_module()
class ConstantCost:
    """No interrelation at all: the control that any other cost has to beat.

    Transport between equally distant classes costs the distance times the total variation of
    the two distributions, beside what the entropic regularisation adds.

    Args:
        value: Distance between two different classes, > 0; 1 is that of orthogonal prototypes.

    Raises:
        ValueError: If ``value`` is not positive and finite.
    """

    def __init__(self, *, value: float = 1.0) -> None:
        check_positive(value=value)
        self.value = value

    def __call__(self, tap: Any, teacher: Any) -> Tensor:
        """Class distances, shape ``(C, C)``, for the logits that ``tap`` yields."""
        classes = tap.num_classes(teacher.module)
        return torch.full((classes, classes), float(self.value)).fill_diagonal_(0)
