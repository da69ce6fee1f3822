"""Class distances as a map in two dimensions."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from wkd_det.visualization.group_colors import group_colors
from wkd_det.visualization.heat_map import LABELLED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAPS = ('mds', 'tsne')


def class_map(
    distance: Tensor,
    class_names: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    method: str = 'mds',
    seed: int = 0,
    title: str = '',
) -> Figure:
    """The classes as points whose distances resemble those of the matrix.

    ``'mds'`` keeps all distances as well as it can (nearly equal ones give a disc without
    meaning), ``'tsne'`` keeps near classes near and is for some dozens of classes and more.

    Args:
        distance: Shape ``(C, C)``.
        class_names: ``C`` names.
        groups: Group of each class; points take its colour.
        method: One of ``MAPS``.
        seed: Of the start.
        title: Above the picture.

    Raises:
        ValueError: If the method is unknown.
    """
    from matplotlib.figure import Figure

    points = _placed(distance, method, seed)
    labelled = len(class_names) <= LABELLED
    side = min(5.0 + 0.06 * len(class_names), 12.0)
    figure = Figure(
        figsize=(side + (2.0 if groups is not None else 0.0), side), layout='constrained'
    )
    axes = figure.subplots()
    colors = group_colors(groups) if groups is not None else {}
    drawn = [colors[group] for group in groups] if groups is not None else '0.3'
    axes.scatter(*points.T, c=drawn, s=28 if labelled else 10)
    if labelled:
        middle = points[:, 0].mean()
        for point, name in zip(points, class_names):
            left = point[0] > middle  # names run towards the middle, not out of the picture
            axes.annotate(
                name,
                point,
                xytext=(-4 if left else 4, 3),
                textcoords='offset points',
                ha='right' if left else 'left',
                fontsize=8,
            )
    if len(colors) > 1:
        handles = [
            axes.scatter([], [], color=color, s=28, label=group) for group, color in colors.items()
        ]
        figure.legend(handles=handles, loc='outside right upper', fontsize=8, frameon=False)
    axes.set_aspect('equal', adjustable='datalim')
    axes.margins(0.06)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title)
    return figure


def _placed(distance: Tensor, method: str, seed: int) -> np.ndarray:
    """Coordinates, shape ``(C, 2)``."""
    from sklearn.manifold import MDS, TSNE  # needed for plots only

    if method not in MAPS:
        raise ValueError(f'method must be one of {MAPS}, got {method!r}')
    square = distance.detach().cpu().double().numpy()
    square = (square + square.T) / 2
    if method == 'mds':
        # scikit-learn renamed the option in 1.8.
        renamed = 'metric_mds' in inspect.signature(MDS).parameters
        options = (
            dict(metric='precomputed', init='classical_mds')
            if renamed
            else dict(dissimilarity='precomputed')
        )
        solver = MDS(n_init=1 if renamed else 4, random_state=seed, **options)
    else:
        perplexity = min(30.0, max((len(square) - 1) / 3, 1.0))
        solver = TSNE(metric='precomputed', init='random', perplexity=perplexity, random_state=seed)
    return solver.fit_transform(square)
