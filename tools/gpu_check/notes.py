"""Results that are on disk as soon as they are there, and the time that is left to find more."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from wkd_det.runtime.files import write_json


class Notes:
    """Nested results of a part, written to its file after each addition.

    Args:
        path: The file; None to keep them in memory alone.
        seconds: Time that the part has.

    Attributes:
        found: The results so far.
    """

    def __init__(self, path: Path | None = None, seconds: float = 1e9) -> None:
        self.path = path
        self.found: dict[str, Any] = {}
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until the end of the part's time; negative after it."""
        return self._end - time.monotonic()

    def add(self, *place: str, **values: Any) -> None:
        """Put values at a place, a path of keys, and write the file."""
        spot = self.found
        for key in place:
            spot = spot.setdefault(key, {})
        spot.update(values)
        if self.path is not None:
            write_json(self.path, self.found)

    @contextmanager
    def trying(self, *place: str) -> Iterator[None]:
        """Note an exception as the result ``error`` of a place, and go on after the block."""
        try:
            yield
        except NoTimeLeftError as error:
            self.add(*place, error=str(error))
        except Exception as error:  # whatever it is, the report names it
            traceback.print_exc(file=sys.stderr)
            self.add(*place, error=_sentence(error))
            if isinstance(error, torch.cuda.OutOfMemoryError):
                torch.cuda.empty_cache()

    def check(self, seconds: float = 0.0) -> None:
        """Raise if less than some seconds are left.

        Raises:
            NoTimeLeftError: For :meth:`trying`, which notes that something was left out.
        """
        if self.left < seconds:
            raise NoTimeLeftError('left out: no time was left')


class NoTimeLeftError(RuntimeError):
    """A measurement was left out because the time of its part was over."""


def _sentence(error: Exception) -> str:
    text = ' '.join(str(error).split())[:300]
    return f'{type(error).__name__}: {text}' if text else type(error).__name__
