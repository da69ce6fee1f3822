"""Taps on the outputs of dense heads, at the places of their levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from wkd_det.connectors import Connector
from wkd_det.detection.dense import (
    HEAD,
    class_weights,
    dense_head,
    num_bins,
    require_assignment,
    require_same_places,
)
from wkd_det.detection.dense_places import DensePlaces
from wkd_det.detection.student_view import DetectorStudentView
from wkd_det.detection.teacher_view import DetectorTeacherView
from wkd_det.distillation.tap import Binding, Tap
from wkd_det.distillation.view import Pair
from wkd_det.ops.checks import check_choice, is_integer
from wkd_det.ops.processes import mean_of_processes

PLACES = ('all', 'positives', 'top')
WEIGHTS = (None, 'student', 'teacher')
AVERAGES = ('places', 'positives', 'weights', 'images')
_SMALLEST = 1e-6  # a sum of weights of places that nobody finds anything at


class DenseTap(Tap):
    """Outputs of both dense heads at the same places, all levels in one comparison.

    Places in the padding do not count. Of several priors at a place each counts by itself.

    Args:
        places: ``'all'``; ``'positives'``, which the student's own head has assigned an object to
            in this step; or ``'top'``, those of the teacher's highest scores in each image.
        top: Number of places for each image with ``'top'``.
        weigh_by: Whose score weighs each place: the largest probability of a class, times
            centredness, IoU or objectness where the head predicts one. None weighs all alike.
        average: Divisor of the sum over places: the number of ``'places'``, that of the
            student's ``'positives'`` (at least 1), the sum of their ``'weights'``, or the number
            of ``'images'``. Under several processes it is the mean over these, so that each place
            counts the same.

    Raises:
        ValueError: If an option is outside its range.
    """

    part: ClassVar[str]
    """Which of the outputs is compared."""
    student_modules: tuple[str, ...] = (HEAD,)
    teacher_modules: tuple[str, ...] = (HEAD,)

    def __init__(self, *, places: str, top: int | None, weigh_by: str | None, average: str) -> None:
        check_choice(PLACES, places=places)
        check_choice(WEIGHTS, weigh_by=weigh_by)
        check_choice(AVERAGES, average=average)
        if (places == 'top') != (top is not None) or not (top is None or is_integer(top, 1)):
            raise ValueError(
                f"top must be a number of places with places='top' and None otherwise, got {top!r} "
                f'with {places!r}'
            )
        self.places = places
        self.top = top
        self.weigh_by = weigh_by
        self.average = average

    @property
    def needs_assignment(self) -> bool:
        """Whether the student's positives must be known."""
        return 'positives' in (self.places, self.average)

    def bind(self, student: nn.Module, teacher: Mapping[str, Any]) -> Binding:
        own = dense_head(student.dry_run().network, 'student')
        other = dense_head(student.dry_run(teacher).network, 'teacher')
        require_same_places(own, other)
        if self.needs_assignment:
            require_assignment(own)
        return self._bound(own, other)

    def read(
        self,
        student: DetectorStudentView,
        teacher: DetectorTeacherView,
        connectors: Sequence[Connector],
    ) -> list[Pair]:
        places = self._places(student, teacher)
        own, other = (places.values(owner, self.part) for owner in ('student', 'teacher'))
        weight = None if self.weigh_by is None else places.scores(self.weigh_by)
        if self.places == 'all':
            pair = self._all(places, own, other, weight)
        elif self.places == 'positives':
            image, place = places.foreground.nonzero(as_tuple=True)
            pair = dict(student=own[image, :, place], teacher=other[image, :, place])
            if weight is not None:
                pair['weight'] = weight[image, place]
        else:
            pair = self._top(places, own, other, weight)
        least = _SMALLEST if self.average == 'weights' else 1
        pair['avg_factor'] = mean_of_processes(self._divisor(places, pair)).clamp(min=least)
        for owner in ('student', 'teacher'):
            pair[owner] = self._row(pair[owner])
        return [pair]

    def _places(self, student: DetectorStudentView, teacher: DetectorTeacherView) -> DensePlaces:
        """Places with the outputs that are compared; the same for all taps on these.

        Kept with the teacher, of which there may be several.
        """
        return teacher.once('places', lambda: student.places(teacher.dense()))

    def _bound(self, student: nn.Module, teacher: nn.Module) -> Binding:
        """Facts of the two heads."""
        raise NotImplementedError

    def _row(self, values: Tensor) -> Tensor:
        """Values of places ``(R, C)`` as the loss takes them."""
        return values

    def _all(self, places: DensePlaces, own: Tensor, other: Tensor, weight: Tensor | None) -> Pair:
        inside = places.inside
        if inside is not None:
            own, other = (values.masked_fill(~inside[:, None], 0) for values in (own, other))
            weight = inside.float() if weight is None else weight * inside
        pair = dict(
            student=own.transpose(1, 2).flatten(0, 1), teacher=other.transpose(1, 2).flatten(0, 1)
        )
        if weight is not None:
            pair['weight'] = weight.flatten()
        return pair

    def _top(self, places: DensePlaces, own: Tensor, other: Tensor, weight: Tensor | None) -> Pair:
        scores, inside = places.scores('teacher'), places.inside
        if inside is not None:
            scores = scores.masked_fill(~inside, -1)
        # In a fixed number, so that no device is waited for; an image of few has weights of 0.
        best, chosen = scores.topk(min(self.top, scores.shape[1]), dim=1)
        pair = {
            owner: values.gather(2, chosen[:, None].expand(-1, values.shape[1], -1))
            .transpose(1, 2)
            .flatten(0, 1)
            for owner, values in (('student', own), ('teacher', other))
        }
        if weight is not None:
            weight = weight.gather(1, chosen)
        if inside is not None:
            there = (best >= 0).float()
            weight = there if weight is None else weight * there
        if weight is not None:
            pair['weight'] = weight.flatten()
        return pair

    def _divisor(self, places: DensePlaces, pair: Pair) -> Tensor:
        """Divisor of the sum over the places of this process."""
        rows, weight = pair['student'], pair.get('weight')
        if self.average == 'images':
            return torch.full((), float(places.images), device=rows.device)
        if self.average == 'positives':
            return places.foreground.sum().float()
        if self.average == 'places' and self.weigh_by is not None:
            weight = self._in_images(places)
        if weight is None:
            return torch.full((), float(len(rows)), device=rows.device)
        return weight.sum()

    def _in_images(self, places: DensePlaces) -> Tensor | None:
        """Numbers of compared places that lie in the images; None where all of them do."""
        if places.inside is None or self.places == 'positives':
            return None
        inside = places.inside.sum(dim=1).float()
        return inside if self.places == 'all' else inside.clamp(max=self.top)


