"""Pictures of class distances: heat map, tree and map in the plane."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from wkd_det.inspection.text import literal, literals
from wkd_det.ops.checks import check_choice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELLED = 120
"""Number of classes up to which a picture carries their names."""
MAPS = ('mds', 'tsne')

_BRANCHES = 60  # drawn where there are too many classes to name


def linkage_of(distance: Tensor) -> np.ndarray:
    """Cluster by average linkage, with the leaves ordered so that neighbours are close.

    Args:
        distance: Shape ``(C, C)``, symmetric, zero diagonal.

    Returns:
        Linkage matrix of SciPy, shape ``(C - 1, 4)``.

    References: Bar-Joseph, Gifford, Jaakkola, Fast optimal leaf ordering for hierarchical
        clustering, Bioinformatics 2001.
    """
    from scipy.cluster.hierarchy import linkage  # needed for plots only
    from scipy.spatial.distance import squareform

    square = distance.detach().cpu().double().numpy()
    condensed = squareform((square + square.T) / 2, checks=False)
    # Optimal ordering is cubic in the number of classes: 1000 take a minute, 300 a second.
    return linkage(condensed, method='average', optimal_ordering=len(square) <= 300)


def clustered_order(distance: Tensor) -> list[int]:
    """Return the indices of the classes in the order of the leaves."""
    from scipy.cluster.hierarchy import leaves_list

    return leaves_list(linkage_of(distance)).tolist()


def group_colors(groups: Sequence[str]) -> dict[str, Any]:
    """Return a colour per group, in the order of first appearance, dark enough for text on white.

    Up to 20 groups have different colours: ten hues, then the same ten darker. More repeat them.
    """
    from matplotlib import colormaps

    hues = [colormaps['tab10'](index)[:3] for index in range(10)]
    palette = [tuple(shade * part for part in hue) for shade in (0.9, 0.5) for hue in hues]
    distinct = list(dict.fromkeys(groups))
    return {group: palette[index % len(palette)] for index, group in enumerate(distinct)}


def heat_map(distance: Tensor, class_names: Sequence[str], *, title: str = '') -> Figure:
    """Draw a heat map with the classes in clustered order; the diagonal is left out.

    The colours span the distances off the diagonal, so that a nearly constant matrix shows how
    little it holds only on its colour bar: read it.

    Args:
        distance: Shape ``(C, C)``.
        class_names: ``C`` names.
        title: Text above the picture.
    """
    from matplotlib.figure import Figure

    order = clustered_order(distance)
    square = distance.detach().cpu().double().numpy()[np.ix_(order, order)]
    np.fill_diagonal(square, np.nan)
    labelled = len(order) <= LABELLED
    side = min(max(3.2 + 0.16 * len(order), 5.0), 22.0) if labelled else 9.0
    figure = Figure(figsize=(side + 1.2, side), layout='constrained')
    axes = figure.subplots()
    names = literals(class_names[index] for index in order)
    axes.set_facecolor('0.85')
    image = axes.imshow(square, cmap='viridis_r', interpolation='nearest')
    figure.colorbar(image, ax=axes, label='distance (1 - interrelation)', shrink=0.8)
    if labelled:
        size = 9 if len(order) <= 20 else 7
        axes.set_xticks(range(len(order)), names, rotation=90, fontsize=size)
        axes.set_yticks(range(len(order)), names, fontsize=size)
    else:
        axes.set_xlabel(f'{len(order)} classes in clustered order')
    axes.set_title(literal(title))
    return figure


def dendrogram(
    distance: Tensor,
    class_names: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    title: str = '',
) -> Figure:
    """Draw the tree of average linkage, names to the left of their leaves.

    If there are more than ``LABELLED`` classes, only the topmost branches are drawn, each with
    its number of classes.

    Args:
        distance: Shape ``(C, C)``.
        class_names: ``C`` names.
        groups: Group of each class; names take its colour.
        title: Text above the picture.
    """
    from matplotlib.figure import Figure
    from scipy.cluster.hierarchy import dendrogram as draw

    labelled = len(class_names) <= LABELLED
    leaves = len(class_names) if labelled else _BRANCHES
    figure = Figure(figsize=(8.0, max(1.6 + 0.17 * leaves, 3.5)), layout='constrained')
    axes = figure.subplots()
    tree = draw(
        linkage_of(distance),
        ax=axes,
        orientation='right',
        labels=literals(class_names),
        leaf_font_size=8,
        truncate_mode=None if labelled else 'lastp',
        p=leaves,
        color_threshold=0,
        above_threshold_color='0.35',
    )
    axes.set_xlabel('distance (1 - interrelation), average linkage')
    axes.spines[['top', 'left', 'right']].set_visible(False)
    if groups is not None and labelled:
        colors = group_colors(groups)
        for label, leaf in zip(axes.get_yticklabels(), tree['leaves']):
            label.set_color(colors[groups[leaf]])
    axes.set_title(literal(title))
    return figure


def class_map(
    distance: Tensor,
    class_names: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    method: str = 'mds',
    seed: int = 0,
    title: str = '',
) -> Figure:
    """Draw the classes as points whose distances resemble those of the matrix.

    ``'mds'`` keeps all distances as well as it can (nearly equal ones give a disc without
    meaning), ``'tsne'`` keeps near classes near and is for some dozens of classes and more.

    Args:
        distance: Shape ``(C, C)``.
        class_names: ``C`` names.
        groups: Group of each class; points take its colour.
        method: One of ``MAPS``.
        seed: Random seed of the start.
        title: Text above the picture.

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
                literal(name),
                point,
                xytext=(-4 if left else 4, 3),
                textcoords='offset points',
                ha='right' if left else 'left',
                fontsize=8,
            )
    if len(colors) > 1:
        handles = [
            axes.scatter([], [], color=color, s=28, label=literal(group))
            for group, color in colors.items()
        ]
        figure.legend(handles=handles, loc='outside right upper', fontsize=8, frameon=False)
    axes.set_aspect('equal', adjustable='datalim')
    axes.margins(0.06)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(literal(title))
    return figure


def _placed(distance: Tensor, method: str, seed: int) -> np.ndarray:
    """Return coordinates, shape ``(C, 2)``."""
    from sklearn.manifold import MDS, TSNE  # needed for plots only

    check_choice(MAPS, method=method)
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


def plot_interrelation(
    distance: Tensor,
    class_names: Sequence[str],
    folder: str | os.PathLike,
    *,
    groups: Sequence[str] | None = None,
    stem: str = 'interrelation',
    map_method: str = 'mds',
) -> list[Path]:
    """Write heat map, dendrogram and map as PNG files.

    Args:
        distance: Shape ``(C, C)``.
        class_names: ``C`` names.
        folder: Folder of the files, made if it is missing.
        groups: Group of each class, for colours.
        stem: Beginning of the file names, and the title.
        map_method: Method of :func:`class_map`.

    Returns:
        Paths of the three files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    figures = dict(
        heat_map=heat_map(distance, class_names, title=stem),
        dendrogram=dendrogram(distance, class_names, groups=groups, title=stem),
        map=class_map(distance, class_names, groups=groups, method=map_method, title=stem),
    )
    paths = []
    for kind, figure in figures.items():
        paths.append(folder / f'{stem}_{kind}.png')
        figure.savefig(paths[-1], dpi=110)
    return paths
