"""How student and teacher correlate classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def correlation_difference(
    students: Mapping[str, Tensor],
    teacher: Tensor,
    class_names: Sequence[str],
    *,
    title: str = '',
) -> Figure:
    """The teacher's matrix of class correlations, and what each student's differs by.

    Two classes correlate where their logits rise and fall together from example to example. The
    panels of all students share their colours; each names its mean absolute difference off the
    diagonal.

    Args:
        students: Logits by name, each ``(N, C)``, of the examples that the teacher has seen.
        teacher: Logits, shape ``(N, C)``.
        class_names: ``C`` names.
        title: Above the picture.

    Raises:
        ValueError: If shapes disagree or there are fewer than 2 examples.
    """
    from matplotlib.figure import Figure

    for name, logits in students.items():
        if logits.shape != teacher.shape:
            raise ValueError(
                f'{name} and the teacher must have logits of one shape, got '
                f'{tuple(logits.shape)} and {tuple(teacher.shape)}'
            )
    own = class_correlation(teacher)
    gaps = {name: class_correlation(logits) - own for name, logits in students.items()}
    largest = max((float(gap.abs().max()) for gap in gaps.values()), default=0.0)
    classes = len(class_names)
    side = max(2.6, 0.16 * classes + 0.8)
    panels = 1 + len(gaps)
    figure = Figure(figsize=((side + 0.3) * panels + 1.6, side + 1.0), layout='constrained')
    axes = figure.subplots(1, panels, squeeze=False)[0]
    image = axes[0].imshow(own, cmap='PuOr_r', vmin=-1, vmax=1)
    figure.colorbar(image, ax=axes[0], shrink=0.7, label='correlation')
    axes[0].set_title('teacher', fontsize=10)
    for axis, (name, gap) in zip(axes[1:], gaps.items()):
        image = axis.imshow(gap, cmap='RdBu_r', vmin=-largest, vmax=largest)
        mean = float(gap.abs().sum()) / (classes * (classes - 1))
        axis.set_title(f'{name} minus teacher\nmean |difference| {mean:.3f}', fontsize=10)
    if gaps:
        figure.colorbar(image, ax=axes[-1], shrink=0.7, label='difference')
    for index, axis in enumerate(axes):
        axis.set_xticks(range(classes), class_names, rotation=90, fontsize=7)
        axis.set_yticks(range(classes), class_names if index == 0 else [], fontsize=7)
    figure.suptitle(title, fontsize=10)
    return figure


def class_correlation(logits: Tensor) -> Tensor:
    """Pearson correlation of the logits of all pairs of classes, shape ``(C, C)``.

    Args:
        logits: Shape ``(N, C)``, ``N >= 2``, no constant column.

    Raises:
        ValueError: If a correlation is not defined.
    """
    if logits.dim() != 2 or logits.shape[0] < 2:
        raise ValueError(
            f'logits must have a shape (N, C) with N at least 2, got {tuple(logits.shape)}'
        )
    correlation = torch.corrcoef(logits.detach().cpu().double().t())
    constant = correlation.diagonal().isnan().nonzero().flatten().tolist()
    if constant:
        raise ValueError(f'the logits of the classes {constant} are constant')
    return correlation
