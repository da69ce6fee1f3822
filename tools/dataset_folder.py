"""Folder of a data set that a tool makes: whole or absent, and reused for the same options alone.

The manifest ``dataset.json`` holds at least ``format`` (version of the drawing) and ``options``. It
is written last, so a folder without one is no finished data set.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MANIFEST = 'dataset.json'


class DatasetError(Exception):
    """The data set cannot be made: something is missing, or in the way."""


def read_manifest(output: Path) -> dict[str, Any] | None:
    """Return the manifest of the data set at ``output``; None if no finished one is there."""
    try:
        manifest = json.loads((output / MANIFEST).read_text(encoding='utf-8'))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return manifest if isinstance(manifest, dict) and 'options' in manifest else None


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest of a data set whose other files are all there."""
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + '\n', encoding='utf-8')


def may_reuse(
    output: Path,
    options: Mapping[str, Any],
    *,
    kind: str,
    format: int,
    is_complete: Callable[[Path, dict[str, Any]], bool],
    force: bool,
) -> bool:
    """Return whether ``output`` already holds the data set of these options.

    Args:
        output: Folder of the data set.
        options: Options that decide the data set; JSON values.
        kind: Noun for messages, e.g. ``'mini data set'``.
        format: Version of the drawing.
        is_complete: Function of the folder and its manifest: whether the files are there.
        force: Whether a data set with other options may be replaced.

    Raises:
        DatasetError: If something is there that must not be replaced.
    """
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


def begin_folder(output: Path) -> Path:
    """Return ``<output>.partial``, made anew, for the files of a data set in the making."""
    partial = output.with_name(output.name + '.partial')
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def finish_folder(partial: Path, output: Path) -> None:
    """Rename ``partial`` to ``output``, in the place of what is there."""
    if not output.exists():
        partial.rename(output)
        return
    old = output.with_name(output.name + '.old')
    shutil.rmtree(old, ignore_errors=True)
    output.rename(old)
    partial.rename(output)
    shutil.rmtree(old)
