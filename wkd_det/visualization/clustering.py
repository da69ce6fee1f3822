"""Hierarchical clustering of classes by their distances."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def linkage_of(distance: Tensor) -> np.ndarray:
    """Average linkage with the leaves ordered so that neighbours are close.

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
    """Indices of the classes in the order of the leaves."""
    from scipy.cluster.hierarchy import leaves_list

    return leaves_list(linkage_of(distance)).tolist()
