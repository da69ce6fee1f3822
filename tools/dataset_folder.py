"""Folder of a data set that a tool makes: whole or absent, and reused for the same options alone.

The manifest ``dataset.json`` holds at least ``format`` (version of the drawing) and ``options``. It
is written last, so a folder without one is no finished data set.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

MANIFEST = 'dataset.json'
_Source = TypeVar('_Source')


class DatasetError(Exception):
    """The data set cannot be made: something is missing, or in the way."""


def read_manifest(output: Path) -> dict[str, Any] | None:
    """Return the manifest of the data set at ``output``; None if no finished one is there."""
    try:
        manifest = json.loads((output / MANIFEST).read_text(encoding='utf-8'))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return manifest if isinstance(manifest, dict) and 'options' in manifest else None


def made(
    output: Path,
    options: Mapping[str, Any],
    *,
    kind: str,
    format: int,
    is_complete: Callable[[Path, dict[str, Any]], bool],
    force: bool,
    read: Callable[[], _Source],
    write: Callable[[Path, _Source], Mapping[str, Any]],
) -> dict[str, Any]:
    """Make a data set, or reuse a finished one with the same options; return its manifest.

    Everything is written to ``<output>.partial`` and renamed at the end: an interrupted run
    leaves nothing that looks like a data set.

    Args:
        output: Folder of the data set.
        options: Options that decide the data set; JSON values.
        kind: Noun for messages, e.g. ``'mini data set'``.
        format: Version of the drawing.
        is_complete: Function of the folder and its manifest: whether the files are there.
        force: Whether a data set with other options may be replaced.
        read: Returns what the data set is made from; nothing is written if it fails.
        write: Function of a fresh folder and of what was read: writes the files there and returns
            what the manifest holds in addition to ``format`` and ``options``.

    Raises:
        DatasetError: If something is there that must not be replaced.
    """
    if _may_reuse(output, options, kind, format, is_complete, force):
        return read_manifest(output)
    source = read()
    partial = _begin_folder(output)
    manifest = dict(format=format, options=options, **write(partial, source))
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=2) + '\n', encoding='utf-8')
    _finish_folder(partial, output)
    return manifest


def run(
    make: Callable[..., Mapping[str, Any]], args: argparse.Namespace, *, counts: str, objects: str
) -> int:
    """Make a data set and print its counts, or one sentence on a mistake; return the exit code.

    Args:
        make: Function of the options that returns the manifest.
        args: Options, the folder ``output`` among them.
        counts: Key of the manifest that holds the numbers of images and annotations per split.
        objects: Noun for annotations, e.g. ``'digits'``.
    """
    try:
        manifest = make(**vars(args))
    except (DatasetError, ValueError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    listed = ', '.join(
        f'{split} {found["images"]} scenes with {found["annotations"]} {objects}'
        for split, found in manifest[counts].items()
    )
    print(f'{args.output}: {listed}')
    return 0


def check_least(values: Mapping[str, int], least: Mapping[str, int]) -> None:
    """Raise ``ValueError`` for the first value that is below its least one, by its name."""
    for name, low in least.items():
        if values[name] < low:
            raise ValueError(f'{name} must be at least {low}, got {values[name]}')


def _may_reuse(
    output: Path,
    options: Mapping[str, Any],
    kind: str,
    format: int,
    is_complete: Callable[[Path, dict[str, Any]], bool],
    force: bool,
) -> bool:
    manifest = read_manifest(output)
    if manifest is None:
        if output.is_dir() and not any(output.iterdir()):
            return False
        if output.exists() or output.is_symlink():
            # Not even with force: this tool did not make it.
            raise DatasetError(
                f'{output} exists and is not a {kind} (no {MANIFEST}); '
                'name another output or move it away'
            )
        return False
    if force:
        return False
    found = dict(manifest['options'], format=manifest.get('format'))
    wanted = dict(options, format=format)
    differing = [name for name in wanted if found.get(name) != wanted[name]]
    if differing:
        listed = ', '.join(f'{name} {found.get(name)}, not {wanted[name]}' for name in differing)
        raise DatasetError(
            f'{output} holds a {kind} made with other options ({listed}); add --force to replace it'
        )
    if not is_complete(output, manifest):
        raise DatasetError(
            f'{output} holds a {kind} with files missing; add --force to make it again'
        )
    return True


def _begin_folder(output: Path) -> Path:
    """Return ``<output>.partial``, made anew, for the files of a data set in the making."""
    partial = output.with_name(output.name + '.partial')
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def _finish_folder(partial: Path, output: Path) -> None:
    """Rename ``partial`` to ``output``, in the place of what is there."""
    if not output.exists():
        partial.rename(output)
        return
    old = output.with_name(output.name + '.old')
    shutil.rmtree(old, ignore_errors=True)
    output.rename(old)
    partial.rename(output)
    shutil.rmtree(old)
