"""Taps on pairs of queries: class logits and boxes of the decoder layers of DETR and its kin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from wkd_det.connectors import Connector
from wkd_det.detection.dense import HEAD
from wkd_det.detection.queries import (
    is_softmax,
    num_layers,
    query_class_weights,
    query_head,
    require_assigner,
    require_same_scores,
)
from wkd_det.detection.query_pairs import QueryPairs
from wkd_det.detection.student_view import DetectorStudentView
from wkd_det.detection.teacher_view import DetectorTeacherView
from wkd_det.distillation.tap import Binding, Tap
from wkd_det.distillation.view import Pair
from wkd_det.ops.checks import are_indices, check_choice, check_weights, is_integer
from wkd_det.ops.processes import mean_of_processes

PAIRINGS = ('targets', 'teacher')
WEIGHTS = (None, 'teacher')
_SMALLEST = 1e-6  # a sum of weights of queries that are sure of nothing


class QueryTap(Tap):
    """Pairs of queries of both heads, layer by layer of their decoders.

    Queries have no order that two networks share, so they are paired by the objects that they
    stand for. The assignment is Hungarian, by the student's own assigner and its costs. Nothing of
    the student is run again: its queries of a step are those of its own loss. Queries of
    denoising do not count.

    Args:
        pair_by: ``'targets'``: the queries that both networks assign to the same annotated object.
            ``'teacher'``: the teacher's ``top`` queries of each image, whose boxes and classes
            are the objects that the student's queries are assigned to; needs no annotations.
        top: Number of queries of each image with ``pair_by='teacher'``.
        layers: Decoder layers of the student: ``'last'``, ``'all'`` or a list of indices from 0
            on. Each is paired by itself, and the loss is the mean over layers.
        teacher_layers: Those of the teacher to compare them with, as many; the same by default.
        layer_weights: Factor of each layer in the term's sum; the mean over layers by default.
        weigh_by: ``'teacher'``: the teacher's largest probability of a class weighs each pair.
            None weighs all alike.

    Raises:
        ValueError: If an option is outside its range.

    References: pairs by the teacher's predictions: Chang, Wang, Xu, Chen, Luo, DETRDistill, ICCV
        2023. Wang et al., Knowledge Distillation for Detection Transformer with Consistent
        Distillation Points Sampling (KD-DETR), CVPR 2024, runs the student a second time on the
        teacher's queries; here it is not.
    """

    part: ClassVar[str]
    """Which of the outputs is compared."""
    student_modules: tuple[str, ...] = (HEAD,)
    teacher_modules: tuple[str, ...] = (HEAD,)

    def __init__(
        self,
        *,
        pair_by: str = 'targets',
        top: int | None = None,
        layers: str | Sequence[int] = 'last',
        teacher_layers: str | Sequence[int] | None = None,
        layer_weights: Sequence[float] | None = None,
        weigh_by: str | None = None,
    ) -> None:
        check_choice(PAIRINGS, pair_by=pair_by)
        check_choice(WEIGHTS, weigh_by=weigh_by)
        if (pair_by == 'teacher') != (top is not None) or not (top is None or is_integer(top, 1)):
            raise ValueError(
                f"top must be a number of queries with pair_by='teacher' and None otherwise, got "
                f'{top!r} with {pair_by!r}'
            )
        for name, value in dict(layers=layers, teacher_layers=teacher_layers).items():
            if not (value is None and name == 'teacher_layers' or _is_choice(value)):
                raise ValueError(
                    f"{name} must be 'last', 'all' or a non-empty list of different indices from 0 "
                    f'on, got {value!r}'
                )
        self.pair_by = pair_by
        self.top = top
        self.reads_labels = pair_by == 'targets'
        self.layers = layers
        self.teacher_layers = layers if teacher_layers is None else teacher_layers
        self.weights = layer_weights
        self.weigh_by = weigh_by
        self.compared: list[tuple[int, int]] = []
        """Decoder layers of student and teacher, known once both networks are."""

    def bind(self, student: nn.Module, teacher: Mapping[str, Any]) -> Binding:
        models = student.dry_run().network, student.dry_run(teacher).network
        own, other = (query_head(*pair) for pair in zip(models, ('student', 'teacher')))
        require_assigner(own, 'student')
        require_same_scores(own, other)
        counts = [num_layers(*pair) for pair in zip(models, ('student', 'teacher'))]
        chosen = [
            _indices(*each)
            for each in zip(
                ('layers', 'teacher_layers'),
                (self.layers, self.teacher_layers),
                counts,
                ('student', 'teacher'),
            )
        ]
        if len(chosen[0]) != len(chosen[1]):
            raise ValueError(
                f'layers are {chosen[0]} of {counts[0]} in the student and teacher_layers '
                f'{chosen[1]} of {counts[1]} in the teacher: name as many'
            )
        check_weights('layer_weights', self.weights, len(chosen[0]), 'layer')
        self.compared = list(zip(*chosen))
        return self._bound(own)

    def read(
        self,
        student: DetectorStudentView,
        teacher: DetectorTeacherView,
        connectors: Sequence[Connector],
    ) -> list[Pair]:
        return [self._pair(student, teacher, *layers) for layers in self.compared]

    def _bound(self, head: nn.Module) -> Binding:
        """Facts of the student's head."""
        return Binding()

    def _pair(
        self,
        student: DetectorStudentView,
        teacher: DetectorTeacherView,
        layer: int,
        teacher_layer: int,
    ) -> Pair:
        """Arguments of the loss from a decoder layer of each network."""
        own, other = student.queries(), teacher.queries()
        key = self.top, layer, teacher_layer  # the same for all taps that ask for these pairs

        def matched() -> QueryPairs:
            matcher = teacher.once('queries', lambda: student.query_matcher(other))
            if self.top is None:
                return matcher.by_targets(layer, teacher_layer)
            return matcher.by_teacher(layer, teacher_layer, self.top)

        pairs = teacher.once(('pairs of queries', *key), matched)
        pair = dict(
            student=pairs.of_student(getattr(own, self.part)[layer]),
            teacher=pairs.of_teacher(getattr(other, self.part)[teacher_layer]),
        )
        if self.yields == 'logits':  # of a softmax, whose losses take no weights
            return dict(pair, target=pairs.labels) if 'target' in self.gives else pair
        weights = teacher.once(
            ('weights of queries', self.weigh_by, *key),
            lambda: self._weights(pairs, other.scores(teacher_layer)),
        )
        return {**pair, **weights}

    def _weights(self, pairs: QueryPairs, scores: Tensor) -> Pair:
        """Weight and divisor of the sum over the pairs.

        Args:
            pairs: Those of a layer.
            scores: Scores of the teacher's queries there, ``(N, Q)``.
        """
        if self.weigh_by is None:
            count = torch.full((), float(len(pairs.images)), device=pairs.images.device)
            return dict(avg_factor=mean_of_processes(count).clamp(min=1))
        weight = pairs.of_teacher(scores)
        return dict(weight=weight, avg_factor=mean_of_processes(weight.sum()).clamp(min=_SMALLEST))


