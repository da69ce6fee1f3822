"""Layout of scenes: cells of a canvas, and the part of a photograph that fills each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from photo_scenes.draws import Draws
from photo_scenes.photographs import LARGEST_BOX, PHOTO, Photo

MIN_CELL = 32
"""Least side of a cell in pixels."""
MIN_SIDE = 8
"""Least side of a visible box in pixels."""
VISIBLE = 40
"""Per cent of a box that must lie in its cell."""
CROPS = 20
"""Crops that are tried for a photograph and a cell."""


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
