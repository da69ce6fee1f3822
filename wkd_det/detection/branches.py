"""Branches of dense heads: their features between two convolutions, and the layers behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from wkd_det.detection.dense import HEAD
from wkd_det.distillation.recording import INPUT
from wkd_det.ops.arithmetic import promote, without_autocast
from wkd_det.ops.maps import without_padding

BRANCHES = ('cls_convs', 'reg_convs')
"""Lists of convolutions of a head, which classes and boxes are predicted behind."""
_GUARD = 1e-6  # of the deviation, as in the authors' code of CrossKD

Features = Mapping[str, Sequence[Tensor]]
"""Maps of each branch, level by level, ``(N, C, H, W)``."""


def features_before(depth: int) -> tuple[str, ...]:
    """Names of what the activations behind a convolution of each branch are given.

    Args:
        depth: Number of the convolution, counted from 1.
    """
    return tuple(f'{HEAD}.{branch}.{depth - 1}.activate{INPUT}' for branch in BRANCHES)


def repeated(modules: Iterable[str]) -> list[str]:
    """Those of the names of modules that run once for each level."""
    starts = tuple(f'{HEAD}.{branch}.' for branch in BRANCHES)
    return [name for name in modules if name.startswith(starts) and name.endswith(INPUT)]


def branch_width(head: nn.Module, depth: int, owner: str) -> int:
    """Channels of the features behind a number of convolutions.

    Args:
        head: A dense head.
        depth: Number of convolutions.
        owner: ``'student'`` or ``'teacher'``.

    Raises:
        ValueError: If the head has no such branches, or fewer convolutions.
    """
    lists = [getattr(head, branch, None) for branch in BRANCHES]
    name = type(head).__name__
    if not all(
        isinstance(one, nn.ModuleList) and all(hasattr(conv, 'activate') for conv in one)
        for one in lists
    ):
        raise ValueError(
            f'the {name} of the {owner} has no cls_convs and reg_convs that all levels share'
        )
    count = min(map(len, lists))
    if depth > count:
        raise ValueError(f'the {name} of the {owner} has {count} convolutions, fewer than {depth}')
    return head.in_channels if depth == 0 else lists[0][depth - 1].out_channels


@contextmanager
def running_later_layers(head: nn.Module, depth: int, features: Features) -> Iterator[None]:
    """A block in which a head takes features for what its first convolutions would give.

    Args:
        head: It may be called once in the block, with any maps, one per level.
        depth: Number of convolutions that are left out.
        features: Those of each branch, before the activation where ``depth`` is not 0.
    """
    with ExitStack() as stack:
        for branch in BRANCHES:
            convs = getattr(head, branch)
            first = _Given(features[branch], convs[depth - 1].activate if depth else None)
            kept = nn.ModuleList(chain([first], convs[depth:]))
            stack.enter_context(_replaced_list(head, branch, kept))
        yield


def aligned(
    own: Tensor, other: Tensor, own_mask: Tensor | None, other_mask: Tensor | None
) -> Tensor:
    r"""The student's features of a level with the mean and the deviation of the teacher's.

    .. math:: \sigma_T \frac{f_S - \mu_S}{\sigma_S + 10^{-6}} + \mu_T

    for each channel, over the pixels of the batch that count; the published code counts padding
    too.

    Args:
        own: The student's, shape ``(N, C, H, W)``.
        other: The teacher's, of the same width; they get no gradient.
        own_mask: Pixels of the student's that count, ``(N, H, W)``; None for all.
        other_mask: Those of the teacher's.

    Returns:
        In the student's type, computed in at least float32.
    """
    with without_autocast(own):
        student, teacher = promote(own, other.detach())
        mean, deviation = _moments(student, own_mask)
        target_mean, target_deviation = _moments(teacher, other_mask)
        scaled = (student - mean) / (deviation + _GUARD) * target_deviation + target_mean
        return scaled.to(own.dtype)


def _moments(maps: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel, each ``(1, C, 1, 1)``."""
    axes = (0, 2, 3)
    if mask is None:
        count = torch.full((), float(maps[:, 0].numel()), dtype=maps.dtype, device=maps.device)
    else:
        count = mask.sum().to(maps)
    kept = without_padding(maps, mask)
    mean = kept.sum(dim=axes, keepdim=True) / count.clamp(min=1)
    squares = without_padding(maps - mean, mask).square().sum(dim=axes, keepdim=True)
    variance = squares / (count - 1).clamp(min=1)
    # The root of 0, of a level of one pixel or a channel that is dead, has no gradient.
    positive = variance > 0
    return mean, torch.where(positive, torch.where(positive, variance, 1).sqrt(), 0)


class _Given(nn.Module):
    """Gives the features of the next level, whatever it is given."""

    def __init__(self, features: Sequence[Tensor], activate: nn.Module | None) -> None:
        super().__init__()
        self._features = iter(features)
        self._activation = [activate]  # in a list, so that it is no module of this one

    def forward(self, maps: Tensor) -> Tensor:
        features = next(self._features)
        (activate,) = self._activation
        return features if activate is None else activate(features)


@contextmanager
def _replaced_list(head: nn.Module, branch: str, convs: nn.ModuleList) -> Iterator[None]:
    before = getattr(head, branch)
    setattr(head, branch, convs)
    try:
        yield
    finally:
        setattr(head, branch, before)
