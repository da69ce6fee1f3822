"""What one training pass of the student leaves behind for the terms."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from mmdet.structures.bbox import bbox2roi, get_box_tensor
from torch import Tensor, nn

from wkd_det.detection.heads import RoIStage, can_record
from wkd_det.distillation.recording import _replaced


@dataclass
class Record:
    """Values of one call of the student's ``loss``."""

    inputs: Tensor
    """The batch, shape ``(N, 3, H, W)``."""
    samples: list[Any]
    """The data sample of each image: size, boxes, labels."""
    backbone: tuple[Tensor, ...] = ()
    neck: tuple[Tensor, ...] = ()
    proposals: list[Tensor] = field(default_factory=list)
    """Boxes that the RoI head was given, ``(P, 4)`` for each image."""
    stages: dict[int, RoIStage] = field(default_factory=dict)
    """Calls of the box head by stage; 0 for heads without stages."""
    module: nn.Module | None = None
    """The student, whose parts a tap may run on other inputs; set by :func:`recording`."""
    _made: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    @property
    def image_sizes(self) -> list[tuple[int, int]]:
        """Height and width of each image without padding."""
        return [tuple(sample.img_shape[:2]) for sample in self.samples]

    @property
    def boxes(self) -> list[Tensor]:
        """Corners of the objects of each image in pixels of the batch, each ``(G, 4)``."""
        return [get_box_tensor(sample.gt_instances.bboxes) for sample in self.samples]

    @property
    def labels(self) -> list[Tensor]:
        """Classes of the objects of each image, each ``(G,)``."""
        return [sample.gt_instances.labels for sample in self.samples]

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What ``make`` gives, made at the first call with this key.

        Terms that share a connector share its output: it runs once a pass, as does its batch
        normalisation.
        """
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def projected(
        self, place: str, level: int, connector: nn.Module, size: tuple[int, int] | None = None
    ) -> Tensor:
        """A map of the student after a connector.

        Args:
            place: ``'neck'`` or ``'backbone'``.
            level: Index of the map.
            connector: Maps the student's width to the teacher's.
            size: The teacher's, for connectors that resize.
        """
        features = getattr(self, place)[level]
        # One that does not resize gives the same whatever size is asked for.
        key = (id(connector), place, level, getattr(connector, 'resizes', False) and size)
        return self.once(key, lambda: connector(features, size))

    def stage(self, index: int) -> RoIStage:
        """A stage; without RoIs where a Cascade has stopped before it for want of them."""
        return self.stages[index] if index in self.stages else self.stages[0].empty()


@contextmanager
def recording(student: nn.Module, record: Record) -> Iterator[None]:
    """Fill ``record`` while the student's own ``loss`` runs inside the block.

    Nothing of the student is run again, and however the block ends the student is left as it was:
    module hooks note the maps, and attributes on the RoI head instance note the arguments and
    results of its ``loss`` and ``bbox_loss``, so sampling, RoIs and labels are the student's own.
    """
    record.module = student
    with ExitStack() as stack:
        for name in ('backbone', 'neck'):
            module = getattr(student, name, None)
            if isinstance(module, nn.Module):
                stack.enter_context(_noting_maps(module, record, name))
        roi_head = getattr(student, 'roi_head', None)
        if roi_head is not None:
            stack.enter_context(_replaced(roi_head, 'loss', _noting_proposals(roi_head, record)))
            if can_record(roi_head):
                noting = _noting_stages(roi_head, record)
                stack.enter_context(_replaced(roi_head, 'bbox_loss', noting))
        yield


@contextmanager
def _noting_maps(module: nn.Module, record: Record, name: str) -> Iterator[None]:
    def note(module: nn.Module, inputs: Any, output: tuple[Tensor, ...]) -> None:
        setattr(record, name, tuple(output))

    handle = module.register_forward_hook(note)
    try:
        yield
    finally:
        handle.remove()


def _noting_proposals(roi_head: nn.Module, record: Record) -> Callable:
    original = roi_head.loss
    signature = inspect.signature(original)

    def loss(*args: Any, **kwargs: Any) -> dict[str, Any]:
        given = signature.bind(*args, **kwargs).arguments.get('rpn_results_list', ())
        # Before the head renames them and adds the annotated boxes.
        record.proposals = [
            get_box_tensor(result.bboxes).detach() for result in given if 'bboxes' in result
        ]
        return original(*args, **kwargs)

    return loss


def _noting_stages(roi_head: nn.Module, record: Record) -> Callable:
    original = roi_head.bbox_loss
    # StandardRoIHead: (x, sampling_results); CascadeRoIHead: (stage, x, sampling_results)
    signature = inspect.signature(original)

    def bbox_loss(*args: Any, **kwargs: Any) -> dict[str, Any]:
        result = original(*args, **kwargs)
        given = signature.bind(*args, **kwargs).arguments
        sampling_results = given['sampling_results']
        record.stages[given.get('stage', 0)] = RoIStage(
            rois=bbox2roi([sampled.priors for sampled in sampling_results]),
            labels=_labels(sampling_results, result['cls_score'].shape[1] - 1),
            logits=result['cls_score'],
            deltas=result['bbox_pred'],
            features=result.get('bbox_feats'),
        )
        return result

    return bbox_loss


def _labels(sampling_results: list[Any], background: int) -> Tensor:
    """Classes in the row order of ``bbox2roi``: the positives of an image, then its negatives."""
    labels = []
    for sampled in sampling_results:
        negatives = sampled.neg_priors.shape[0]
        labels += [
            sampled.pos_gt_labels,
            sampled.pos_gt_labels.new_full((negatives,), background),
        ]
    return torch.cat(labels)
