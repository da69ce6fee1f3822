"""Shares of a study: which runs belong to which process, and that no two do the same at once."""

from __future__ import annotations

import fcntl
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


class LockedError(Exception):
    """Another process on this file system is at work on the same run."""


@dataclass(frozen=True)
class Shard:
    """One of several equal shares of all runs of a study.

    A run belongs to a shard by the hash of its name alone: processes on different machines agree
    without a word, and the shards together hold every run once.
    """

    index: int
    """From 1 to ``count``."""
    count: int

    def owner(self, name: str) -> int:
        """Return the index of the shard to which a run belongs."""
        digest = hashlib.sha256(name.encode()).digest()
        return int.from_bytes(digest[:8], 'big') % self.count + 1

    def owns(self, name: str) -> bool:
        """Whether a run belongs to this shard."""
        return self.owner(name) == self.index


WHOLE = Shard(1, 1)
"""All runs."""


def read_shard(text: str) -> Shard:
    """Return the shard that a command names.

    Raises:
        ValueError: If the text is not ``I/N`` with ``1 <= I <= N``.
    """
    match = re.fullmatch(r'(\d+)/(\d+)', text)
    index, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= index <= count:
        raise ValueError(f'a shard must be I/N with 1 <= I <= N, got {text!r}')
    return Shard(index, count)


@contextmanager
def locked(path: Path, *, with_its_folder: bool = False) -> Iterator[int]:
    """Hold the lock that belongs to a file: ``.<name>.lock`` next to it, which goes when it comes.

    A process that inherits the descriptor keeps the lock, so what a killed program has left
    behind is not started a second time.

    Args:
        path: The file.
        with_its_folder: Whether the folder of the file is still to be made, by a program that may
            refuse one that is there: the lock is ``.<folder>.<name>.lock`` next to that folder.

    Raises:
        LockedError: If another process holds it.
    """
    folder = path.parent
    lock = folder / f'.{path.name}.lock'
    if with_its_folder:
        lock = folder.parent / f'.{folder.name}.{path.name}.lock'
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open('w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(f'another process is at work on {path}') from None
        yield file.fileno()
        if path.exists():  # whoever takes the lock from now on finds the file
            lock.unlink(missing_ok=True)
