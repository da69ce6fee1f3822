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
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dataset_folder import check_least, made, run
from mini_dataset.digits import SPLITS, Source, load_sources
from mini_dataset.files import is_complete, write_split
from mini_dataset.scenes import MIN_SIZE

KIND = 'mini data set'
FORMAT = 2
"""Version of the drawing: raised whenever the same options would draw other scenes."""


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
    check_least(options, dict(train=1, val=1, size=MIN_SIZE, seed=0))

    def write(folder: Path, sources: Mapping[str, Source]) -> dict[str, Any]:
        (folder / 'annotations').mkdir()
        counts = {
            split: write_split(
                folder, sources[split], split=split, count=options[split], size=size, seed=seed
            )
            for split in SPLITS
        }
        return dict(counts=counts)

    return made(
        output,
        options,
        kind=KIND,
        format=FORMAT,
        is_complete=is_complete,
        force=force,
        read=lambda: load_sources(seed=seed),
        write=write,
    )


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
    return run(make_dataset, parse_args(argv), counts='counts', objects='digits')


if __name__ == '__main__':
    sys.exit(main())
