"""Taps on the neck with the objects of the image: near them, or with their boxes and classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from torch import Tensor, nn
from torchvision.ops import box_iou

from wkd_det.connectors import Connector
from wkd_det.detection.geometry import num_classes
from wkd_det.detection.student_view import DetectorStudentView
from wkd_det.detection.taps.maps import PyramidTap
from wkd_det.distillation.tap import Binding, cut_pair
from wkd_det.distillation.view import Pair, TeacherView
from wkd_det.ops.checks import is_number


class ImitationTap(PyramidTap):
    r"""Maps of the neck, all levels in one comparison, at locations near an object.

    A location is near if one of its anchors overlaps an object by more than ``threshold`` times
    the object's best overlap with any anchor,

    .. math:: I_{lij} = [\exists g, k: IoU_{lijk,g} > \psi \max_{l'i'j'k'} IoU_{l'i'j'k',g}]

    with the anchors of the student's first stage at the levels that are compared. The paper has
    one level, where every object is imitated; with several, the best overlap is that of all of
    them, so an object is imitated at the levels that fit its size. Padding does not count.

    Args:
        threshold: :math:`\psi`, in [0, 1).
        levels: Indices of the student's levels, as of the tap ``neck``.
        teacher_levels: Indices of the teacher's levels to compare them with.

    Raises:
        ValueError: If ``threshold`` is outside its range.

    References: Wang, Yuan, Zhang, Feng, Distilling Object Detectors with Fine-Grained Feature
        Imitation, CVPR 2019, section 3.2 (threshold 0.5).
    """

    reads_labels = True

    def __init__(
        self,
        *,
        threshold: float = 0.5,
        levels: Sequence[int] | None = None,
        teacher_levels: Sequence[int] | None = None,
    ) -> None:
        super().__init__(levels=levels, teacher_levels=teacher_levels)
        if not is_number(threshold) or not 0 <= threshold < 1:
            raise ValueError(f'threshold must lie in [0, 1), got {threshold!r}')
        self.threshold = threshold

    def bind(self, student: nn.Module, teacher: Mapping[str, Any]) -> Binding:
        head = getattr(student, 'rpn_head', None) or getattr(student, 'bbox_head', None)
        if not isinstance(getattr(head, 'prior_generator', None), AnchorGenerator):
            raise ValueError(
                f'imitation needs anchors: the {type(student).__name__} of the student has none'
            )
        return super().bind(student, teacher)

    def read(
        self,
        student: DetectorStudentView,
        teacher: TeacherView,
        connectors: Sequence[Connector],
    ) -> list[Pair]:
        (pair,) = super().read(student, teacher, connectors)
        sizes = [tuple(level.shape[-2:]) for level in pair['teacher']]
        # A student's map may be a pixel larger than what is compared.
        near = [
            level[:, :height, :width] for level, (height, width) in zip(self._near(student), sizes)
        ]
        inside = pair.get('mask')
        pair['mask'] = near if inside is None else [a & b for a, b in zip(near, inside)]
        return [pair]

    def _near(self, student: DetectorStudentView) -> list[Tensor]:
        """Locations near an object, one mask ``(N, H, W)`` per level."""
        head = getattr(student.module, 'rpn_head', None) or student.module.bbox_head
        sizes = [tuple(features.shape[-2:]) for features in student.maps('neck')]
        generator = head.prior_generator
        sizes = sizes[: generator.num_levels]
        anchors = generator.grid_priors(sizes, device=student.inputs.device)
        anchors, sizes = ([values[level] for level in self.levels] for values in (anchors, sizes))
        masks = [near_objects(anchors, sizes, boxes, self.threshold) for boxes in student.boxes]
        return [torch.stack(level) for level in zip(*masks)]


def near_objects(
    anchors: Sequence[Tensor], sizes: Sequence[tuple[int, int]], boxes: Tensor, threshold: float
) -> list[Tensor]:
    """Locations that have an anchor near an object.

    Args:
        anchors: One tensor per level, shape ``(H W A, 4)``, those of a location in succession.
        sizes: Height and width of each level.
        boxes: Objects of one image, shape ``(G, 4)``.
        threshold: Share of an object's best overlap.

    Returns:
        Bool, ``(H, W)`` for each level.
    """
    near = []
    if len(boxes) == 0:
        return [torch.zeros(size, dtype=torch.bool, device=boxes.device) for size in sizes]
    overlaps = [box_iou(level.to(boxes), boxes) for level in anchors]
    best = torch.stack([level.max(dim=0).values for level in overlaps]).max(dim=0).values
    for level, size in zip(overlaps, sizes):
        by_location = (level > threshold * best).any(dim=1).view(*size, -1)
        near.append(by_location.any(dim=2))
    return near


class InstanceTap(PyramidTap):
    """Maps of the neck, all levels in one comparison, with boxes and classes of the objects.

    It has no connectors: the loss learns its own projections, and is told the widths.

    Args:
        levels: Indices of the student's levels, as of the tap ``neck``.
        teacher_levels: Indices of the teacher's levels to compare them with.
    """

    yields: ClassVar[str] = 'instances'
    reads_labels = True

    def bind(self, student: nn.Module, teacher: Mapping[str, Any]) -> Binding:
        slots = super().bind(student, teacher).slots
        own = sorted({slot.source for slot in slots})
        other = sorted({slot.target for slot in slots})
        if len(own) > 1 or len(other) > 1:
            raise ValueError(
                'instances needs levels of equal width, the student has '
                f'{own} and the teacher {other}'
            )
        facts = dict(
            num_classes=num_classes(student), student_channels=own[0], teacher_channels=other[0]
        )
        return Binding(facts=facts)

    def read(
        self,
        student: DetectorStudentView,
        teacher: TeacherView,
        connectors: Sequence[Connector],
    ) -> list[Pair]:
        own, other = student.maps('neck'), teacher.maps('neck')
        levels = [
            cut_pair(own[level], other[index], student.image_mask('neck', other[index]))
            for level, index in zip(self.levels, self.teacher_levels)
        ]
        maps, targets, masks = zip(*levels)
        pair = dict(
            student=list(maps),
            teacher=list(targets),
            boxes=student.boxes,
            labels=student.classes,
            image_sizes=student.image_sizes,
        )
        if masks[0] is not None:
            pair['mask'] = list(masks)
        return [pair]
