"""Sources of class distances: where WKD-L learns how far apart two classes are."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from wkd_det.costs.files import read_cost_file, read_prototypes
from wkd_det.costs.interface import ClassTable, CostSource
from wkd_det.costs.matrix import BACKGROUND, positions_of
from wkd_det.costs.similarity import cosine_interrelation, with_unknown_classes
from wkd_det.ops.checks import check_booleans, check_positive
from wkd_det.runtime.class_names import spelling


class ClassifierCost(CostSource):
    """``1 - cosine`` between the rows of the teacher's last layer, background included.

    Needs nothing prepared. Distances lie in ``[0, 2]``. A classifier without a row for background
    (sigmoids, Seesaw) leaves it equally far from all classes, see :func:`with_unknown_classes`.

    Args:
        center: Remove the mean row first, so that what all classes share does not count.

    Raises:
        ValueError: If ``center`` is no boolean.
    """

    def __init__(self, *, center: bool = False) -> None:
        check_booleans(center=center)
        self.center = center

    def __call__(self, table: ClassTable) -> Tensor:
        rows = table.rows().detach().double()
        known = rows[:-1] if rows[-1:].isnan().all() else rows
        names = table.names and table.names[: len(known)]
        distance = 1 - cosine_interrelation(known, center=self.center, class_names=names)
        if len(known) == len(rows):
            return distance
        return with_unknown_classes(distance, range(len(known)), len(rows))[0]


class ConstantCost(CostSource):
    """No interrelation at all: the control that any other cost has to beat.

    Transport between equally distant classes costs the distance times the total variation of
    the two distributions, plus what the entropic regularisation adds.

    Args:
        value: Distance between two different classes, > 0; 1 is that of orthogonal prototypes.

    Raises:
        ValueError: If ``value`` is not positive and finite.
    """

    def __init__(self, *, value: float = 1.0) -> None:
        check_positive(value=value)
        self.value = value

    def __call__(self, table: ClassTable) -> Tensor:
        shape = (table.count, table.count)
        return torch.full(shape, float(self.value)).fill_diagonal_(0)


class FileCost(CostSource):
    """Class distances that were computed before; see :func:`read_cost_file` for the formats.

    Args:
        path: The file.
        by_position: Trust the order of the teacher's classes. Needed for files without class
            names, such as the matrices of the reference repository. By name, a file of the
            student's classes is enough where the teacher has more.

    Raises:
        ValueError: If ``by_position`` is no boolean.
    """

    def __init__(self, path: str | os.PathLike, *, by_position: bool = False) -> None:
        check_booleans(by_position=by_position)
        self.path = path
        self.by_position = by_position
        self.by_name = not by_position

    def __call__(self, table: ClassTable) -> Tensor:
        """Class distances of the classes of ``table`` in its order, shape ``(C, C)``.

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
        wanted = table.require_names()
        order = positions_of(wanted, content.class_names, str(self.path))
        return content.distance[order][:, order]


class PrototypeCost(CostSource):
    """``1 - cosine`` between prototypes from a file, matched to the classes by name.

    Any vectors do: text embeddings of the class names, word vectors, attributes. Distances lie
    in ``[0, 2]``.

    Prototypes of the student's classes are enough where the teacher has more. Background is the
    prototype named ``'background'`` if the file has one. If not, it is equally
    far from all classes: ``background_distance``, by default the median distance between two
    classes, see :func:`with_unknown_classes`.

    Args:
        path: See :func:`read_prototypes` for the two formats.
        center: Remove the mean of the prototypes of the wanted classes first. Text embeddings
            share most of their direction, and differ little without it.
        background_distance: > 0; used only where the file has no background.

    Raises:
        ValueError: If ``background_distance`` is not positive and finite, or ``center`` no boolean.
    """

    by_name = True

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        center: bool = False,
        background_distance: float | None = None,
    ) -> None:
        check_booleans(center=center)
        if background_distance is not None:
            check_positive(background_distance=background_distance)
        self.path = path
        self.center = center
        self.background_distance = background_distance

    def __call__(self, table: ClassTable) -> Tensor:
        """Class distances of the classes of ``table`` in its order, shape ``(C, C)``.

        Raises:
            ValueError: If a class has no prototype, or a prototype has no direction.
        """
        prototypes, names = read_prototypes(self.path)
        wanted = table.require_names()
        has_background = BACKGROUND in map(spelling, names)
        known = [i for i, name in enumerate(wanted) if has_background or name != BACKGROUND]
        chosen = [wanted[index] for index in known]
        rows = prototypes[positions_of(chosen, names, str(self.path))]
        interrelation = cosine_interrelation(rows, center=self.center, class_names=chosen)
        distance, _ = with_unknown_classes(
            1 - interrelation, known, len(wanted), value=self.background_distance
        )
        return distance
