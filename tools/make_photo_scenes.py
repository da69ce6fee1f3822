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
val the official validation photographs. Train uses each photograph once a pass, the others once.
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
import io
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from dataset_folder import (
    DatasetError,
    begin_folder,
    finish_folder,
    may_reuse,
    read_manifest,
    write_manifest,
)

KIND = 'data set of photo scenes'
FORMAT = 1
"""Version of the drawing: raised whenever the same options would draw other scenes."""
GROUPS = {
    'dog': ('n02106662', 'n02099712', 'n02099601', 'n02094433', 'n02085620'),
    'feline': ('n02124075', 'n02123045', 'n02125311', 'n02123394', 'n02129165'),
    'ungulate': ('n02437312', 'n02423022', 'n02395406', 'n02403003', 'n02415577'),
    'insect': ('n02279972', 'n02281406', 'n02233338', 'n02236044', 'n02165456'),
    'clothing': ('n02963159', 'n04254777', 'n03404251', 'n02669723', 'n03770439'),
    'motor_vehicle': ('n03796401', 'n03977966', 'n03670208', 'n04285008', 'n02814533'),
    'container': ('n02769748', 'n03983396', 'n02823428', 'n03393912', 'n02795169'),
    'structure': ('n04486054', 'n03160309', 'n02814860', 'n02927161', 'n04366367'),
    'produce': ('n07749582', 'n07753592', 'n07734744', 'n07747607', 'n07711569'),
    'equipment': ('n04540053', 'n02802426', 'n03085013', 'n03902125', 'n02988304'),
}
"""Classes by group: the default of ``--groups``."""
SPLITS = ('train', 'search', 'val')
PHOTO = 64  # pixels, the side of a photograph
MIN_CELL = 32  # pixels, the least side of a cell
MIN_SIDE = 8  # pixels, the least side of a visible box
LARGEST_BOX = 90  # per cent of a photograph or a cell
VISIBLE = 40  # per cent of a box that must be in its cell
CROPS = 20  # tries
TINY = 4  # scenes a split


class Draws:
    """Random integers that are the same for every version of Python.

    Args:
        *key: Values that decide the draws, e.g. a seed and a purpose.
    """

    def __init__(self, *key: Any) -> None:
        digest = hashlib.sha256(' '.join(map(str, key)).encode()).digest()
        # Python promises the sequence of random() for a seed, and of no other method.
        self._random = Random(int.from_bytes(digest, 'big')).random

    def below(self, stop: int) -> int:
        """Return an integer from 0 to ``stop - 1``."""
        return int(self._random() * stop)

    def between(self, low: int, high: int) -> int:
        """Return an integer from ``low`` to ``high``, both included."""
        return low + self.below(high - low + 1)

    def shuffled(self, values: Sequence[Any]) -> list[Any]:
        """Return the values in random order."""
        values = list(values)
        for last in range(len(values) - 1, 0, -1):
            other = self.below(last + 1)
            values[last], values[other] = values[other], values[last]
        return values

    def weighted(self, weights: Sequence[int]) -> int:
        """Return an index, drawn in proportion to its weight."""
        left = self.below(sum(weights))
        for index, weight in enumerate(weights):
            left -= weight
            if left < 0:
                return index
        raise AssertionError('weights are positive integers')


class Photo(NamedTuple):
    """A photograph: its file, SHA-256, class, and box (left, top, right, bottom; exclusive)."""

    path: Path
    digest: str
    wnid: str
    box: tuple[int, int, int, int]

    @property
    def may_be_placed(self) -> bool:
        """Whether the box leaves a margin."""
        left, top, right, bottom = self.box
        return 100 * (right - left) * (bottom - top) <= LARGEST_BOX * PHOTO * PHOTO


class Cell(NamedTuple):
    """A part of the canvas in pixels: left, top, width, height."""

    x: int
    y: int
    w: int
    h: int


class Placed(NamedTuple):
    """A photograph in its cell: side it is resized to, corner of the crop, visible box.

    The box (left, top, right, bottom) is in 1/64 pixels of the cell, and whole.
    """

    photo: Photo
    side: int
    corner: tuple[int, int]
    box: tuple[int, int, int, int]