class QueryLogitsTap(QueryTap):
    """Class logits of pairs of queries.

    Heads with a sigmoid for each class (Deformable, Conditional and DAB DETR, DINO, DDQ) give what
    dense heads give, ``'dense_logits'``; a DETR, which has a softmax over classes and "no object",
    gives ``'logits'``, and weighs all pairs alike.

    Args:
        pair_by, top, layers, teacher_layers, layer_weights, weigh_by: See :class:`QueryTap`.
    """

    yields: str = 'dense_logits'
    part: ClassVar[str] = 'logits'
    compares_classes: ClassVar[bool] = True

    def look(self, student: nn.Module) -> None:
        if not is_softmax(query_head(student, 'student')):
            return
        if self.weigh_by is not None:
            raise ValueError(
                f'weigh_by must be None: the {type(student.bbox_head).__name__} of the student '
                f'has a softmax, whose losses take no weights, got {self.weigh_by!r}'
            )
        self.yields = 'logits'
        if self.pair_by == 'targets':
            self.gives = ('target',)

    def class_rows(self, teacher: nn.Module) -> Tensor:
        # Several layers share one class cost: that of the last one.
        last = max(layer for _, layer in self.compared)
        return query_class_weights(query_head(teacher, 'teacher'), last)

    def _bound(self, head: nn.Module) -> Binding:
        return Binding(num_classes=head.cls_out_channels, background=is_softmax(head))


class QueryBoxesTap(QueryTap):
    """Boxes of pairs of queries: centre, width and height in shares of the image.

    Args:
        pair_by, top, layers, teacher_layers, layer_weights, weigh_by: See :class:`QueryTap`.
    """

    yields: str = 'query_boxes'
    part: ClassVar[str] = 'boxes'


def _is_choice(value: Any) -> bool:
    return value in ('last', 'all') if isinstance(value, str) else are_indices(value)


def _indices(name: str, choice: str | Sequence[int], count: int, owner: str) -> list[int]:
    """Indices of a choice of decoder layers."""
    if choice == 'last':
        return [count - 1]
    if choice == 'all':
        return list(range(count))
    if max(choice) >= count:
        raise ValueError(
            f'{name} must be below the number of decoder layers, and the {owner} has {count}, got '
            f'{list(choice)}'
        )
    return list(choice)
