"""Image files in a folder."""

from __future__ import annotations

import os
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS


def image_files(folder: str | Path) -> list[Path]:
    """Return the images below a folder, at any depth, in the order of their paths.

    Hidden files and folders are left out. Links to folders are followed; a folder that several
    lead to counts once.

    Raises:
        FileNotFoundError: If there is none.
    """
    root = Path(folder).expanduser()
    found: list[Path] = []
    seen = set()
    for place, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if name[0] != '.')
        found += (Path(place, name) for name in files if _is_shown_image(name))
    if not found:
        raise FileNotFoundError(f'no images in {folder} (from {Path.cwd()})')
    return sorted(found)


def _is_shown_image(name: str) -> bool:
    return name[0] != '.' and os.path.splitext(name)[1].lower() in IMG_EXTENSIONS
