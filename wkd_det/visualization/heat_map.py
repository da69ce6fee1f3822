"""Class distances as a picture of their matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from wkd_det.visualization.clustering import clustered_order

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELLED = 120
"""Classes up to which a picture carries their names."""


def heat_map(distance: Tensor, class_names: Sequence[str], *, title: str = '') -> Figure:
    """Heat map with the classes in clustered order; the diagonal is left out.

    The colours span the distances off the diagonal, so that a nearly constant matrix shows how
    little it holds only on its colour bar: read it.

    Args:
        distance: Shape ``(C, C)``.
        class_names: ``C`` names.
        title: Above the picture.
    """
    from matplotlib.figure import Figure

    order = clustered_order(distance)
    square = distance.detach().cpu().double().numpy()[np.ix_(order, order)]
    np.fill_diagonal(square, np.nan)
    labelled = len(order) <= LABELLED
    side = min(max(3.2 + 0.16 * len(order), 5.0), 22.0) if labelled else 9.0
    figure = Figure(figsize=(side + 1.2, side), layout='constrained')
    axes = figure.subplots()
    axes.set_facecolor('0.85')
    image = axes.imshow(square, cmap='viridis_r', interpolation='nearest')
    figure.colorbar(image, ax=axes, label='distance (1 - interrelation)', shrink=0.8)
    if labelled:
        names = [class_names[index] for index in order]
        size = 9 if len(order) <= 20 else 7
        axes.set_xticks(range(len(order)), names, rotation=90, fontsize=size)
        axes.set_yticks(range(len(order)), names, fontsize=size)
    else:
        axes.set_xlabel(f'{len(order)} classes in clustered order')
    axes.set_title(title)
    return figure
