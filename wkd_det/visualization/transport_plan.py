"""Which class lends mass to which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 0.005  # of the mass: what is written into a cell


def plot_transport_plan(
    plan: Tensor,
    cost: Tensor,
    class_names: Sequence[str],
    *,
    student: Tensor,
    teacher: Tensor,
    title: str = '',
) -> Figure:
    """A transport plan from the student's class probabilities (rows) to the teacher's (columns).

    Beside the plan the probabilities, and outlined the marginals of the plan, which few rounds of
    scaling need not have brought to the teacher's; to its right what the mass that moves costs,
    cell by cell. The colours of the plan are logarithmic: most of the mass stays where it is.

    Args:
        plan: Shape ``(C, C)``, rows belong to the student.
        cost: Shape ``(C, C)``.
        class_names: ``C`` names.
        student: Probabilities that are transported, shape ``(C,)``.
        teacher: Probabilities that they are brought to, shape ``(C,)``.
        title: Above the picture.

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
        axis.set_xticks(range(classes), class_names, rotation=90, fontsize=7)
    left.set_yticks(range(classes), class_names, fontsize=7)
    right.set_yticks(range(classes), class_names, fontsize=7)
    main.tick_params(labelleft=False)
    top.tick_params(labelbottom=False)
    figure.suptitle(title, fontsize=10)
    return figure


def _write(axis: object, matrix: Tensor, *, dark: float) -> None:
    largest = float(matrix.max())
    for row, column in (matrix >= max(_SHOWN, 0.02 * largest)).nonzero().tolist():
        value = float(matrix[row, column])
        color = 'white' if value > dark else 'black'
        axis.text(column, row, f'{value:.2g}', ha='center', va='center', fontsize=6, color=color)
