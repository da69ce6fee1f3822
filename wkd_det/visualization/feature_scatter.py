"""Features of examples as points of the plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from wkd_det.visualization.group_colors import group_colors

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def feature_scatter(
    features: Mapping[str, Tensor],
    labels: Tensor,
    class_names: Sequence[str],
    *,
    seed: int = 0,
    title: str = '',
) -> Figure:
    """t-SNE of the features of each network, one panel each, the same examples in all.

    Distances between far clusters, sizes of clusters and the orientation of a panel mean nothing;
    which examples lie together does.

    Args:
        features: By name of the network, each ``(N, D)`` with a width of its own.
        labels: Class of each example, shape ``(N,)``.
        class_names: Names of the classes.
        seed: Of the start.
        title: Above the picture.

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
                axis.scatter(*own.T, s=9, color=colors[class_name], label=class_name, linewidths=0)
        axis.set_title(name, fontsize=10)
        axis.set_xticks([])
        axis.set_yticks([])
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc='outside right upper', fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)
    return figure
