"""RoIs of what is no object, as the detector's own sampler draws them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from wkd_det.detection.roi_heads import box_head, run_box_head
from wkd_det.hooks.random_state import random_state, set_random_state


def check_samples_background(detector: nn.Module) -> None:
    """Refuse detectors that cannot tell background RoIs from others.

    Raises:
        ValueError: Naming what is missing.
    """
    if not detector.with_rpn:
        raise ValueError(
            f'{type(detector).__name__} has no RPN to propose background: leave background out'
        )
    if not getattr(detector.roi_head, 'bbox_sampler', None):
        raise ValueError(
            'background RoIs need an assigner and a sampler: the model has no train_cfg.rcnn'
        )


def background_boxes(
    detector: nn.Module, maps: tuple[Tensor, ...], sample: Any, *, stage: int, seed: int
) -> Tensor:
    """Negatives of one image: the proposals that assigner and sampler would train as background.

    Proposals are those of the detector at test time; for a later stage of a Cascade they are
    refined by the stages before it.

    Args:
        detector: A two-stage detector, in eval mode.
        maps: Of its neck, for this image alone.
        sample: The image's data sample with ground truth.
        stage: Of a Cascade; 0 for others.
        seed: Of the sampler. The random state of the process stays as it was.

    Returns:
        Boxes, shape ``(N, 4)``; none where there are no proposals.
    """
    proposals = detector.rpn_head.predict(maps, [sample], rescale=False)[0].bboxes
    if not len(proposals):
        return proposals.reshape(0, 4)
    for earlier in range(stage):
        proposals = _refined(detector, maps, proposals, sample, earlier)
    assigner, sampler = detector.roi_head.bbox_assigner, detector.roi_head.bbox_sampler
    if isinstance(sampler, list):
        assigner, sampler = assigner[stage], sampler[stage]
    candidates = InstanceData(priors=proposals)
    truth = sample.gt_instances
    assigned = assigner.assign(candidates, truth, sample.get('ignored_instances'))
    state = random_state()
    try:
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        levels = [level[:1] for level in maps]
        sampled = sampler.sample(assigned, candidates, truth, feats=levels)
    finally:
        set_random_state(state)
    return sampled.neg_priors


def _refined(
    detector: nn.Module, maps: tuple[Tensor, ...], boxes: Tensor, sample: Any, stage: int
) -> Tensor:
    """Boxes after the regression of a stage, by the class that it scores highest."""
    head = box_head(detector, stage, 'model')
    rois = torch.cat([boxes.new_zeros(len(boxes), 1), boxes], dim=1)
    result = run_box_head(detector, maps, rois, stage)
    labels = result['cls_score'][:, :-1].argmax(dim=1)
    return head.regress_by_class(boxes, labels, result['bbox_pred'], sample.metainfo)
