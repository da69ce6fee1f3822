"""Pictures of a student next to its teacher: correlation, discrepancy, features, transport."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wkd_det.costs.gaussians import class_gaussian_distance
from wkd_det.inspection.class_pictures import group_colors
from wkd_det.inspection.text import literal, literals

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 0.005  # least share of the mass that is written into a cell


def correlation_difference(
    students: Mapping[str, Tensor],
    teacher: Tensor,
    class_names: Sequence[str],
    *,
    title: str = '',
) -> Figure:
    """Draw the teacher's matrix of class correlations, and each student's difference from it.

    Two classes correlate if their logits rise and fall together from example to example. The
    panels of all students share their colours; each names its mean absolute difference off the
    diagonal.

    Args:
        students: Logits by name, each ``(N, C)``, on the same examples as the teacher's.
        teacher: Logits, shape ``(N, C)``.
        class_names: ``C`` names.
        title: Text above the picture.

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
        axis.set_title(f'{literal(name)} minus teacher\nmean |difference| {mean:.3f}', fontsize=10)
    if gaps:
        figure.colorbar(image, ax=axes[-1], shrink=0.7, label='difference')
    for index, axis in enumerate(axes):
        names = literals(class_names)
        axis.set_xticks(range(classes), names, rotation=90, fontsize=7)
        axis.set_yticks(range(classes), names if index == 0 else [], fontsize=7)
    figure.suptitle(literal(title), fontsize=10)
    return figure


def class_correlation(logits: Tensor) -> Tensor:
    """Return the Pearson correlation of the logits of all pairs of classes, shape ``(C, C)``.

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


def plot_class_discrepancy(
    students: Mapping[str, Tensor], class_names: Sequence[str], *, title: str = ''
) -> Figure:
    """Draw bars of :func:`class_discrepancy`, classes side by side.

    Args:
        students: Distances by name, each ``(C,)``; NaN leaves a gap.
        class_names: ``C`` names.
        title: Text above the picture.
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
        axis.bar(places, values, width=width * 0.95, label=f'{literal(name)} (mean {mean:.3g})')
    axis.set_xticks(range(classes), literals(class_names), rotation=45, ha='right', fontsize=8)
    axis.set_ylabel('squared W2 to the teacher')
    axis.grid(axis='y', alpha=0.3)
    axis.set_axisbelow(True)
    axis.legend(fontsize=8, frameon=False, loc='upper left', bbox_to_anchor=(1, 1))
    axis.set_title(literal(title), fontsize=10)
    return figure


def class_discrepancy(student: Tensor, teacher: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Return the squared 2-Wasserstein distance per class, from student to teacher.

    Each class is a Gaussian with the mean and covariance of its features.

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
        onto: Target of the map, shape ``(N, E)``.
        fitted: Bool, shape ``(N,)``: the examples on which the map, an affine one, is fitted.

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


def feature_scatter(
    features: Mapping[str, Tensor],
    labels: Tensor,
    class_names: Sequence[str],
    *,
    seed: int = 0,
    title: str = '',
) -> Figure:
    """Draw t-SNE of the features of each network, one panel each, the same examples in all.

    Distances between far clusters, sizes of clusters and the orientation of a panel mean nothing;
    which examples lie together does.

    Args:
        features: Features by name of the network, each ``(N, D)`` with a width of its own.
        labels: Class of each example, shape ``(N,)``.
        class_names: Names of the classes.
        seed: Random seed of the start.
        title: Text above the picture.

    Raises:
        ValueError: If there are fewer than 4 examples or their numbers differ.
    """
    from matplotlib.figure import Figure
    from sklearn.manifold import TSNE

    count = len(labels)
    if count < 4:
        raise ValueError(f'features must be of at least 4 examples, got {count}')
    for name, values in features.items():
        if len(values) != count:
            raise ValueError(f'{name} must have {count} rows, one a label, got {len(values)}')
    figure = Figure(figsize=(3.6 * len(features) + 1.4, 4.0), layout='constrained')
    axes = figure.subplots(1, len(features), squeeze=False)[0]
    colors = group_colors(class_names)
    perplexity = min(30.0, (count - 1) / 3)
    for axis, (name, values) in zip(axes, features.items()):
        solver = TSNE(init='pca', perplexity=perplexity, random_state=seed)
        points = solver.fit_transform(values.detach().cpu().double().numpy())
        for label, class_name in enumerate(class_names):
            own = points[(labels == label).numpy()]
            if len(own):
                axis.scatter(
                    *own.T, s=9, color=colors[class_name], label=literal(class_name), linewidths=0
                )
        axis.set_title(literal(name), fontsize=10)
        axis.set_xticks([])
        axis.set_yticks([])
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc='outside right upper', fontsize=8, frameon=False)
    figure.suptitle(literal(title), fontsize=10)
    return figure


