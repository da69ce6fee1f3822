"""Files of photo scenes: pictures, annotations in COCO format, photographs as arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from photo_scenes.layout import Cell, Placed
from photo_scenes.photographs import PHOTO, Photo, open_photo


def draw_scene(scene: Sequence[tuple[Cell, Placed]], size: tuple[int, int]) -> Image.Image:
    """Return the picture of a scene, RGB."""
    canvas = Image.new('RGB', size)
    for cell, placed in scene:
        (left, top), side = placed.corner, placed.side
        picture = open_photo(placed.photo).resize((side, side), Image.Resampling.BICUBIC)
        canvas.paste(picture.crop((left, top, left + cell.w, top + cell.h)), (cell.x, cell.y))
    return canvas


def write_split(
    root: Path,
    split: str,
    scenes: Iterator[list[tuple[Cell, Placed]]],
    *,
    size: tuple[int, int],
    groups: Mapping[str, str],
    names: Mapping[str, str],
) -> dict[str, Any]:
    """Write the scenes of a split with both annotation files; return counts and digests."""
    (root / split).mkdir()
    images, objects = [], []
    pixels = hashlib.sha256()
    for number, scene in enumerate(scenes, start=1):
        name = f'{number:06d}.bmp'
        picture = draw_scene(scene, size)
        pixels.update(picture.tobytes())
        picture.save(root / split / name)
        images.append(dict(id=number, file_name=name, width=size[0], height=size[1]))
        for cell, placed in scene:
            left, top, right, bottom = placed.box
            corner = left + PHOTO * cell.x, top + PHOTO * cell.y
            box = [value / PHOTO for value in (*corner, right - left, bottom - top)]
            objects.append((number, box, placed.photo))
    kinds = list(dict.fromkeys(groups.values()))
    wnids = list(groups)
    categories = dict(
        groups=[dict(id=i, name=kind) for i, kind in enumerate(kinds, start=1)],
        classes=[
            dict(id=i, name=names[wnid], supercategory=groups[wnid], wnid=wnid)
            for i, wnid in enumerate(wnids, start=1)
        ],
    )
    result: dict[str, Any] = dict(images=len(images), annotations=len(objects))
    for kind, listed in categories.items():
        annotations = []
        for index, (image, box, photo) in enumerate(objects, start=1):
            own = wnids.index(photo.wnid) if kind == 'classes' else kinds.index(groups[photo.wnid])
            annotations.append(
                dict(
                    id=index,
                    image_id=image,
                    category_id=own + 1,
                    bbox=box,
                    area=box[2] * box[3],
                    iscrowd=0,
                    photo=photo.digest[:12],
                )
            )
        text = json.dumps(dict(images=images, annotations=annotations, categories=listed)) + '\n'
        (root / f'annotations/{kind}_{split}.json').write_text(text, encoding='utf-8')
        result[kind] = hashlib.sha256(text.encode()).hexdigest()
    result['pixels'] = pixels.hexdigest()
    return result


def write_photos(
    root: Path,
    splits: Mapping[str, Sequence[Photo]],
    groups: Mapping[str, str],
    names: Mapping[str, str],
) -> None:
    """Write the photographs of train, and those of search as ``val``, to ``photos.npz``."""
    wnids = list(groups)
    arrays: dict[str, np.ndarray] = {}
    for name, split in (('train', 'train'), ('val', 'search')):
        photos = splits[split]
        arrays[f'{name}_images'] = np.stack([np.asarray(open_photo(photo)) for photo in photos])
        arrays[f'{name}_labels'] = np.array([wnids.index(photo.wnid) for photo in photos])
    np.savez(root / 'photos.npz', **arrays, classes=np.array([names[wnid] for wnid in wnids]))
