"""Scenes: digits in random places on clutter that is not to be taken for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from mini_dataset.digits import INK, SPLITS, Source, crop_to, enlarge_ink, resize

MIN_SIZE = 64
DIGITS_PER_SCENE = (1, 6)
DIGIT_SIDE = (18, 40)
"""Longer side of a digit, about, in pixels; both ends included."""
FRAGMENTS_PER_SCENE = (0, 2)
FRAGMENT_SIDE = (8, 24)
STROKES_PER_SCENE = (0, 4)
STROKE_LENGTH = (8, 40)
MAX_OVERLAP = 0.1
"""Largest intersection of two boxes, as a share of the smaller one; bounds their IoU too."""
PLACEMENT_TRIES = 50
MIN_CONTRAST = 90.0
"""Least difference of brightness (0 to 255) between a digit and the pixels that it covers."""


class Box(NamedTuple):
    """A box in whole pixels: left, top, width, height."""

    x: int
    y: int
    w: int
    h: int


class Digit(NamedTuple):
    """A drawn digit: its index in scikit-learn's set, its class and the box of its ink."""

    sample: int
    label: int
    box: Box


def draw_integer(rng: Generator, bounds: tuple[int, int]) -> int:
    """Return a random integer between ``bounds``, both included."""
    low, high = bounds
    return int(rng.integers(low, high + 1))


def draw_background(rng: Generator, size: int) -> np.ndarray:
    """Return smooth random colour with a little grain, shape ``(size, size, 3)``, 0 to 255."""
    cells = draw_integer(rng, (2, 6))
    coarse = rng.uniform(0, 255, (cells, cells, 3))
    # Some scenes are busy, some almost plain.
    coarse = coarse.mean((0, 1)) + rng.uniform(0.3, 1.0) * (coarse - coarse.mean((0, 1)))
    smooth = np.stack([resize(coarse[..., c], size, size) for c in range(3)], axis=-1)
    return np.clip(smooth + rng.normal(0, rng.uniform(2, 10), smooth.shape), 0, 255)


def draw_strokes(rng: Generator, canvas: np.ndarray) -> np.ndarray:
    """Add random pen strokes (lines and arcs) to ``canvas`` ``(S, S, 3)``; return a new one."""
    image = Image.fromarray(canvas.round().astype(np.uint8))
    pen, size = ImageDraw.Draw(image), canvas.shape[0]
    for _ in range(draw_integer(rng, STROKES_PER_SCENE)):
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        width = draw_integer(rng, (1, 3))
        x, y = (int(value) for value in rng.integers(0, size, 2))
        length = draw_integer(rng, STROKE_LENGTH)
        angle = rng.uniform(0, 2 * np.pi)
        if rng.random() < 0.5:
            end = x + length * np.cos(angle), y + length * np.sin(angle)
            pen.line([(x, y), end], fill=colour, width=width)
        else:
            start = np.degrees(angle)
            extent = [x, y, x + length, y + draw_integer(rng, STROKE_LENGTH)]
            pen.arc(extent, start, start + rng.uniform(60, 200), fill=colour, width=width)
    return np.asarray(image).astype(np.float64)


def blend(rng: Generator, canvas: np.ndarray, opacity: np.ndarray, box: Box) -> None:
    """Paint ``opacity`` ``(h, w)`` at ``box`` in a random colour that stands out there."""
    patch = canvas[box.y : box.y + box.h, box.x : box.x + box.w]
    weight = opacity[..., None] * rng.uniform(0.8, 1.0)
    beneath = (patch * weight).sum((0, 1)) / weight.sum()
    colour = rng.uniform(0, 255, 3)
    while abs(colour.mean() - beneath.mean()) < MIN_CONTRAST:
        colour = rng.uniform(0, 255, 3)
    patch[:] = patch * (1 - weight) + colour * weight


