"""Classifiers of box heads, read as one softmax over classes and background."""

import pytest
import torch
from mmdet.models.losses import SeesawLoss
from mmdet.registry import MODELS
from torch import nn

from wkd_det.detection.classifiers import class_logits, classifier_rows, require_classifier


class Head(nn.Module):
    def __init__(self, loss, width, num_classes=3):
        super().__init__()
        self.loss_cls = loss
        self.num_classes = num_classes
        self.fc_cls = nn.Linear(5, width)


def test_a_seesaw_classifier_is_read_by_its_own_activation():
    head = Head(SeesawLoss(num_classes=3), 5)
    raw = torch.randn(7, 5, dtype=torch.float64)
    found = class_logits(head, raw)
    torch.testing.assert_close(found.softmax(1), head.loss_cls.get_activation(raw))
    torch.testing.assert_close(found[:, :-1].softmax(1), raw[:, :3].softmax(1))


def test_sigmoids_are_read_given_that_at_most_one_class_is_there():
    """By enumeration: independent classes, of which none or exactly one is there."""
    head = Head(MODELS.build(dict(type='FocalLoss', use_sigmoid=True)), 3)
    raw = torch.randn(7, 3, dtype=torch.float64)
    yes, no = raw.sigmoid(), (-raw).sigmoid()
    one = torch.stack(
        [yes[:, k] * no[:, [j for j in range(3) if j != k]].prod(1) for k in range(3)]
    )
    cases = torch.cat([one.T, no.prod(1, keepdim=True)], 1)
    expected = cases / cases.sum(1, keepdim=True)
    torch.testing.assert_close(class_logits(head, raw).softmax(1), expected)


def test_a_softmax_is_read_as_it_is():
    head = Head(MODELS.build(dict(type='CrossEntropyLoss')), 4)
    raw = torch.randn(7, 4)
    assert class_logits(head, raw) is raw
    assert classifier_rows(head) is head.fc_cls.weight


def test_rows_of_classifiers_without_one_for_background():
    for head in (
        Head(SeesawLoss(num_classes=3), 5),
        Head(MODELS.build(dict(type='FocalLoss', use_sigmoid=True)), 3),
    ):
        rows = classifier_rows(head)
        assert torch.equal(rows[:3], head.fc_cls.weight[:3])
        assert rows.shape == (4, 5)
        assert rows[3].isnan().all()


def test_a_classifier_that_gives_no_distribution():
    head = Head(MODELS.build(dict(type='CrossEntropyLoss', use_sigmoid=True)), 4)
    with pytest.raises(
        ValueError, match='the classifier of the teacher is trained by CrossEntropyLoss, whose'
    ):
        require_classifier(head, 'teacher')