def read_groups(path: Path | None) -> dict[str, str]:
    """Return the group of each class, by its WordNet identifier.

    Args:
        path: Lines of a class and a group, with a tab between; None: ``GROUPS``.

    Raises:
        DatasetError: If there is no such file.
        ValueError: If a line is another, or a class occurs twice.
    """
    if path is None:
        return {wnid: group for group, wnids in GROUPS.items() for wnid in wnids}
    groups: dict[str, str] = {}
    for number, fields in _lines(path):
        if len(fields) != 2:
            raise ValueError(f'{path}, line {number} must be a class, a tab and a group')
        wnid, group = fields
        if wnid in groups:
            raise ValueError(f'{path}, line {number}: the class {wnid} occurs twice')
        groups[wnid] = group
    if not groups:
        raise ValueError(f'{path} must name at least one class')
    return groups


def read_names(source: Path, groups: Mapping[str, str]) -> dict[str, str]:
    """Return the name of each class: the first of its words in ``words.txt``.

    Raises:
        DatasetError: If the file, or a class in it, is missing.
    """
    words = {fields[0]: fields[-1].split(',')[0] for _, fields in _lines(source / 'words.txt')}
    if missing := [wnid for wnid in groups if wnid not in words]:
        raise DatasetError(f'{source / "words.txt"} does not name the classes {missing[:8]}')
    return {wnid: words[wnid] for wnid in groups}


def read_photos(source: Path, groups: Mapping[str, str]) -> dict[str, list[Photo]]:
    """Return the photographs of the official splits, in the order of their digests.

    Files that occur twice are left out.

    Args:
        source: Folder of Tiny ImageNet, with ``train``, ``val`` and ``words.txt``.
        groups: Group of each class that is wanted.

    Raises:
        DatasetError: If a file is missing.
        ValueError: If a line of a list of boxes is wrong.
    """
    found = dict(train=[], val=[])
    for wnid in groups:
        folder = source / 'train' / wnid
        for where, fields in _lines(folder / f'{wnid}_boxes.txt'):
            place = f'{folder.name}_boxes.txt, line {where}'
            found['train'].append(_photo(folder / 'images', wnid, fields, 5, place))
    for where, fields in _lines(source / 'val/val_annotations.txt'):
        if len(fields) > 1 and fields[1] in groups:
            place = f'val_annotations.txt, line {where}'
            found['val'].append(_photo(source / 'val/images', fields[1], fields, 6, place))
    count = Counter(photo.digest for photos in found.values() for photo in photos)
    return {
        split: sorted(
            (photo for photo in photos if count[photo.digest] == 1),
            key=lambda photo: photo.digest,
        )
        for split, photos in found.items()
    }


