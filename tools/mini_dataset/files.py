"""Files of the mini data set: pictures, and annotations in COCO format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from mini_dataset.digits import CLASSES, SPLITS, Source
from mini_dataset.scenes import draw_scenes


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


def is_complete(output: Path, manifest: dict[str, Any]) -> bool:
    """Return whether the files that the manifest counts are (still) there."""
    return all(
        (output / 'annotations' / f'instances_{split}.json').is_file()
        and len(list((output / split).glob('*.png'))) == manifest['counts'][split]['images']
        for split in SPLITS
    )
