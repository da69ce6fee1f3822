"""Files that are there completely or not at all."""

from __future__ import annotations

from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from wkd_det.checkpoint import write_whole


@register_backend('atomic_local')
class AtomicLocalBackend(LocalBackend):
    """mmengine's local backend, except that a write never leaves half a file.

    The bytes go to ``.<name>.partial`` beside the file, which then takes its name. What stood
    there before stays readable until that moment; a partial file that a kill has left is
    overwritten by the next write of the same name.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        write_whole(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        self.put(obj.encode(encoding), filepath)
