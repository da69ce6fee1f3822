"""Image files in a folder."""

from __future__ import annotations

from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS


def image_files(folder: str | Path) -> list[Path]:
    """Return the images below a folder, at any depth, in the order of their paths.

    Hidden files and folders are left out.

    Raises:
        FileNotFoundError: If there is none.
    """
    root = Path(folder).expanduser()
    found = sorted(
        path
        for path in root.rglob('*')
        if path.suffix.lower() in IMG_EXTENSIONS
        and not any(part.startswith('.') for part in path.relative_to(root).parts)
    )
    if not found:
        raise FileNotFoundError(f'no images in {folder} (from {Path.cwd()})')
    return found
