"""A colour for each group of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def group_colors(groups: Sequence[str]) -> dict[str, Any]:
    """Colours by group in the order of first appearance, dark enough for text on white.

    Up to 20 are told apart: ten hues and the same ten darker. More repeat them.
    """
    from matplotlib import colormaps

    hues = [colormaps['tab10'](index)[:3] for index in range(10)]
    palette = [tuple(shade * part for part in hue) for shade in (0.9, 0.5) for hue in hues]
    distinct = list(dict.fromkeys(groups))
    return {group: palette[index % len(palette)] for index, group in enumerate(distinct)}
