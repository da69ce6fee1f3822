"""Where networks look, scene by scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Scene:
    """An image and what is known of it."""

    image: Tensor
    """RGB in [0, 1], shape ``(H, W, 3)``."""
    boxes: Tensor
    """Shape ``(B, 4)``: left, top, right, bottom in pixels; may be empty."""
    names: Sequence[str]
    """Class of each box, or one caption if there are no boxes."""
    maps: Mapping[str, Tensor]
    """Map of each network by its name, in [0, 1], shape ``(H, W)``."""


def attention_grid(scenes: Sequence[Scene], *, title: str = '') -> Figure:
    """A row a scene: the image with its boxes, then the map of each network over it.

    Raises:
        ValueError: If there are no scenes.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    if not scenes:
        raise ValueError('scenes must not be empty')
    networks = list(scenes[0].maps)
    figure = Figure(
        figsize=(2.5 * (1 + len(networks)), 2.55 * len(scenes) + 0.5), layout='constrained'
    )
    axes = figure.subplots(len(scenes), 1 + len(networks), squeeze=False)
    for row, scene in zip(axes, scenes):
        row[0].imshow(scene.image)
        for network, axis in zip(networks, row[1:]):
            axis.imshow(scene.image.mean(dim=2), cmap='gray', vmin=0, vmax=1)
            axis.imshow(scene.maps[network], cmap='jet', vmin=0, vmax=1, alpha=0.5)
        for index, axis in enumerate(row):
            axis.set_xticks([])
            axis.set_yticks([])
            for box, name in zip(scene.boxes.tolist(), scene.names):
                left, top, right, bottom = box
                edge = Rectangle(
                    (left - 0.5, top - 0.5), right - left, bottom - top,
                    fill=False, edgecolor='lime' if index == 0 else 'white', linewidth=1,
                )  # fmt: skip
                axis.add_patch(edge)
                if index == 0:
                    axis.text(
                        left, top - 2, name, fontsize=6,
                        bbox=dict(facecolor='lime', pad=0.6, lw=0),
                    )  # fmt: skip
        if not len(scene.boxes):
            row[0].set_xlabel(', '.join(scene.names), fontsize=8)
    for axis, name in zip(axes[0], ['ground truth', *networks]):
        axis.set_title(name, fontsize=10)
    figure.suptitle(title, fontsize=10)
    return figure
