"""A few pictures in the official layout of Tiny ImageNet, made up: for tests of photo scenes."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

GROUPS = {'n01': 'dog', 'n02': 'dog', 'n03': 'feline'}
BOX = (16, 20, 47, 51)
"""Corners of every object as the lists have them: the last pixel is inside."""


def jpeg(number: int, side: int = 64) -> bytes:
    """A picture like no other: a green square on grey noise."""
    pixels = np.random.default_rng(number).integers(0, 120, (side, side, 1), np.uint8)
    pixels = np.repeat(pixels, 3, axis=2)
    left, top, right, bottom = BOX
    pixels[top : bottom + 1, left : right + 1] = (0, 255, 0)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'JPEG', quality=95)
    return file.getvalue()


def write_layout(root: Path, *, train: int = 24, val: int = 14, first: int = 0) -> Path:
    """Pictures and lists of three classes; files are numbered from ``first``.

    Beside the folder of Tiny ImageNet, which is returned, ``groups.txt`` has the groups.
    """
    source = root / 'tiny-imagenet-200'
    (source / 'val/images').mkdir(parents=True)
    numbers = iter(range(1000))
    validation = []
    for wnid in GROUPS:
        folder = source / f'train/{wnid}'
        (folder / 'images').mkdir(parents=True)
        lines = []
        for index in range(first, first + train):
            name = f'{wnid}_{index}.JPEG'
            (folder / 'images' / name).write_bytes(jpeg(next(numbers)))
            lines.append('\t'.join([name, *map(str, BOX)]))
        (folder / f'{wnid}_boxes.txt').write_text('\n'.join(lines) + '\n')
        for _ in range(val):
            name = f'val_{first + len(validation)}.JPEG'
            (source / 'val/images' / name).write_bytes(jpeg(next(numbers)))
            validation.append('\t'.join([name, wnid, *map(str, BOX)]))
    (source / 'val/val_annotations.txt').write_text('\n'.join(validation) + '\n')
    (source / 'words.txt').write_text(
        ''.join(f'{wnid}\tname of {wnid}, other name\n' for wnid in [*GROUPS, 'n99'])
    )
    (root / 'groups.txt').write_text(''.join(f'{a}\t{b}\n' for a, b in GROUPS.items()))
    return source
