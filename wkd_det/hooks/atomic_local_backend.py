"""Files that are there completely or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend


@register_backend('atomic_local')
class AtomicLocalBackend(LocalBackend):
    """mmengine's local backend, except that a write never leaves half a file.

    The bytes go to ``.<name>.partial`` beside the file, which then takes its name. What stood
    there before stays readable until that moment; a partial file that a kill has left is
    overwritten by the next write of the same name.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        path = Path(filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f'.{path.name}.partial')
        with partial.open('wb') as file:
            file.write(obj)
            file.flush()
            os.fsync(file.fileno())  # the name must not reach the disk before the bytes
        os.replace(partial, path)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        self.put(obj.encode(encoding), filepath)
