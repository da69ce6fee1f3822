"""Compose detection scenes of real photographs: those of Tiny ImageNet, each in its own context.

A scene is a canvas that is cut into cells, each filled with a part of one photograph around its
object. Boxes are the human-made ones of ImageNet. Classes are ten groups of five of its classes.
What is written::

    <output>/train/000001.bmp ...               likewise search/ and val/
    <output>/annotations/groups_train.json ...  COCO format, groups as categories
    <output>/annotations/classes_train.json ... the same, classes as categories in supercategories
    <output>/photos.npz                         photographs as arrays, to pre-train backbones on
    <output>/dataset.json                       options, counts and digests, written last

No photograph is in two splits: train has the training photographs, less those drawn for search;
val the official validation photographs. Each photograph is used once a pass, every time with other
neighbours, in another cell and crop.
Left out of scenes are photographs whose box covers more than nine tenths of them, since a crop
that shows the object with a margin does not exist. Files that occur twice are left out of
everything: they have two labels, or are in two splits.

Which photograph is where, and every annotation, follows from the seed by integer arithmetic on
Python's own random numbers, and from the contents of the files, not their names: any machine and
version gives the same annotations. Pixels depend on how Pillow decodes and resizes, too. The
digests in ``dataset.json`` show whether two machines have the same.

Command:
    python tools/make_photo_scenes.py data/tiny-imagenet-200
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dataset_folder import check_least, made, run
from photo_scenes.files import write_photos, write_split
from photo_scenes.layout import MIN_CELL, compose_scenes
from photo_scenes.photographs import Photo, read_groups, read_names, read_photos, split_photos

KIND = 'data set of photo scenes'
FORMAT = 2
"""Version of the drawing: raised whenever the same options would draw other scenes."""
SPLITS = ('train', 'search', 'val')
TINY = 4
"""Scenes of each split that ``--tiny`` makes."""


def check_options(
    *,
    size: Sequence[int],
    photos: Sequence[int],
    passes: int,
    val_passes: int,
    held_out: int,
    seed: int,
) -> None:
    """Raise ``ValueError`` for an option out of its range."""
    if min(size) < 2 * MIN_CELL:
        raise ValueError(f'size must be at least {2 * MIN_CELL} x {2 * MIN_CELL}, got {size}')
    most = (size[0] // MIN_CELL) * (size[1] // MIN_CELL)
    if not 1 < photos[0] <= photos[1] <= most:
        raise ValueError(
            f'photos must be two numbers from 2 to {most}, the least first, got {photos}'
        )
    values = dict(passes=passes, val_passes=val_passes, held_out=held_out, seed=seed)
    check_least(values, dict(passes=1, val_passes=1, held_out=1, seed=0))


def is_complete(output: Path, manifest: dict[str, Any]) -> bool:
    """Return whether the files that the manifest counts are (still) there."""
    return (output / 'photos.npz').is_file() and all(
        (output / f'annotations/{kind}_{split}.json').is_file()
        and len(list((output / split).glob('*.bmp'))) == manifest['splits'][split]['images']
        for split in SPLITS
        for kind in ('groups', 'classes')
    )


def make_scenes(
    source: str | Path,
    output: str | Path,
    *,
    groups: str | Path | None = None,
    size: Sequence[int] = (128, 96),
    photos: Sequence[int] = (3, 6),
    passes: int = 2,
    val_passes: int = 3,
    held_out: int = 50,
    seed: int = 0,
    tiny: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Make the scenes, or reuse finished ones with the same options.

    Everything is written to ``<output>.partial`` and renamed at the end: an interrupted run
    leaves nothing that looks like a data set.

    Args:
        source: Folder of Tiny ImageNet in its official layout.
        output: Folder to create.
        groups: File of lines of a class and a group; None: the 50 classes of ``GROUPS``.
        size: Width and height of the scenes in pixels.
        photos: Least and largest number of photographs in a scene.
        passes: How often train uses each photograph, each time with other neighbours.
        val_passes: How often search and val do: the more, the less a result depends on which
            photographs happen to share a scene.
        held_out: Training photographs of each class that are kept for search.
        seed: Decides the split and every scene.
        tiny: Stop after the first 4 scenes of each split.
        force: Replace scenes that were made with other options.

    Returns:
        The manifest: ``format``, ``options``, and ``splits`` with the counts of images and
        annotations and the SHA-256 of both annotation files and of all pixels.

    Raises:
        ValueError: If an option or a line of the data set is out of its range.
        DatasetError: If ``output`` holds something that must not be replaced, or a file of the
            data set is missing.
    """
    source, output = Path(source), Path(output)
    check_options(
        size=size,
        photos=photos,
        passes=passes,
        val_passes=val_passes,
        held_out=held_out,
        seed=seed,
    )
    table = read_groups(None if groups is None else Path(groups))
    options = dict(
        groups=hashlib.sha256(json.dumps(table).encode()).hexdigest(),
        size=list(size),
        photos=list(photos),
        passes=passes,
        val_passes=val_passes,
        held_out=held_out,
        seed=seed,
        tiny=tiny,
    )

    def read() -> tuple[dict[str, str], dict[str, list[Photo]]]:
        names = read_names(source, table)
        return names, split_photos(read_photos(source, table), table, held_out=held_out, seed=seed)

    def write(
        folder: Path, found: tuple[Mapping[str, str], Mapping[str, Sequence[Photo]]]
    ) -> dict[str, Any]:
        names, splits = found
        (folder / 'annotations').mkdir()
        written = {}
        for split in SPLITS:
            scenes = compose_scenes(
                splits[split],
                size=tuple(size),
                photos_per_scene=tuple(photos),
                passes=passes if split == 'train' else val_passes,
                key=(seed, split),
            )
            scenes = (scene for _, scene in zip(range(TINY), scenes)) if tiny else scenes
            written[split] = write_split(
                folder, split, scenes, size=tuple(size), groups=table, names=names
            )
        write_photos(folder, splits, table, names)
        return dict(splits=written)

    return made(
        output,
        options,
        kind=KIND,
        format=FORMAT,
        is_complete=is_complete,
        force=force,
        read=read,
        write=write,
    )


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Compose detection scenes of the photographs of Tiny ImageNet.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('source', type=Path, help='folder of Tiny ImageNet: tiny-imagenet-200')
    parser.add_argument(
        '--output', type=Path, default=Path('data/photo_scenes'), help='folder to create'
    )
    parser.add_argument(
        '--groups', type=Path, help='lines of a class and a group; by default 50 classes in ten'
    )
    parser.add_argument(
        '--size', type=int, nargs=2, default=[128, 96], help='width and height in pixels'
    )
    parser.add_argument(
        '--photos', type=int, nargs=2, default=[3, 6], help='least and most photographs in a scene'
    )
    parser.add_argument(
        '--passes', type=int, default=2, help='how often train uses each photograph'
    )
    parser.add_argument(
        '--val-passes', type=int, default=3, help='how often search and val use each photograph'
    )
    parser.add_argument(
        '--held-out', type=int, default=50, help='training photographs a class for search'
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the split and the scenes')
    parser.add_argument(
        '--tiny', action='store_true', help=f'only the first {TINY} scenes of each split'
    )
    parser.add_argument(
        '--force', action='store_true', help='replace scenes made with other options'
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return run(make_scenes, parse_args(argv), counts='splits', objects='objects')


if __name__ == '__main__':
    sys.exit(main())
