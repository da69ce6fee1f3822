"""Writing files that are there completely or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: str | os.PathLike, content: bytes) -> None:
    """Write a file that is never seen half written.

    The bytes go to ``.<name>.partial`` beside it, which then takes the name. What stood there
    before stays readable until that moment, and stays for good if the write fails.

    Args:
        path: The file; its folder is made if it is missing.
        content: All of it.

    Raises:
        OSError: If the disk is full or the place cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'.{path.name}.partial')
    try:
        with partial.open('wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # the name must not reach the disk before the bytes
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    os.replace(partial, path)
