"""Mistakes of users in one sentence: what this package refuses, however deep it was raised."""

from __future__ import annotations

from pathlib import Path

_OURS = str(Path(__file__).parents[1])


def ours_among(error: BaseException | None) -> BaseException | None:
    """Return the exception that wkd_det raised: this one, or one that it wraps; else None."""
    while error is not None:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        if trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OURS):
            return error
        error = error.__cause__ or error.__context__
    return None


def sentence_of(error: BaseException) -> str:
    """Return what went wrong in one sentence.

    That of this package where it has refused something, however many others have wrapped it;
    else the first line of the message, with the type of the error.
    """
    ours = ours_among(error)
    if ours is not None and ours.args:
        return ' '.join(str(ours.args[0]).split())
    if isinstance(error, FileNotFoundError) and error.filename:
        return f'no such file: {error.filename}'
    if isinstance(error, OSError):
        return ' '.join(str(error).split())
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f'{type(error).__name__}: {lines[0] if lines else "no message"}'