def _photo(folder: Path, wnid: str, fields: Sequence[str], count: int, place: str) -> Photo:
    """Return the photograph of a line: file, class (in the list of val), four corners."""
    corners = fields[-4:]
    if len(fields) != count or not all(value.isdigit() for value in corners):
        raise ValueError(f'{place} must have {count} fields, the last four integers, got {fields}')
    left, top, right, bottom = map(int, corners)  # the last pixel is inside
    if not (left <= right < PHOTO and top <= bottom < PHOTO):
        raise ValueError(f'{place}: the box must lie in {PHOTO} x {PHOTO} pixels, got {corners}')
    path = folder / fields[0]
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DatasetError(f'{path} is missing, which {place} names') from None
    digest = hashlib.sha256(content).hexdigest()
    return Photo(path, digest, wnid, (left, top, right + 1, bottom + 1))


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield number and fields of each line of a list."""
    try:
        text = path.read_text(encoding='utf-8')
    except FileNotFoundError:
        raise DatasetError(
            f'{path} is missing: it belongs to Tiny ImageNet, '
            'http://cs231n.stanford.edu/tiny-imagenet-200.zip'
        ) from None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, line.split('\t')


def split_photos(
    photos: Mapping[str, list[Photo]], groups: Mapping[str, str], *, held_out: int, seed: int
) -> dict[str, list[Photo]]:
    """Return the photographs of each split, in the order of their digests.

    Args:
        photos: Photographs of the official splits.
        groups: Group of each class.
        held_out: Training photographs of each class that are drawn for search.
        seed: Decides the draw.

    Raises:
        ValueError: If a class has not more than ``held_out`` training photographs.
    """
    search: set[Photo] = set()
    for wnid in groups:
        own = [photo for photo in photos['train'] if photo.wnid == wnid]
        if len(own) <= held_out:
            raise ValueError(
                f'held_out must be below the training photographs of each class, {len(own)} in '
                f'{wnid}, got {held_out}'
            )
        search.update(Draws(seed, 'search', wnid).shuffled(own)[:held_out])
    return dict(
        train=[photo for photo in photos['train'] if photo not in search],
        search=[photo for photo in photos['train'] if photo in search],
        val=photos['val'],
    )


def cut_canvas(draws: Draws, width: int, height: int, count: int) -> list[Cell]:
    """Return the cells of a canvas: it, or the largest part, is cut in two until they are enough.

    Parts too small for two cells are not cut, so there may be fewer than ``count``.
    """
    cells = [Cell(0, 0, width, height)]
    while len(cells) < count:
        weights = [
            (cell.w * cell.h) ** 2 if max(cell.w, cell.h) >= 2 * MIN_CELL else 0 for cell in cells
        ]
        if not any(weights):
            break
        cell = cells.pop(draws.weighted(weights))
        across = cell.w >= cell.h
        if min(cell.w, cell.h) >= 2 * MIN_CELL and draws.below(10) == 0:
            across = not across
        length = cell.w if across else cell.h
        low = max(MIN_CELL, length * 38 // 100)
        at = draws.between(low, max(low, length - low))
        if across:
            cells += [cell._replace(w=at), cell._replace(x=cell.x + at, w=cell.w - at)]
        else:
            cells += [cell._replace(h=at), cell._replace(y=cell.y + at, h=cell.h - at)]
    return cells


def place_photo(draws: Draws, photo: Photo, cell: Cell) -> Placed | None:
    """Return a crop of a photograph that fills a cell and shows its object; None if none is found.

    The photograph is resized to the cell's longer side or up to three tenths more.
    """
    longer = max(cell.w, cell.h)
    for _ in range(CROPS):
        side = draws.between(longer, longer * 13 // 10)
        corner = draws.between(0, side - cell.w), draws.between(0, side - cell.h)
        # In units of 1 / PHOTO pixels, so that nothing is rounded.
        whole = [value * side - PHOTO * corner[i % 2] for i, value in enumerate(photo.box)]
        size = PHOTO * cell.w, PHOTO * cell.h
        box = tuple(min(max(value, 0), size[i % 2]) for i, value in enumerate(whole))
        width, height = box[2] - box[0], box[3] - box[1]
        if min(width, height) < MIN_SIDE * PHOTO:
            continue
        area, full = width * height, (whole[2] - whole[0]) * (whole[3] - whole[1])
        if 100 * area >= VISIBLE * full and 100 * area <= LARGEST_BOX * size[0] * size[1]:
            return Placed(photo, side, corner, box)
    return None


def compose_scenes(
    photos: Sequence[Photo],
    *,
    size: tuple[int, int],
    photos_per_scene: tuple[int, int],
    passes: int,
    key: tuple[Any, ...],
) -> Iterator[list[tuple[Cell, Placed]]]:
    """Yield the cells of each scene with what is in them, until a pass has too few photographs.

    A photograph for which no crop is found is not used in that pass.
    """
    usable = [photo for photo in photos if photo.may_be_placed]
    for number in range(passes):
        draws = Draws(*key, number)
        queue = draws.shuffled(usable)
        while True:
            scene = []
            for cell in cut_canvas(draws, *size, draws.between(*photos_per_scene)):
                placed = None
                while placed is None and queue:
                    placed = place_photo(draws, queue.pop(), cell)
                if placed is None:
                    break
                scene.append((cell, placed))
            else:
                yield scene
                continue
            break


def draw_scene(scene: Sequence[tuple[Cell, Placed]], size: tuple[int, int]) -> Image.Image:
    """Return the picture of a scene, RGB."""
    canvas = Image.new('RGB', size)
    for cell, placed in scene:
        (left, top), side = placed.corner, placed.side
        picture = _open(placed.photo).resize((side, side), Image.Resampling.BICUBIC)
        canvas.paste(picture.crop((left, top, left + cell.w, top + cell.h)), (cell.x, cell.y))
    return canvas


def _open(photo: Photo) -> Image.Image:
    with Image.open(io.BytesIO(photo.path.read_bytes())) as image:
        if image.size != (PHOTO, PHOTO):
            raise ValueError(f'{photo.path} must be {PHOTO} x {PHOTO} pixels, got {image.size}')
        return image.convert('RGB')


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
    """Write the photographs of train and, as ``val``, of search: to pre-train and to look."""
    wnids = list(groups)
    arrays: dict[str, np.ndarray] = {}
    for name, split in (('train', 'train'), ('val', 'search')):
        photos = splits[split]
        arrays[f'{name}_images'] = np.stack([np.asarray(_open(photo)) for photo in photos])
        arrays[f'{name}_labels'] = np.array([wnids.index(photo.wnid) for photo in photos])
    np.savez(root / 'photos.npz', **arrays, classes=np.array([names[wnid] for wnid in wnids]))


def check_options(
    *, size: Sequence[int], photos: Sequence[int], passes: int, held_out: int, seed: int
) -> None:
    """Raise ``ValueError`` for an option out of its range."""
    if min(size) < 2 * MIN_CELL:
        raise ValueError(f'size must be at least {2 * MIN_CELL} x {2 * MIN_CELL}, got {size}')
    most = (size[0] // MIN_CELL) * (size[1] // MIN_CELL)
    if not 1 < photos[0] <= photos[1] <= most:
        raise ValueError(
            f'photos must be two numbers from 2 to {most}, the least first, got {photos}'
        )
    for name, value, least in (('passes', passes, 1), ('held_out', held_out, 1), ('seed', seed, 0)):
        if value < least:
            raise ValueError(f'{name} must be at least {least}, got {value}')


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
    check_options(size=size, photos=photos, passes=passes, held_out=held_out, seed=seed)
    table = read_groups(None if groups is None else Path(groups))
    options = dict(
        groups=hashlib.sha256(json.dumps(table).encode()).hexdigest(),
        size=list(size),
        photos=list(photos),
        passes=passes,
        held_out=held_out,
        seed=seed,
        tiny=tiny,
    )
    reuse = dict(kind=KIND, format=FORMAT, is_complete=is_complete, force=force)
    if may_reuse(output, options, **reuse):
        return read_manifest(output)

    names = read_names(source, table)
    splits = split_photos(read_photos(source, table), table, held_out=held_out, seed=seed)
    partial = begin_folder(output)
    (partial / 'annotations').mkdir()
    written = {}
    for split in SPLITS:
        scenes = compose_scenes(
            splits[split],
            size=tuple(size),
            photos_per_scene=tuple(photos),
            passes=passes if split == 'train' else 1,
            key=(seed, split),
        )
        scenes = (scene for _, scene in zip(range(TINY), scenes)) if tiny else scenes
        written[split] = write_split(
            partial, split, scenes, size=tuple(size), groups=table, names=names
        )
    write_photos(partial, splits, table, names)
    manifest = dict(format=FORMAT, options=options, splits=written)
    write_manifest(partial, manifest)
    finish_folder(partial, output)
    return manifest


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
    args = parse_args(argv)
    try:
        manifest = make_scenes(**vars(args))
    except (DatasetError, ValueError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    listed = ', '.join(
        f'{split} {found["images"]} scenes with {found["annotations"]} objects'
        for split, found in manifest['splits'].items()
    )
    print(f'{args.output}: {listed}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
