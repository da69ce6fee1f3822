"""Distillation sections for the tiny detectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import ConfigDict

from wkd_det.testing.tiny_detector import tiny_faster_rcnn


def wkd_l_term(**changes: Any) -> dict[str, Any]:
    """WKD-L on the RoI logits; changes go into the loss."""
    loss = dict(type='WKDLogitLoss', cost=dict(type='ClassifierCost'), sharpness=2.0)
    return dict(tap='roi_logits', loss=dict(loss, **changes))


def wkd_f_term(**changes: Any) -> dict[str, Any]:
    """WKD-F on 8 x 8 RoI features with a 3 x 3 connector; changes go into the term."""
    term = dict(
        tap='roi_feats',
        roi_size=8,
        connector=dict(type='ConvConnector', kernel_size=3),
        loss=dict(type='WKDFeatureLoss', grid=2, mean_cov_ratio=2.0, loss_weight=5e-3),
    )
    return dict(term, **changes)


def wkd_f_neck_term(**changes: Any) -> dict[str, Any]:
    """WKD-F on the first two levels of the pyramid; changes go into the term."""
    term = dict(
        tap='neck',
        levels=[0, 1],
        connector=dict(type='ConvConnector', kernel_size=3),
        loss=dict(type='WKDFeatureLoss', grid=4, loss_weight=5e-3),
    )
    return dict(term, **changes)


def distilled_config(
    teacher: Mapping[str, Any], distill: Mapping[str, Any], **changes: Any
) -> ConfigDict:
    """The tiny Faster R-CNN with a teacher and terms."""
    return distilled_from(tiny_faster_rcnn(**changes), teacher, distill)


def distilled_from(
    student: ConfigDict, teacher: Mapping[str, Any], distill: Mapping[str, Any]
) -> ConfigDict:
    """The config of any student with a teacher and terms."""
    sections = dict(teacher=dict(teacher), distill=dict(distill))
    return ConfigDict(student, type=f'Distilled{student.type}', **sections)
