"""All pictures of one matrix of class distances."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from wkd_det.visualization.class_map import class_map
from wkd_det.visualization.dendrogram import dendrogram
from wkd_det.visualization.heat_map import heat_map


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
        folder: Made if it is missing.
        groups: Group of each class, for colours.
        stem: Beginning of the file names, and the title.
        map_method: See :func:`class_map`.

    Returns:
        The three files.
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
