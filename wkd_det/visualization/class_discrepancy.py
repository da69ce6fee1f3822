"""How far the student's features of each class are from the teacher's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wkd_det.functional.class_gaussian import class_gaussian_distance

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_class_discrepancy(
    students: Mapping[str, Tensor], class_names: Sequence[str], *, title: str = ''
) -> Figure:
    """Bars of :func:`class_discrepancy`, classes side by side.

    Args:
        students: Distances by name, each ``(C,)``; NaN leaves a gap.
        class_names: ``C`` names.
        title: Above the picture.
    """
    from matplotlib.figure import Figure

    classes = len(class_names)
    figure = Figure(figsize=(max(6.0, 0.28 * classes * len(students) + 2), 3.6))
    figure.set_layout_engine('constrained')
    axis = figure.subplots()
    width = 0.8 / max(len(students), 1)
    for index, (name, values) in enumerate(students.items()):
        places = torch.arange(classes) + (index - (len(students) - 1) / 2) * width
        mean = float(values[~values.isnan()].mean())
        axis.bar(places, values, width=width * 0.95, label=f'{name} (mean {mean:.3g})')
    axis.set_xticks(range(classes), class_names, rotation=45, ha='right', fontsize=8)
    axis.set_ylabel('squared W2 to the teacher')
    axis.grid(axis='y', alpha=0.3)
    axis.set_axisbelow(True)
    axis.legend(fontsize=8, frameon=False, loc='upper left', bbox_to_anchor=(1, 1))
    axis.set_title(title, fontsize=10)
    return figure


def class_discrepancy(student: Tensor, teacher: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Squared 2-Wasserstein distance of the Gaussians of each class, student to teacher.

    Args:
        student: Features, shape ``(N, D)``.
        teacher: Features of the same examples, shape ``(N, D)``.
        labels: Shape ``(N,)``, in ``[0, num_classes)``.
        num_classes: ``C``.

    Returns:
        Shape ``(C,)``, float64; NaN for classes with fewer than 2 examples.

    Raises:
        ValueError: If shapes disagree.
    """
    if student.dim() != 2 or student.shape != teacher.shape:
        raise ValueError(
            'student and teacher must have features of one shape (N, D), got '
            f'{tuple(student.shape)} and {tuple(teacher.shape)}'
        )
    result = torch.full((num_classes,), torch.nan, dtype=torch.float64)
    for label in range(num_classes):
        chosen = labels == label
        if int(chosen.sum()) < 2:
            continue
        pair = [features[chosen].detach().cpu().double() for features in (student, teacher)]
        mean = torch.stack([features.mean(0) for features in pair])
        covariance = torch.stack([torch.atleast_2d(features.t().cov()) for features in pair])
        result[label] = class_gaussian_distance(mean, covariance)[0, 1]
    return result


def fit_linearly(features: Tensor, onto: Tensor, fitted: Tensor) -> Tensor:
    """Map features to another width by least squares, so that the two can be compared.

    Args:
        features: Shape ``(N, D)``.
        onto: What they are mapped to, shape ``(N, E)``.
        fitted: Bool, shape ``(N,)``: the examples that the map, an affine one, is fitted on.

    Returns:
        All features mapped, shape ``(N, E)``, float64.

    Raises:
        ValueError: If there are no more examples to fit on than dimensions.
    """
    features, onto = features.detach().cpu().double(), onto.detach().cpu().double()
    ones = features.new_ones(len(features), 1)
    extended = torch.cat([features, ones], dim=1)
    if int(fitted.sum()) <= extended.shape[1]:
        raise ValueError(
            f'a map of {features.shape[1]} dimensions needs more than {extended.shape[1]} '
            f'examples to be fitted on, got {int(fitted.sum())}'
        )
    solution = torch.linalg.lstsq(extended[fitted], onto[fitted], driver='gelsd').solution
    return extended @ solution
