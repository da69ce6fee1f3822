"""Class distances from a file."""

from __future__ import annotations

import os
from typing import Any

from mmdet.registry import MODELS
from torch import Tensor

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
        distance, names = read_cost_file(self.path)
        if self.by_position:
            return distance
        wanted = tap.class_names(teacher)
        if names is None or wanted is None:
            holder = f'the file {self.path}' if names is None else "the teacher's checkpoint"
            raise ValueError(
                f'{holder} has no class names to match; set by_position=True to trust the order'
            )
        missing = [name for name in wanted if name not in names]
        if missing:
            raise ValueError(f'{self.path} has no distances for the classes {missing[:8]}')
        order = [names.index(name) for name in wanted]
        return distance[order][:, order]
