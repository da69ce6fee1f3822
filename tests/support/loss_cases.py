"""One small call of every loss, for tests that hold for all of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gpu_check.samples import TINY, Sample, moved, samples
from wkd_det import losses
from wkd_det.functional import attended_loss, ickd_loss, sinkhorn_cost
from wkd_det.ops.arithmetic import matrix_product

_SAMPLES = samples(TINY)


class Case(Sample):
    """A loss, what it is given, and the name of the input that is the student's."""

    @property
    def student(self) -> Tensor:
        """The student's tensor, of a pyramid its first map."""
        leaf = self.inputs[self.leaf]
        return leaf[0] if isinstance(leaf, list) else leaf

    def value(self, student: Tensor) -> Tensor:
        """The loss, whatever it draws the same in every call."""
        torch.manual_seed(0)
        leaf = self.inputs[self.leaf]
        given = [student, *leaf[1:]] if isinstance(leaf, list) else student
        return self.loss(**{**self.inputs, self.leaf: given})

    def given(self, loss: Callable[..., Tensor] | None = None, **inputs: Any) -> Case:
        """The same call of another loss, or with further inputs."""
        return Case(loss or self.loss, {**self.inputs, **inputs}, self.leaf)

    def to(self, device: str) -> Case:
        """The same call on another device."""
        place = torch.device(device), torch.float32
        return Case(moved(self.loss, *place), moved(self.inputs, *place), self.leaf)


def build(name: str) -> Case:
    """The case of a name, with the same numbers every time."""
    torch.manual_seed(0)
    return CASES[name]() if name in _OWN else Case(*_SAMPLES[name]())


def maps(loss: Callable[..., Tensor], *shape: int) -> Case:
    """A loss of two maps."""
    return Case(loss, dict(student=torch.randn(shape), teacher=torch.randn(shape)))


def drawing(name: str) -> Case:
    """A loss of contrasts that draws its negatives and fills its banks."""
    case = build(name)
    case.loss.set_samples(torch.arange(4 * TINY.samples) % 4)
    case.loss.train()
    del case.inputs['negatives']
    return case


class Head(nn.Module):
    """The teacher's last layer, which computes in float32 under autocast too."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer('weight', torch.randn(inputs, outputs))

    def forward(self, vectors: Tensor) -> Tensor:
        return matrix_product(vectors, self.weight)


def srrl() -> Case:
    head = Head(TINY.channels, TINY.classes)
    return Case(*_SAMPLES['SRRLLoss']()).given(teacher_head=head)


def attended() -> Case:
    return maps(attended_loss, 2, 3, 20, 5).given(attention=torch.rand(2, 3, 20))


def transport(log_domain: bool) -> Case:
    given = dict(target=torch.randn(6, 9).softmax(dim=1), cost=1 - torch.eye(9))

    def summed(source: Tensor, target: Tensor, cost: Tensor) -> Tensor:
        source = source.softmax(dim=1)
        return sinkhorn_cost(source, target, cost, epsilon=0.1, log_domain=log_domain).sum()

    return Case(summed, dict(source=torch.randn(6, 9), **given), leaf='source')


_OWN: dict[str, Callable[[], Case]] = {
    'SRRLLoss': srrl,
    'BoxLoss by offsets': lambda: build('BoxLoss')._replace(leaf='student'),
    'NSTLoss of few pixels': lambda: maps(losses.NSTLoss(), 2, 40, 2, 3),
    'ICKDLoss of few pixels': lambda: maps(losses.ICKDLoss(), 2, 40, 2, 3),
    'ICKDLoss not normalised': lambda: maps(losses.ICKDLoss(normalize=False), 2, 8, 6, 7),
    'ICKDLoss not normalised, few pixels': lambda: maps(
        partial(ickd_loss, normalize=False), 2, 40, 2, 3
    ),
    'attended': attended,
    'sinkhorn': lambda: transport(False),
    'sinkhorn log': lambda: transport(True),
}
CASES: dict[str, Callable[[], Sample]] = {**_SAMPLES, **_OWN}
"""What makes the call of a loss; the first word is its name, if it is no function."""
