"""Compose the mini detection data set: real handwritten digits on cluttered scenes.

The digits are the 1797 images that scikit-learn ships, so nothing is downloaded. They are
split per class before anything is drawn: no sample is in both train and val. The files are in
COCO format::

    <output>/train/000001.png ...
    <output>/val/000001.png ...
    <output>/annotations/instances_{train,val}.json
    <output>/dataset.json                             options and counts, written last

The same options give the same bytes (with the same versions of NumPy, Pillow and
scikit-learn); scene number i depends on the seed, the size and i alone.

Command:
    python tools/make_mini_dataset.py
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from dataset_folder import (
    DatasetError,
    begin_folder,
    finish_folder,
    may_reuse,
    read_manifest,
    write_manifest,
)

CLASSES = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')
SPLITS = ('train', 'val')
KIND = 'mini data set'
FORMAT = 2
"""Version of the drawing: raised whenever the same options would draw other scenes."""

VAL_SHARE = 0.25
"""Share of every class's samples that only val may draw."""
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
INK = 0.35
"""Opacity from which a pixel counts as ink, for a box or for a crop."""
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


class Source(NamedTuple):
    """Digits of a split: indices ``(N,)``, labels ``(N,)``, ink ``(N, 8, 8)`` in [0, 1]."""

    indices: np.ndarray
    labels: np.ndarray
    ink: np.ndarray


def split_samples(labels: np.ndarray, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split sample indices into train and val, class by class.

    Args:
        labels: Class of every sample, shape ``(N,)``.
        seed: Seed of the shuffle.

    Returns:
        Sorted indices of train and of val: disjoint, together all of ``0 .. N - 1``.
    """
    rng = np.random.default_rng([seed, 0])
    train, val = [], []
    for label in np.unique(labels):
        indices = rng.permutation(np.flatnonzero(labels == label))
        held_out = max(1, round(len(indices) * VAL_SHARE))
        val.append(indices[:held_out])
        train.append(indices[held_out:])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(val))


def load_sources(*, seed: int) -> dict[str, Source]:
    """Load scikit-learn's digits, already split; the result is keyed by split."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DatasetError(
            'scikit-learn is needed for its handwritten digits; '
            "install it with: pip install 'wkd_det[mini]'"
        ) from error
    digits = load_digits()
    ink = (digits.images / 16).astype(np.float32)
    train, val = split_samples(digits.target, seed=seed)
    return {
        split: Source(indices, digits.target[indices], ink[indices])
        for split, indices in (('train', train), ('val', val))
    }


def draw_integer(rng: Generator, bounds: tuple[int, int]) -> int:
    """Return a random integer between ``bounds``, both included."""
    low, high = bounds
    return int(rng.integers(low, high + 1))


def resize(values: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize a float image ``(H, W)`` bicubically to ``(height, width)``."""
    image = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def crop_to(mask: np.ndarray) -> tuple[slice, slice]:
    """Return rows and columns of the tight box around the true pixels of ``mask`` ``(H, W)``."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def enlarge_ink(ink: np.ndarray, side: int) -> np.ndarray:
    """Return the opacity of an enlarged digit, cropped to its ink.

    Args:
        ink: Digit or part of one, shape ``(h, w)``, values in [0, 1], not all blank.
        side: About the length of the result's longer side, in pixels.

    Returns:
        Opacity in [0, 1], shape ``(H, W)``; every border row and column holds ink, so the
        array's frame is the tight box.
    """
    tight = ink[crop_to(ink >= INK)]
    scale = side / max(tight.shape)
    padded = np.pad(tight, 1)  # room for the edge of a stroke to fade out
    height, width = (round(length * scale) for length in padded.shape)
    # Bicubic enlargement blurs the edges; the ramp makes them crisp pen strokes again.
    opacity = np.clip((resize(padded, width, height) - 0.3) / 0.3, 0, 1)
    return opacity[crop_to(opacity >= INK)]


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


def write_split(
    root: Path, source: Source, *, split: str, count: int, size: int, seed: int
) -> dict[str, int]:
    """Write the images and the COCO file of a split to ``root``; return its counts."""
    folder = root / split
    folder.mkdir()
    images, annotations = [], []
    scenes = draw_scenes(source, split=split, count=count, size=size, seed=seed)
    for image_id, (image, digits) in enumerate(scenes, start=1):
        name = f'{image_id:06d}.png'
        Image.fromarray(image).save(folder / name)
        images.append(dict(id=image_id, file_name=name, width=size, height=size))
        for digit in digits:
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image_id,
                    category_id=digit.label + 1,
                    bbox=list(digit.box),
                    area=digit.box.w * digit.box.h,
                    iscrowd=0,
                    sample=digit.sample,
                )
            )
    categories = [dict(id=label + 1, name=name) for label, name in enumerate(CLASSES)]
    content = dict(images=images, annotations=annotations, categories=categories)
    path = root / 'annotations' / f'instances_{split}.json'
    path.write_text(json.dumps(content) + '\n', encoding='utf-8')
    return dict(images=len(images), annotations=len(annotations))