class BoxDistributionsTap(DenseTap):
    """Logits of the distributions of the four sides of boxes, as a GFL head gives them.

    The distances of the sides from the place are distributed over bins of one stride of the
    place's level.

    Args:
        places, top, weigh_by, average: See :class:`DenseTap`.
    """

    yields: ClassVar[str] = 'box_distributions'
    part: ClassVar[str] = 'distributions'

    def __init__(
        self,
        *,
        places: str = 'positives',
        top: int | None = None,
        weigh_by: str | None = 'teacher',
        average: str = 'weights',
    ) -> None:
        super().__init__(places=places, top=top, weigh_by=weigh_by, average=average)

    def _bound(self, student: nn.Module, teacher: nn.Module) -> Binding:
        own, other = num_bins(student, 'student'), num_bins(teacher, 'teacher')
        if own != other:
            raise ValueError(
                f'distributions are compared bin by bin: the {type(student).__name__} of the '
                f'student has {own} bins and the {type(teacher).__name__} of the teacher {other}'
            )
        return Binding()

    def _row(self, values: Tensor) -> Tensor:
        return values.unflatten(1, (4, -1))


class DenseLogitsTap(DenseTap):
    """Class logits of both heads, each class by a sigmoid.

    Scores are compared as the head gives them, without centredness, IoU or objectness. TOOD gives
    probabilities: their logits.

    Args:
        places, top, weigh_by, average: See :class:`DenseTap`.
    """

    yields: ClassVar[str] = 'dense_logits'
    part: ClassVar[str] = 'logits'
    compares_classes: ClassVar[bool] = True

    def __init__(
        self,
        *,
        places: str = 'all',
        top: int | None = None,
        weigh_by: str | None = None,
        average: str = 'positives',
    ) -> None:
        super().__init__(places=places, top=top, weigh_by=weigh_by, average=average)

    def class_rows(self, teacher: nn.Module) -> Tensor:
        return class_weights(dense_head(teacher, 'teacher'))

    def _bound(self, student: nn.Module, teacher: nn.Module) -> Binding:
        return Binding(num_classes=student.cls_out_channels)
