"""Class distances from prototypes that the user brings."""

from __future__ import annotations

import os
from typing import Any

from mmdet.registry import MODELS
from torch import Tensor

from wkd_det.functional import cosine_interrelation
from wkd_det.functional.number_check import check_positive
from wkd_det.interrelation.class_matching import BACKGROUND, positions_of, wanted_class_names
from wkd_det.interrelation.prototype_file import read_prototypes
from wkd_det.interrelation.unknown_classes import with_unknown_classes


@MODELS.register_module()
class PrototypeCost:
    """``1 - cosine`` between prototypes from a file, matched to the classes by name.

    Any vectors do: text embeddings of the class names, word vectors, attributes. Distances lie
    in ``[0, 2]``.

    Background is the prototype named ``'background'`` if the file has one. If not, it is equally
    far from all classes: ``background_distance``, by default the median distance between two
    classes, see :func:`with_unknown_classes`.

    Args:
        path: See :func:`read_prototypes` for the two formats.
        center: Remove the mean of the prototypes of the wanted classes first. Text embeddings
            share most of their direction, and differ little without it.
        background_distance: > 0; used only where the file has no background.

    Raises:
        ValueError: If ``background_distance`` is not positive and finite.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        center: bool = False,
        background_distance: float | None = None,
    ) -> None:
        if background_distance is not None:
            check_positive(background_distance=background_distance)
        self.path = path
        self.center = center
        self.background_distance = background_distance

    def __call__(self, tap: Any, teacher: Any) -> Tensor:
        """Class distances, shape ``(C, C)``, in the order of the logits that ``tap`` yields.

        Raises:
            ValueError: If a class has no prototype, or a prototype has no direction.
        """
        prototypes, names = read_prototypes(self.path)
        wanted = wanted_class_names(tap, teacher)
        known = [index for index, name in enumerate(wanted) if name in names or name != BACKGROUND]
        chosen = [wanted[index] for index in known]
        rows = prototypes[positions_of(chosen, names, str(self.path))]
        interrelation = cosine_interrelation(rows, center=self.center, class_names=chosen)
        distance, _ = with_unknown_classes(
            1 - interrelation, known, len(wanted), value=self.background_distance
        )
        return distance
