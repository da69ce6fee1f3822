"""Pairs of queries: which query of the student is compared with which of the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmengine.structures import InstanceData
from torch import Tensor

from wkd_det.detection.queries import Assignment, QueryOutput
from wkd_det.ops.arithmetic import promote


@dataclass(frozen=True)
class QueryPairs:
    """Pairs of queries of one decoder layer of each network, image by image."""

    images: Tensor
    """Image of each pair, shape ``(R,)``."""
    student: Tensor
    """Its query of the student, shape ``(R,)``."""
    teacher: Tensor
    """Its query of the teacher, shape ``(R,)``."""
    labels: Tensor
    """Class of the object that both stand for, shape ``(R,)``."""

    def of_student(self, values: Tensor) -> Tensor:
        """Rows of the student's values ``(N, Q, ...)``, shape ``(R, ...)``."""
        return values[self.images, self.student]

    def of_teacher(self, values: Tensor) -> Tensor:
        """Rows of the teacher's values ``(N, Q, ...)``, shape ``(R, ...)``."""
        return values[self.images, self.teacher]


class QueryMatcher:
    """Pairs queries by the objects that both networks assign them to.

    Assignments are Hungarian, by the costs of the student's own assigner.

    Args:
        student: Outputs of the student's head.
        teacher: Those of the teacher's, in the student's classes.
        assigner: The student's.
        assigned: Its assignments in the student's loss, in their order.
        samples: The data sample of each image.
    """

    def __init__(
        self,
        student: QueryOutput,
        teacher: QueryOutput,
        assigner: Any,
        assigned: Sequence[Assignment],
        samples: Sequence[Any],
    ) -> None:
        self._student, self._teacher = student, teacher
        self._assigner = assigner
        self._assigned = assigned
        self._samples = samples

    @torch.no_grad()
    def by_targets(self, layer: int, teacher_layer: int) -> QueryPairs:
        """Pairs of queries that stand for the same annotated object.

        The student's is the one that its own loss has assigned, the teacher's that which the same
        assigner gives it.

        Args:
            layer: Decoder layer of the student.
            teacher_layer: That of the teacher.
        """
        found = []
        for image, sample in enumerate(self._samples):
            objects = sample.gt_instances
            own = self._own(layer, image, objects)
            other = self._assign(self._teacher, teacher_layer, image, objects)
            found.append((own, other, objects.labels))
        return _joined(found)

    @torch.no_grad()
    def by_teacher(self, layer: int, teacher_layer: int, top: int) -> QueryPairs:
        """Pairs of the teacher's most confident queries with queries of the student's.

        Box and class of a teacher's query are an object for the student's assigner, which finds
        the query of the student's that is nearest to it.

        Args:
            layer: Decoder layer of the student.
            teacher_layer: That of the teacher.
            top: Number of queries of each image, at most.
        """
        probabilities = self._teacher.probabilities(teacher_layer)
        found = []
        for image in range(len(self._samples)):
            scores, labels = probabilities[image].max(dim=1)
            kept = _kept(self._teacher, teacher_layer, image)
            best = scores[kept].topk(min(top, len(kept))).indices
            other = kept[best]
            boxes = self._corners(self._teacher, teacher_layer, image)[other]
            objects = InstanceData(bboxes=boxes, labels=labels[other])
            own = self._assign(self._student, layer, image, objects)
            found.append((own, other, labels[other]))
        return _joined(found)

    def _own(self, layer: int, image: int, objects: Any) -> Tensor:
        """Query of each annotated object, as the student's own loss has assigned it.

        Assigned again where the loss of another head did so in an order of its own.
        """
        place, kept = layer * len(self._samples) + image, _kept(self._student, layer, image)
        if place < len(self._assigned):
            scores, count, assigned = self._assigned[place]
            if count == len(objects) and torch.equal(
                scores, self._student.logits[layer][image].detach()[kept]
            ):
                return _queries_of(assigned, kept, count)
        return self._assign(self._student, layer, image, objects)

    def _assign(self, output: QueryOutput, layer: int, image: int, objects: Any) -> Tensor:
        """Query of each object, shape ``(G,)``; -1 for an object without one."""
        kept = _kept(output, layer, image)
        (scores,) = promote(output.logits[layer][image].detach()[kept])
        boxes = self._corners(output, layer, image)[kept]
        predicted = InstanceData(scores=scores, bboxes=boxes)
        result = self._assigner.assign(
            predicted, gt_instances=objects, img_meta=self._samples[image].metainfo
        )
        return _queries_of(result.gt_inds, kept, len(objects))

    def _corners(self, output: QueryOutput, layer: int, image: int) -> Tensor:
        """Corners of the boxes of an image in its pixels, shape ``(Q, 4)``."""
        height, width = self._samples[image].img_shape[:2]
        (boxes,) = promote(output.boxes[layer][image].detach())
        return bbox_cxcywh_to_xyxy(boxes) * boxes.new_tensor([width, height, width, height])


def _kept(output: QueryOutput, layer: int, image: int) -> Tensor:
    """Indices of the queries of an image that count."""
    mask = output.distinct[layer]
    if mask is not None:
        return mask[image].nonzero().flatten()
    logits = output.logits[layer]
    return torch.arange(logits.shape[1], device=logits.device)


def _queries_of(assigned: Tensor, kept: Tensor, objects: int) -> Tensor:
    """Query of each object, shape ``(G,)``; -1 for an object without one.

    Args:
        assigned: For each query that counts the number of its object from 1 on, or 0.
        kept: Indices of these queries.
        objects: Number of objects.
    """
    queries = torch.full((objects,), -1, device=kept.device)
    matched = assigned > 0
    queries[assigned[matched] - 1] = kept[matched]
    return queries


def _joined(found: Sequence[tuple[Tensor, Tensor, Tensor]]) -> QueryPairs:
    """Pairs of all images, of the objects that have a query on both sides.

    Args:
        found: For each image the student's and the teacher's query, or -1, and the class of each
            object.
    """
    columns = []
    for image, (own, other, labels) in enumerate(found):
        both = (own >= 0) & (other >= 0)
        images = torch.full_like(own, image)
        columns.append([column[both] for column in (images, own, other, labels)])
    return QueryPairs(*(torch.cat(parts) for parts in zip(*columns)))