def overlap(first: Box, second: Box) -> float:
    """Return the intersection of two boxes, as a share of the smaller one."""
    width = min(first.x + first.w, second.x + second.w) - max(first.x, second.x)
    height = min(first.y + first.h, second.y + second.h) - max(first.y, second.y)
    return max(width, 0) * max(height, 0) / min(first.w * first.h, second.w * second.h)


def find_place(rng: Generator, width: int, height: int, size: int, taken: list[Box]) -> Box | None:
    """Return a random place for a box clear of the ``taken`` ones; None if none is found."""
    for _ in range(PLACEMENT_TRIES):
        x, y = int(rng.integers(0, size - width + 1)), int(rng.integers(0, size - height + 1))
        box = Box(x, y, width, height)
        if all(overlap(box, other) <= MAX_OVERLAP for other in taken):
            return box
    return None


def cut_fragment(rng: Generator, source: Source) -> np.ndarray:
    """Return about half of a random digit, shape ``(h, w)``, turned to be wider than tall.

    Lying, because upright parts are digits themselves: the right half of an 8 is a 3.
    """
    while True:
        ink = source.ink[int(rng.integers(len(source.ink)))]
        ink = np.rot90(ink[crop_to(ink >= INK)], int(rng.integers(4)))
        part = ink[: draw_integer(rng, (3, 4))]
        height, width = part[crop_to(part >= INK)].shape
        if height > width:
            part, height, width = np.rot90(part), width, height
        if height > 1 and width >= 1.25 * height:
            return part


def place_digits(rng: Generator, source: Source, size: int) -> list[tuple[Digit, np.ndarray]]:
    """Return the digits of a scene, each with its opacity; the first one always finds a place."""
    placed, taken = [], []
    for _ in range(draw_integer(rng, DIGITS_PER_SCENE)):
        drawn = int(rng.integers(len(source.indices)))
        opacity = enlarge_ink(source.ink[drawn], draw_integer(rng, DIGIT_SIDE))
        height, width = opacity.shape
        box = find_place(rng, width, height, size, taken)
        if box is not None:
            taken.append(box)
            digit = Digit(int(source.indices[drawn]), int(source.labels[drawn]), box)
            placed.append((digit, opacity))
    return placed


def paint_fragments(rng: Generator, canvas: np.ndarray, source: Source, taken: list[Box]) -> None:
    """Paint parts of digits on ``canvas`` ``(S, S, 3)``, clear of the ``taken`` boxes."""
    taken = list(taken)
    for _ in range(draw_integer(rng, FRAGMENTS_PER_SCENE)):
        opacity = enlarge_ink(cut_fragment(rng, source), draw_integer(rng, FRAGMENT_SIDE))
        height, width = opacity.shape
        box = find_place(rng, width, height, canvas.shape[0], taken)
        if box is not None:
            taken.append(box)
            blend(rng, canvas, opacity, box)


def draw_scene(rng: Generator, source: Source, *, size: int) -> tuple[np.ndarray, list[Digit]]:
    """Draw one scene.

    Returns:
        The image, shape ``(size, size, 3)``, ``uint8`` RGB, and its digits (one or more).
    """
    canvas = draw_strokes(rng, draw_background(rng, size))
    placed = place_digits(rng, source, size)
    paint_fragments(rng, canvas, source, [digit.box for digit, _ in placed])
    for digit, opacity in placed:
        blend(rng, canvas, opacity, digit.box)
    return np.clip(canvas.round(), 0, 255).astype(np.uint8), [digit for digit, _ in placed]


def draw_scenes(
    source: Source, *, split: str, count: int, size: int, seed: int
) -> Iterator[tuple[np.ndarray, list[Digit]]]:
    """Yield the first ``count`` scenes of a split; scene i does not depend on ``count``."""
    for index in range(count):
        rng = np.random.default_rng([seed, 1 + SPLITS.index(split), index])
        yield draw_scene(rng, source, size=size)