def plot_transport_plan(
    plan: Tensor,
    cost: Tensor,
    class_names: Sequence[str],
    *,
    student: Tensor,
    teacher: Tensor,
    title: str = '',
) -> Figure:
    """Draw a plan from the student's class probabilities (rows) to the teacher's (columns).

    Next to the plan are the probabilities and, outlined, the marginals of the plan, which few
    rounds of scaling need not have brought to the teacher's; to its right is the cost of the mass
    that moves, cell by cell. The colours of the plan are logarithmic: most of the mass stays.

    Args:
        plan: Shape ``(C, C)``, rows belong to the student.
        cost: Shape ``(C, C)``.
        class_names: ``C`` names.
        student: Probabilities that are transported, shape ``(C,)``.
        teacher: Probabilities to which they are brought, shape ``(C,)``.
        title: Text above the picture.

    Raises:
        ValueError: If shapes disagree.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    classes = len(class_names)
    for name, matrix in (('plan', plan), ('cost', cost)):
        if matrix.shape != (classes, classes):
            raise ValueError(
                f'{name} must have the shape ({classes}, {classes}), got {tuple(matrix.shape)}'
            )
    for name, histogram in (('student', student), ('teacher', teacher)):
        if histogram.shape != (classes,):
            raise ValueError(
                f'{name} must have the shape ({classes},), got {tuple(histogram.shape)}'
            )
    plan, cost, student, teacher = (
        tensor.detach().cpu().double() for tensor in (plan, cost, student, teacher)
    )
    names = literals(class_names)
    side = max(3.6, 0.32 * classes)
    figure = Figure(figsize=(2 * side + 3.6, side + 1.8), layout='constrained')
    grid = figure.add_gridspec(2, 3, width_ratios=[1, side, side + 0.4], height_ratios=[1, side])
    main = figure.add_subplot(grid[1, 1])
    left = figure.add_subplot(grid[1, 0], sharey=main)
    top = figure.add_subplot(grid[0, 1], sharex=main)
    right = figure.add_subplot(grid[1, 2])
    image = main.imshow(plan.clamp(min=1e-6), cmap='Blues', norm=LogNorm(1e-4, 1.0), aspect='auto')
    _write(main, plan, dark=0.03)  # where the logarithmic colours are
    outline = dict(fill=False, edgecolor='black', linewidth=0.8)
    left.barh(range(classes), student, color='tab:orange')
    left.barh(range(classes), plan.sum(1), **outline)
    left.invert_xaxis()
    top.bar(range(classes), teacher, color='tab:green')
    top.bar(range(classes), plan.sum(0), **outline)
    top.set_title("teacher's probabilities; outlined: mass of the plan", fontsize=9)
    left.set_title("student's", fontsize=9)
    moved = plan * cost
    spent = right.imshow(moved, cmap='Reds', aspect='auto')
    _write(right, moved, dark=0.5 * float(moved.max()))
    right.set_title(f'mass times cost, {float(moved.sum()):.4f} in all', fontsize=9)
    figure.colorbar(image, ax=main, shrink=0.7, label='mass')
    figure.colorbar(spent, ax=right, shrink=0.7)
    for axis in (main, right):
        axis.set_xticks(range(classes), names, rotation=90, fontsize=7)
    left.set_yticks(range(classes), names, fontsize=7)
    right.set_yticks(range(classes), names, fontsize=7)
    main.tick_params(labelleft=False)
    top.tick_params(labelbottom=False)
    figure.suptitle(literal(title), fontsize=10)
    return figure


def _write(axis: object, matrix: Tensor, *, dark: float) -> None:
    largest = float(matrix.max())
    for row, column in (matrix >= max(_SHOWN, 0.02 * largest)).nonzero().tolist():
        value = float(matrix[row, column])
        color = 'white' if value > dark else 'black'
        axis.text(column, row, f'{value:.2g}', ha='center', va='center', fontsize=6, color=color)
