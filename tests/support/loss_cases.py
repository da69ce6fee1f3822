"""One small call of every loss, for tests that hold for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from wkd_det import losses, registry
from wkd_det.functional import FEATURE_DISTANCES, attended_loss, ickd_loss, sinkhorn_cost
from wkd_det.ops.arithmetic import matrix_product

GENERATOR = torch.Generator()


@dataclass
class Case:
    """A loss and what it is given besides the student's tensor."""

    loss: Callable[..., Tensor]
    student: Tensor
    given: dict[str, Any] = field(default_factory=dict)
    rest: list[Tensor] | None = None
    """Further maps of the student's pyramid."""
    name: str = 'student'
    """Argument that the student's tensor is."""

    def value(self, student: Tensor) -> Tensor:
        """The loss, whatever it draws the same in every call."""
        torch.manual_seed(0)
        first = student if self.rest is None else [student, *self.rest]
        return self.loss(**{self.name: first}, **self.given)

    def to(self, device: str) -> Case:
        """The same call on another device; a module of it moves there for good."""
        return Case(
            _moved(self.loss, device),
            _moved(self.student, device),
            _moved(self.given, device),
            _moved(self.rest, device),
            self.name,
        )


def _moved(value: Any, device: str) -> Any:
    if isinstance(value, (Tensor, nn.Module)):
        return value.to(device)
    if isinstance(value, list):
        return [_moved(one, device) for one in value]
    if isinstance(value, dict):
        return {name: _moved(one, device) for name, one in value.items()}
    return value


def build(name: str) -> Case:
    """The case of a name, with the same numbers every time."""
    GENERATOR.manual_seed(0)
    torch.manual_seed(0)
    return CASES[name]()


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=GENERATOR)


def features(loss, *shape, **given):
    student, teacher = (random(*shape or (2, 8, 6, 7)) for _ in range(2))
    return Case(loss, student, dict(teacher=teacher, **given))


def logits(loss, **given):
    return features(loss, 6, 9, **given)


def targeted(loss, **given):
    return logits(loss, target=torch.arange(6), **given)


def alone(loss):
    return Case(loss, random(6, 9), dict(target=torch.arange(6)))


def from_map(loss, **given):
    given = dict(student=random(6, 8, 3, 3), target=torch.arange(6), **given)
    return Case(loss, random(6, 9), given, name='student_logits')


def pyramid(loss, **given):
    given = dict(teacher=[random(2, 8, size, size) for size in (8, 4)], **given)
    rest = random(2, 8, 4, 4)
    return Case(loss, random(2, 8, 8, 8), given, rest=[rest])


def vectors(loss, **given):
    return features(loss, 6, 8, 2, 2, **given)


def icd():
    corners = 20 * torch.rand(2, 3, 2, generator=GENERATOR)
    return pyramid(
        losses.ICDLoss(
            num_classes=4, student_channels=8, teacher_channels=8, width=16, num_heads=2
        ),
        boxes=list(torch.cat([corners, corners + 15], dim=2)),
        labels=[torch.arange(3), torch.arange(3)],
        image_sizes=[(32, 32)] * 2,
    )


def wkd(**options):
    return targeted(losses.WKDLogitLoss(cost=1 - torch.eye(9), temperature=2.0, **options))


def mlkd():
    weak, strong, teacher = (random(6, 9) for _ in range(3))
    return logits(losses.MLKDLoss(), student_strong=2 * weak, teacher_strong=strong + teacher)


def contrast(name, **given):
    loss = registry.build(
        dict(
            type=name, student_channels=8, teacher_channels=8, width=4, num_samples=20, negatives=5
        )
    )
    loss.set_samples(torch.arange(20) % 4)
    return vectors(loss, index=torch.arange(6), **given)


def still(name):
    """Banks that stay, so that two passes see the same."""
    case = contrast(name, negatives=torch.randint(20, (6, 5), generator=GENERATOR))
    case.loss.eval()
    return case