def is_complete(output: Path, manifest: dict) -> bool:
    """Return whether the files that the manifest counts are (still) there."""
    return all(
        (output / 'annotations' / f'instances_{split}.json').is_file()
        and len(list((output / split).glob('*.png'))) == manifest['counts'][split]['images']
        for split in SPLITS
    )


def check_options(*, train: int, val: int, size: int, seed: int) -> None:
    """Raise ``ValueError`` for an option out of its range."""
    lows = dict(train=(train, 1), val=(val, 1), size=(size, MIN_SIZE), seed=(seed, 0))
    for name, (value, low) in lows.items():
        if value < low:
            raise ValueError(f'{name} must be at least {low}, but got {value}')


def make_dataset(
    output: str | Path, *, train: int, val: int, size: int, seed: int, force: bool = False
) -> dict:
    """Make the mini data set, or reuse a finished one with the same options.

    Everything is written to ``<output>.partial`` and renamed at the end: an interrupted run
    leaves nothing that looks like a data set.

    Args:
        output: Folder to create.
        train: Number of train scenes.
        val: Number of val scenes.
        size: Side of the square scenes in pixels.
        seed: Decides the split of the samples and every scene.
        force: Replace a mini data set that was made with other options.

    Returns:
        The manifest: ``format``, ``options``, ``counts`` of images and annotations per split.

    Raises:
        ValueError: If an option is out of its range.
        DatasetError: If ``output`` holds something that must not be replaced, or if
            scikit-learn is missing.
    """
    output = Path(output)
    options = dict(train=train, val=val, size=size, seed=seed)
    check_options(**options)
    if may_reuse(output, options, kind=KIND, format=FORMAT, is_complete=is_complete, force=force):
        return read_manifest(output)

    sources = load_sources(seed=seed)
    partial = begin_folder(output)
    (partial / 'annotations').mkdir()
    counts = {
        split: write_split(
            partial, sources[split], split=split, count=options[split], size=size, seed=seed
        )
        for split in SPLITS
    }
    manifest = dict(format=FORMAT, options=options, counts=counts)
    write_manifest(partial, manifest)
    finish_folder(partial, output)
    return manifest


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Compose the mini detection data set from the digits of scikit-learn.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        '--output', type=Path, default=Path('data/mini_digits'), help='folder to create'
    )
    parser.add_argument('--train', type=int, default=1000, help='number of train scenes')
    parser.add_argument('--val', type=int, default=250, help='number of val scenes')
    parser.add_argument('--size', type=int, default=96, help='side of the scenes in pixels')
    parser.add_argument('--seed', type=int, default=0, help='seed of the split and the scenes')
    parser.add_argument(
        '--force', action='store_true', help='replace a mini data set with other options'
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit code."""
    args = parse_args(argv)
    try:
        manifest = make_dataset(**vars(args))
    except (DatasetError, ValueError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    listed = ', '.join(
        f'{split} {count["images"]} scenes with {count["annotations"]} digits'
        for split, count in manifest['counts'].items()
    )
    print(f'{args.output}: {listed}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
