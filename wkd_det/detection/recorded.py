"""A call of a student's box head, read part by part when a tap asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from mmdet.structures.bbox import bbox2roi, cat_boxes
from torch import Tensor, nn

from wkd_det.detection.classifiers import class_logits
from wkd_det.detection.heads import is_sparse


@dataclass(frozen=True)
class Sampled:
    """RoIs of one image, as they were given to the box head; a Grid R-CNN moves them afterwards."""

    positives: Tensor
    negatives: Tensor
    labels: Tensor
    """Classes of the positives."""
    rows: Tensor
    """Positions of the positives among the proposals of the image."""

    @classmethod
    def of(cls, result: Any) -> Sampled:
        """Those of a sampling result of MMDetection."""
        return cls(result.pos_priors, result.neg_priors, result.pos_gt_labels, result.pos_inds)


class RoIStage:
    """One call of the box head: a Faster R-CNN has one, a Cascade one per stage.

    Each part is made when it is first asked for: not every head has all of them.

    Args:
        roi_head: The head that was called.
        head: The box head of the stage.
        sampled: RoIs of each image.
        proposals: Boxes of each image whose rows are those of the outputs; None where these are
            the positives of an image and then its negatives.
        result: Return value of the box head and its loss.
    """

    def __init__(
        self,
        roi_head: nn.Module,
        head: nn.Module,
        sampled: Sequence[Sampled],
        proposals: Sequence[Tensor] | None,
        result: Mapping[str, Any],
    ) -> None:
        self._roi_head = roi_head
        self._head = head
        self._sampled = sampled
        self._proposals = proposals
        self._result = result

    @cached_property
    def rois(self) -> Tensor:
        """Image index and box, shape ``(R, 5)``, in pixels of the batch."""
        if self._proposals is not None:  # those of the first stage are learned
            return bbox2roi([boxes.detach() for boxes in self._proposals])
        return bbox2roi([cat_boxes([one.positives, one.negatives]) for one in self._sampled])

    @cached_property
    def labels(self) -> Tensor:
        """Assigned classes, shape ``(R,)``; the number of classes stands for background."""
        background = self._head.num_classes
        labels = self._sampled[0].labels.new_full((len(self.rois),), background)
        labels[self.foreground] = torch.cat([one.labels for one in self._sampled])
        return labels

    @cached_property
    def foreground(self) -> Tensor:
        """Rows of the RoIs that are assigned to an object."""
        rows, start = [], 0
        for index, one in enumerate(self._sampled):
            if self._proposals is None:
                count = len(one.positives)
                rows.append(torch.arange(start, start + count, device=one.positives.device))
                start += count + len(one.negatives)
            else:
                rows.append(start + one.rows)
                start += len(self._proposals[index])
        return torch.cat(rows)

    @cached_property
    def logits(self) -> Tensor:
        """Logits of a softmax over classes and background, shape ``(R, K + 1)``."""
        return class_logits(self._head, self._result['cls_score'].flatten(0, -2))

    @property
    def offsets(self) -> Tensor | None:
        """Box offsets, shape ``(R, 4 K)``, or ``(R, 4)`` where they are the same for all classes.

        None of heads that give boxes instead (Sparse R-CNN).
        """
        return self._result.get('bbox_pred')

    @property
    def features(self) -> Tensor | None:
        """RoIAlign output, shape ``(R, C, H, W)``; None of heads that keep it to themselves."""
        return None if self._roi_head.with_shared_head else self._result.get('bbox_feats')

    def empty(self) -> RoIStage:
        """The same stage without RoIs."""
        return _EmptyStage(self)


class _EmptyStage:
    """A stage without RoIs: the parts of another one, without their rows."""

    def __init__(self, like: RoIStage) -> None:
        self._like = like

    def __getattr__(self, name: str) -> Any:
        part = getattr(self._like, name)
        part = None if part is None else part[:0]
        setattr(self, name, part)  # taps that share RoIs know them by identity
        return part


def recorded_stage(
    roi_head: nn.Module,
    head: nn.Module,
    before: Sequence[Sampled] | None,
    given: Mapping[str, Any],
    result: Mapping[str, Any],
) -> RoIStage:
    """The record of one call of ``bbox_loss``.

    Args:
        roi_head: The head that was called.
        head: The box head of the stage.
        before: RoIs as they were when it was called; None where they are sampled inside.
        given: Its arguments by name.
        result: Its return value.
    """
    if not is_sparse(roi_head):
        return RoIStage(roi_head, head, before, None, result)
    sampled = [Sampled.of(one) for one in result['sampling_results']]
    proposals = [one.bboxes for one in given['results_list']]
    return RoIStage(roi_head, head, sampled, proposals, result)