class Head(nn.Module):
    """The teacher's last layer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer('weight', random(inputs, outputs))

    def forward(self, vectors: Tensor) -> Tensor:
        return matrix_product(vectors, self.weight)


def srrl():
    return features(losses.SRRLLoss(), teacher_head=Head(8, 5), teacher_logits=random(2, 5))


def ofd():
    loss = losses.OFDLoss(teacher_channels=(8, 8))
    loss.set_teacher_modules([nn.BatchNorm2d(8), nn.BatchNorm2d(8)])
    return pyramid(loss)


def boxes():
    corners = 20 * torch.rand(2, 5, 2, generator=GENERATOR)
    student_boxes, teacher_boxes = torch.cat([corners, corners + 15], dim=2)
    given = dict(student_boxes=student_boxes, teacher_boxes=teacher_boxes)
    return features(losses.BoxLoss(), 5, 4, **given)


def attended():
    weights = torch.rand(2, 3, 20, generator=GENERATOR)
    return features(attended_loss, 2, 3, 20, 5, attention=weights)


def transport(log_domain):
    target, cost = random(6, 9).softmax(dim=1), 1 - torch.eye(9)
    given = dict(target=target, cost=cost)

    def summed(source, target, cost):
        source = source.softmax(dim=1)
        return sinkhorn_cost(source, target, cost, epsilon=0.1, log_domain=log_domain).sum()

    return Case(summed, random(6, 9), given, name='source')


def family(distribution, distance, **given):
    loss = losses.WKDFeatureLoss(grid=2, distribution=distribution, distance=distance)
    return features(loss, **given)


WIDTHS = dict(student_channels=8, teacher_channels=8)
CASES: dict[str, Callable[[], Case]] = {
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
    'MLKDLoss': mlkd,
    'ZipfLoss': lambda: from_map(losses.ZipfLoss(), student_head=nn.Linear(8, 9)),
    'USKDLoss': lambda: from_map(losses.USKDLoss(num_classes=9, student_channels=8)),
    'WKDLogitLoss': wkd,
    'WKDLogitLoss joint': lambda: wkd(separated=False),
    'WKDLogitLoss log': lambda: wkd(log_domain=True),
    'WKDLogitLoss debiased': lambda: wkd(debiased=True),
    'WKDLogitLoss weighed': lambda: wkd(weigh_by_non_target=True),
    **{f'WKDFeatureLoss {one} {other}': partial(family, one, other)
       for one, other in FEATURE_DISTANCES},
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
    'FTLoss': lambda: features(losses.FTLoss(**WIDTHS)),
    'MGDLoss': lambda: features(losses.MGDLoss(teacher_channels=8, alpha=1.0)),
    'SRRLLoss': srrl,
    'PKDLoss': lambda: features(losses.PKDLoss()),
    'RKDLoss': lambda: vectors(losses.RKDLoss()),
    'PKTLoss': lambda: vectors(losses.PKTLoss()),
    'CCLoss': lambda: vectors(losses.CCLoss(**WIDTHS)),
    'IPOTLoss': lambda: vectors(losses.IPOTLoss()),
    'CRDLoss': lambda: still('CRDLoss'),
    'WCoRDLoss': lambda: still('WCoRDLoss'),
    'FitNetLoss': lambda: features(losses.FitNetLoss()),
    'ReviewKDLoss': lambda: pyramid(losses.ReviewKDLoss()),
    'FSPLoss': lambda: pyramid(losses.FSPLoss()),
    'ABLoss': lambda: pyramid(losses.ABLoss()),
    'OFDLoss': ofd,
    'VIDLoss': lambda: pyramid(losses.VIDLoss(student_channels=(8, 8), teacher_channels=(8, 8))),
    'DPKLoss': lambda: pyramid(
        losses.DPKLoss(
            student_channels=(8, 8),
            teacher_channels=(8, 8),
            teacher_size=((8, 8), (4, 4)),
            width=16,
            max_side=4,
        )
    ),
    'DiffKDLoss': lambda: features(losses.DiffKDLoss(hidden_channels=16, **WIDTHS)),
    'DiffKDLogitLoss': lambda: logits(losses.DiffKDLogitLoss(num_classes=9)),
    'FGFILoss': lambda: pyramid(losses.FGFILoss()),
    'ICDLoss': icd,
    'OffsetLoss': lambda: logits(losses.OffsetLoss()),
    'BoxLoss': boxes,
    'attended': attended,
    'sinkhorn': lambda: transport(False),
    'sinkhorn log': lambda: transport(True),
}  # fmt: skip
"""What makes the call of a loss; the first word is its name, if it is no function."""
