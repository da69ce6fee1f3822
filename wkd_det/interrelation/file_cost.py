"""Class distances from a file."""

from __future__ import annotations

import os
from typing import Any

from mmdet.registry import MODELS
from torch import Tensor

from wkd_det.interrelation.class_matching import positions_of, wanted_class_names
from wkd_det.interrelation.cost_file import read_cost_file


@MODELS.register_module()
class FileCost:
    """Class distances that were computed before; see :func:`read_cost_file` for the formats.

    Args:
        path: The file.
        by_position: Trust the order of the classes. Needed for files without class names, such
            as the matrices of the reference repository.
    """

    def __init__(self, path: str | os.PathLike, *, by_position: bool = False) -> None:
        self.path = path
        self.by_position = by_position

    def __call__(self, tap: Any, teacher: Any) -> Tensor:
        """Class distances, shape ``(C, C)``, in the order of the logits that ``tap`` yields.

        Raises:
            ValueError: If names are needed and missing, or a class is not in the file.
        """
        content = read_cost_file(self.path)
        if self.by_position:
            return content.distance
        if content.class_names is None:
            raise ValueError(
                f'the file {self.path} has no class names to match; set by_position=True to '
                'trust the order'
            )
        wanted = wanted_class_names(tap, teacher)
        order = positions_of(wanted, content.class_names, str(self.path))
        return content.distance[order][:, order]
