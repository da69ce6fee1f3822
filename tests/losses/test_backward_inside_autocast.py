"""``backward()`` inside an autocast block: every loss has the gradients that it has outside."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from precision import AUTOCAST
from wkd_det import losses, registry
from wkd_det.functional import FEATURE_DISTANCES, attended_loss, ickd_loss, sinkhorn_cost
from wkd_det.ops.arithmetic import matrix_product

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
    return targeted(loss)


def logits(loss):
    both = maps(6, 9)
    return both['student'], partial(loss, teacher=both['teacher'])


def targeted(loss):
    return logits(partial(loss, target=torch.arange(6)))


def alone(loss, **options):
    return random(6, 9), partial(loss, target=torch.arange(6), **options)


def from_map(loss, **options):
    given = dict(student=random(6, 8, 3, 3), target=torch.arange(6), **options)
    return random(6, 9), lambda student: loss(**given, student_logits=student)


def views():
    weak, strong = maps(6, 9), maps(6, 9)
    given = dict(teacher=weak['teacher'], teacher_strong=strong['teacher'])
    loss = losses.MLKDLoss()
    return weak['student'], lambda student: loss(student, student_strong=2 * student, **given)


def features(loss, *shape):
    both = maps(*shape or (2, 8, 6, 7))
    return both['student'], partial(loss, teacher=both['teacher'])


def contrast(name):
    loss = registry.build(
        dict(
            type=name, student_channels=8, teacher_channels=8, width=4, num_samples=20, negatives=5
        )
    )
    loss.eval()  # banks stay, so that both passes see the same
    negatives = torch.randint(20, (6, 5), generator=GENERATOR)
    index = torch.arange(6)
    return features(partial(loss, index=index, negatives=negatives), 6, 8, 2, 2)


def seeded(loss, *shape):
    """A loss that draws, with the same numbers at every call."""
    student, step = features(loss, *shape)

    def repeated(student):
        torch.manual_seed(0)
        return step(student)

    return student, repeated


def srrl():
    weight = random(8, 5)

    def head(vectors):
        return matrix_product(vectors, weight)

    return features(partial(losses.SRRLLoss(), teacher_head=head, teacher_logits=random(2, 5)))


def ofd():
    loss = losses.OFDLoss(teacher_channels=(8, 8))
    loss.set_teacher_modules([torch.nn.BatchNorm2d(8), torch.nn.BatchNorm2d(8)])
    return pyramid(loss)


def drawing(loss, **options):
    def step(student, teacher):
        torch.manual_seed(0)
        return module(student, teacher)

    torch.manual_seed(0)
    module = loss(**options)
    return step


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
    'KDLoss of standardised logits': lambda: logits(losses.KDLoss(standardize=True)),
    'DKDLoss': lambda: targeted(losses.DKDLoss()),
    'NKDLoss': lambda: targeted(losses.NKDLoss()),
    'WSLDLoss': lambda: targeted(losses.WSLDLoss()),
    'OFALoss': lambda: targeted(losses.OFALoss(eps=1.5)),
    'DISTLoss': lambda: logits(losses.DISTLoss()),
    'TTMLoss': lambda: logits(losses.TTMLoss()),
    'WTTMLoss': lambda: logits(losses.WTTMLoss()),
    'CTKDLoss': lambda: logits(losses.CTKDLoss()),
    'TfKDSelfLoss': lambda: logits(losses.TfKDSelfLoss()),
    'TfKDLoss': lambda: alone(losses.TfKDLoss()),
    'LabelSmoothingLoss': lambda: alone(losses.LabelSmoothingLoss()),
    'MLKDLoss': views,
    'ZipfLoss': lambda: from_map(losses.ZipfLoss(), student_head=torch.nn.Linear(8, 9)),
    'USKDLoss': lambda: from_map(losses.USKDLoss(num_classes=9, student_channels=8)),
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
    'ATLoss': lambda: features(losses.ATLoss()),
    'SPLoss': lambda: features(losses.SPLoss(), 4, 8, 3, 3),
    'CATKDLoss': lambda: features(losses.CATKDLoss(normalize=True)),
    'FTLoss': lambda: features(losses.FTLoss(student_channels=8, teacher_channels=8)),
    'MGDLoss': lambda: seeded(losses.MGDLoss(teacher_channels=8, alpha=1.0)),
    'SRRLLoss': srrl,
    'PKDLoss': lambda: features(losses.PKDLoss()),
    'RKDLoss': lambda: features(losses.RKDLoss(), 6, 8, 2, 2),
    'PKTLoss': lambda: features(losses.PKTLoss(), 6, 8, 2, 2),
    'CCLoss': lambda: features(losses.CCLoss(student_channels=8, teacher_channels=8), 6, 8, 2, 2),
    'IPOTLoss': lambda: features(losses.IPOTLoss(), 6, 8, 2, 2),
    'CRDLoss': lambda: contrast('CRDLoss'),
    'WCoRDLoss': lambda: contrast('WCoRDLoss'),
    'FitNetLoss': lambda: features(losses.FitNetLoss()),
    'ReviewKDLoss': lambda: pyramid(losses.ReviewKDLoss()),
    'FSPLoss': lambda: pyramid(losses.FSPLoss()),
    'ABLoss': lambda: pyramid(losses.ABLoss()),
    'OFDLoss': ofd,
    'VIDLoss': lambda: pyramid(losses.VIDLoss(student_channels=(8, 8), teacher_channels=(8, 8))),
    'DPKLoss': lambda: pyramid(
        drawing(
            losses.DPKLoss,
            student_channels=(8, 8),
            teacher_channels=(8, 8),
            teacher_size=((8, 8), (4, 4)),
            width=16,
            max_side=4,
        )
    ),
    'DiffKDLoss': lambda: features(
        drawing(losses.DiffKDLoss, student_channels=8, teacher_channels=8, hidden_channels=16)
    ),
    'DiffKDLogitLoss': lambda: logits(drawing(losses.DiffKDLogitLoss, num_classes=9)),
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
