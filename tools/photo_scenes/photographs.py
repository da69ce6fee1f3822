"""Photographs of Tiny ImageNet: read from its official layout, grouped, and split."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from dataset_folder import DatasetError
from photo_scenes.draws import Draws

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
PHOTO = 64
"""Side of a photograph in pixels."""
LARGEST_BOX = 90
"""Per cent of a photograph, or of a cell, that a box may cover."""


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


def open_photo(photo: Photo) -> Image.Image:
    """Return a photograph, RGB.

    Raises:
        ValueError: If it has another size.
    """
    with Image.open(io.BytesIO(photo.path.read_bytes())) as image:
        if image.size != (PHOTO, PHOTO):
            raise ValueError(f'{photo.path} must be {PHOTO} x {PHOTO} pixels, got {image.size}')
        return image.convert('RGB')
