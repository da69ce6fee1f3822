"""Classifiers of box heads: their outputs as the logits of one softmax over classes and background.

Losses compare distributions over classes, so each kind of classifier is read as the distribution
that its own activation gives:

- a softmax over classes and background: the logits as they are;
- sigmoids, one per class (Sparse R-CNN, QueryInst): the distribution given that at most one class
  is there; see :func:`~wkd_det.ops.logits.with_background`;
- Seesaw, a softmax over the classes of objects and another one over object and background: the
  products of the two, as their logarithms.
"""

from __future__ import annotations

import torch
from mmdet.models.losses import SeesawLoss
from torch import Tensor, nn

from wkd_det.ops.logits import with_background


def class_logits(head: nn.Module, raw: Tensor) -> Tensor:
    """Logits ``(R, K + 1)`` whose softmax is what a box head says of classes and background.

    Args:
        head: The box head; one that :func:`require_classifier` lets pass.
        raw: Output of its classifier, one row per RoI.
    """
    kind = _kind(head)
    if kind == 'sigmoid':
        return with_background(raw)
    if kind == 'seesaw':
        objectness = raw[:, -2:].log_softmax(dim=1)
        classes = raw[:, :-2].log_softmax(dim=1) + objectness[:, :1]
        return torch.cat([classes, objectness[:, 1:]], dim=1)
    return raw


def classifier_rows(head: nn.Module) -> Tensor:
    """Weight vectors of classes and background in a box head, shape ``(K + 1, D)``.

    The row of background is NaN where the classifier has none but those of the classes.

    Raises:
        ValueError: If the head has no layer ``fc_cls`` with weights.
    """
    weight = getattr(getattr(head, 'fc_cls', None), 'weight', None)
    if weight is None:
        raise ValueError(
            f'the {type(head).__name__} of the teacher has no fc_cls.weight to compute class '
            'costs from: take them from a file'
        )
    if _kind(head) == 'softmax':
        return weight
    classes = weight[: head.num_classes]
    return torch.cat([classes, torch.full_like(classes[:1], torch.nan)])


def require_classifier(head: nn.Module, owner: str) -> None:
    """Refuse box heads whose classifier gives no distribution over classes and background.

    Args:
        head: It may be on the meta device.
        owner: ``'student'`` or ``'teacher'``.

    Raises:
        ValueError: Naming what it has instead.
    """
    if hasattr(head, 'num_instance'):
        raise ValueError(
            f'the {type(head).__name__} of the {owner} gives {head.num_instance} objects for each '
            'RoI, in no order that another head would share: use the tap roi_feats, neck or '
            'backbone'
        )
    if _kind(head) is None:
        raise ValueError(
            f'the classifier of the {owner} is trained by {type(head.loss_cls).__name__}, whose '
            'outputs are no softmax over classes and background, no sigmoid for each class and no '
            'Seesaw: use the tap roi_feats, neck or backbone'
        )


def _kind(head: nn.Module) -> str | None:
    """Kind of the classifier; None where it is none of those that are known."""
    loss, count = head.loss_cls, head.num_classes
    if isinstance(loss, SeesawLoss):
        return 'seesaw'
    width = count + 1
    if getattr(loss, 'custom_cls_channels', False):
        width = loss.get_cls_channels(count)
    elif getattr(getattr(head, 'fc_cls', None), 'out_features', None):
        width = head.fc_cls.out_features
    if getattr(loss, 'use_sigmoid', False):
        # With one more output than classes mmdet trains sigmoids and tests with a softmax.
        return 'sigmoid' if width == count else None
    return 'softmax' if width == count + 1 else None
