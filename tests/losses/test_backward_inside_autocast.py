"""``backward()`` inside an autocast block: every loss has the gradients that it has outside."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from precision import AUTOCAST
from wkd_det import losses, registry
from wkd_det.functional import FEATURE_DISTANCES, attended_loss, ickd_loss, sinkhorn_cost

GENERATOR = torch.Generator()


def random(*shape):
    return torch.randn(shape, generator=GENERATOR)


def maps(*shape):
    return dict(student=random(*shape), teacher=random(*shape))


def pyramid(loss, **options):
    given = dict(teacher=[random(2, 8, size, size) for size in (8, 4)], **options)
    rest = random(2, 8, 4, 4)
    return random(2, 8, 8, 8), lambda student: loss([student, rest], **given)


def icd():
    loss = losses.ICDLoss(
        num_classes=4, student_channels=8, teacher_channels=8, width=16, num_heads=2
    )
    corners = 20 * torch.rand(2, 3, 2, generator=GENERATOR)
    student, step = pyramid(
        loss,
        boxes=list(torch.cat([corners, corners + 15], dim=2)),
        labels=[torch.arange(3)] * 2,
        image_sizes=[(32, 32)] * 2,
    )

    def seeded(student):
        torch.manual_seed(0)
        return step(student)

    return student, seeded


def wkd(**options):
    loss = losses.WKDLogitLoss(cost=1 - torch.eye(9), temperature=2.0, **options)
    return logits(partial(loss, target=torch.arange(6)))


def logits(loss):
    both = maps(6, 9)
    return both['student'], partial(loss, teacher=both['teacher'])


def features(loss, *shape):
    both = maps(*shape or (2, 8, 6, 7))
    return both['student'], partial(loss, teacher=both['teacher'])


def boxes():
    both, corners = maps(5, 4), 20 * torch.rand(2, 5, 2, generator=GENERATOR)
    student_boxes, teacher_boxes = torch.cat([corners, corners + 15], dim=2)
    loss = partial(losses.BoxLoss(), student_boxes=student_boxes, teacher_boxes=teacher_boxes)
    return both['student'], partial(loss, teacher=both['teacher'])


def attended():
    values, weights = maps(2, 3, 20, 5), torch.rand(2, 3, 20, generator=GENERATOR)
    return values['student'], lambda student: attended_loss(student, values['teacher'], weights)


def transport(log_domain):
    target, cost = random(6, 9).softmax(dim=1), 1 - torch.eye(9)
    options = dict(epsilon=0.1, log_domain=log_domain)
    return random(6, 9), lambda student: sinkhorn_cost(
        student.softmax(dim=1), target, cost, **options
    ).sum()


CASES = {
    'KDLoss': lambda: logits(losses.KDLoss()),
    'DKDLoss': lambda: logits(partial(losses.DKDLoss(), target=torch.arange(6))),
    'WKDLogitLoss': wkd,
    'WKDLogitLoss joint': lambda: wkd(separated=False),
    'WKDLogitLoss log': lambda: wkd(log_domain=True),
    **{
        f'WKDFeatureLoss {one} {other}': partial(
            lambda one, other: features(
                losses.WKDFeatureLoss(grid=2, distribution=one, distance=other)
            ),
            one,
            other,
        )
        for one, other in FEATURE_DISTANCES
    },
    'NSTLoss': lambda: features(losses.NSTLoss()),
    'NSTLoss of few pixels': lambda: features(losses.NSTLoss(), 2, 40, 2, 3),
    'ICKDLoss': lambda: features(losses.ICKDLoss()),
    'ICKDLoss of few pixels': lambda: features(losses.ICKDLoss(), 2, 40, 2, 3),
    'ICKDLoss not normalised': lambda: features(losses.ICKDLoss(normalize=False)),
    'ICKDLoss not normalised, few pixels': lambda: features(
        partial(ickd_loss, normalize=False), 2, 40, 2, 3
    ),
    'PKDLoss': lambda: features(losses.PKDLoss()),
    'FitNetLoss': lambda: features(losses.FitNetLoss()),
    'ReviewKDLoss': lambda: pyramid(losses.ReviewKDLoss()),
    'FGFILoss': lambda: pyramid(losses.FGFILoss()),
    'ICDLoss': icd,
    'OffsetLoss': lambda: logits(losses.OffsetLoss()),
    'BoxLoss': boxes,
    'attended': attended,
    'sinkhorn': lambda: transport(False),
    'sinkhorn log': lambda: transport(True),
}


def test_no_loss_is_missing():
    assert {name.split()[0] for name in CASES} >= set(registry.LOSSES)


@pytest.mark.parametrize('dtype', AUTOCAST)
@pytest.mark.parametrize('around', ['backward', 'both'])
@pytest.mark.parametrize('name', CASES)
def test_gradients_are_those_outside(name, around, dtype):
    GENERATOR.manual_seed(0)
    student, loss = CASES[name]()
    gradients = []
    for inside in (False, True):
        leaf = student.clone().requires_grad_()
        with torch.autocast('cpu', dtype=dtype, enabled=inside and around == 'both'):
            value = loss(leaf)
        with torch.autocast('cpu', dtype=dtype, enabled=inside):
            value.backward()
        gradients.append(leaf.grad)
    assert gradients[0].any()
    assert torch.equal(*gradients)
