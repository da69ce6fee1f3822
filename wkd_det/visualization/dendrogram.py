"""Class distances as a tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from wkd_det.visualization.clustering import linkage_of
from wkd_det.visualization.group_colors import group_colors
from wkd_det.visualization.heat_map import LABELLED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BRANCHES = 60  # drawn where there are too many classes to name


def dendrogram(
    distance: Tensor,
    class_names: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    title: str = '',
) -> Figure:
    """Tree of average linkage, names to the left of their leaves.

    Of many classes only the topmost branches are drawn, each with its number of classes.

    Args:
        distance: Shape ``(C, C)``.
        class_names: ``C`` names.
        groups: Group of each class; names take its colour.
        title: Above the picture.
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
        labels=list(class_names),
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
    axes.set_title(title)
    return figure
