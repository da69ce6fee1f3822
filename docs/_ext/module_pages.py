"""One page of the reference per module: written from the files, so a new module needs no page."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from sphinx.application import Sphinx

HEADER = '.. Written by docs/_ext/module_pages.py.\n\n'


def modules_of(package: Path) -> list[Path]:
    """Modules and packages directly below a package, without the private ones."""
    found = [path for path in package.glob('*.py') if not path.name.startswith('_')]
    found += [path.parent for path in package.glob('*/__init__.py')]
    return sorted(found, key=lambda path: path.stem)


def summary(path: Path) -> str:
    """First line of the docstring of a module or a package."""
    path = path / '__init__.py' if path.is_dir() else path
    return (ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or '').split('\n')[0]


def pages(path: Path, name: str) -> Iterator[tuple[str, str]]:
    """Name and text of the page of a module, and of all below it."""
    title = name.partition('.')[2] or name
    text = f'{HEADER}{title}\n{"=" * len(title)}\n\n'
    if path.is_dir():
        below = modules_of(path)
        rows = '\n'.join(
            f'   * - :doc:`{each.stem} </reference/generated/{name}.{each.stem}>`\n'
            f'     - {summary(each)}'
            for each in below
        )
        entries = '\n'.join(f'   {name}.{each.stem}' for each in below)
        text += f'.. automodule:: {name}\n   :no-members:\n\n'
        text += f'.. list-table::\n   :widths: 25 75\n\n{rows}\n\n'
        text += f'.. toctree::\n   :hidden:\n\n{entries}\n'
        for each in below:
            yield from pages(each, f'{name}.{each.stem}')
    else:
        text += f'.. automodule:: {name}\n'
        text += '' if is_face(path) else '   :members:\n   :show-inheritance:\n'
    if is_face(path):
        text += f'\n{lent(name)}'
    yield name, text


def is_face(path: Path) -> bool:
    """Whether a module or package lends names that other modules define."""
    path = path / '__init__.py' if path.is_dir() else path
    return '__all__' in path.read_text(encoding='utf-8')


def lent(name: str) -> str:
    """The names that a package lends, with the first line of their docstrings."""
    face = import_module(name)
    rows = []
    for each in face.__all__:
        found = getattr(face, each)
        if isinstance(found, type) or callable(found):
            role = 'class' if isinstance(found, type) else 'func'
            first = (found.__doc__ or '').strip().split('\n')[0]
            rows.append(f'   * - :{role}:`{each} <{name}.{each}>`\n     - {first}\n')
        else:
            rows.append(f'   * - ``{each}``\n     - a constant\n')
    heading = f'From ``{name}``'
    return (
        f'{heading}\n{"-" * len(heading)}\n\n.. list-table::\n   :widths: 35 65\n\n{"".join(rows)}'
    )


def write(app: Sphinx) -> None:
    """Write all pages, and remove those of modules that are gone."""
    folder = Path(app.srcdir) / 'reference/generated'
    wanted = {
        f'{name}.rst': text for name, text in pages(Path(app.srcdir).parent / 'wkd_det', 'wkd_det')
    }
    if folder.is_dir() and {path.name for path in folder.iterdir()} - set(wanted):
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    for name, text in wanted.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding='utf-8') != text:
            path.write_text(text, encoding='utf-8')


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages before documents are read."""
    app.connect('builder-inited', write)
    return dict(parallel_read_safe=True, parallel_write_safe=True)
