"""Dependencies point one way, as the design says: read from the imports of every module."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / 'wkd_det'
MODULES = sorted(path for path in PACKAGE.rglob('*.py') if '__pycache__' not in path.parts)

# Layer: other layers of wkd_det that it may import. A new folder needs a line here.
ALLOWED = {
    'functional': set(),
    'checkpoint': set(),
    'connectors': {'functional'},
    'losses': {'functional'},
    'interrelation': {'functional', 'checkpoint'},
    'visualization': {'functional', 'interrelation'},
    'distillation': {'checkpoint', 'losses', 'connectors', 'functional', 'interrelation'},
    'hooks': {'checkpoint', 'losses', 'functional', 'interrelation', 'distillation'},
    'detection': {
        'functional',
        'checkpoint',
        'losses',
        'connectors',
        'interrelation',
        'distillation',
        'hooks',
        'visualization',
    },
    'classification': {
        'functional',
        'checkpoint',
        'losses',
        'connectors',
        'interrelation',
        'distillation',
        'hooks',
        'visualization',
    },
}
ANYTHING = {'testing', '__init__.py', 'version.py'}


def layer_of(path):
    return path.relative_to(PACKAGE).parts[0]


def imports_of(path):
    """Absolute names of all imported modules, also of imports inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path} has a relative import'
            names.add(node.module)
            if node.module == 'wkd_det':  # from wkd_det import losses
                names.update(f'wkd_det.{alias.name}' for alias in node.names)
    return names


def layers_used(path):
    names = (name.split('.') for name in imports_of(path))
    return {parts[1] if len(parts) > 1 else '' for parts in names if parts[0] == 'wkd_det'}


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


def test_the_reader_of_imports_sees_them(tmp_path):
    path = tmp_path / 'module.py'
    path.write_text(
        'import os.path, wkd_det.losses\n'
        'from wkd_det import detection\n'
        'def function():\n    from wkd_det.losses.wkd_logit import wkd_logit_loss\n'
    )
    assert {'os.path', 'wkd_det.losses', 'wkd_det.detection'} <= imports_of(path)
    assert layers_used(path) >= {'losses', 'detection', 'functional'}


def test_every_folder_has_its_place():
    folders = {path.parent.relative_to(PACKAGE).parts[0] for path in PACKAGE.glob('*/*.py')}
    assert folders <= set(ALLOWED) | ANYTHING
    assert {'functional', 'losses', 'connectors', 'checkpoint', 'distillation'} <= folders


@pytest.mark.parametrize('path', MODULES, ids=name_of)
def test_layers_use_lower_layers_only(path):
    layer = layer_of(path)
    if layer not in ANYTHING:
        assert layers_used(path) <= ALLOWED[layer] | {layer, 'version'}


def test_the_table_itself_has_no_cycle():
    placed = set()
    while len(placed) < len(ALLOWED):
        free = {
            layer for layer, below in ALLOWED.items() if layer not in placed and below <= placed
        }
        assert free, f'a cycle among {sorted(set(ALLOWED) - placed)}'
        placed |= free


@pytest.mark.parametrize(
    'path', [path for path in MODULES if layer_of(path) == 'functional'], ids=name_of
)
def test_the_mathematics_needs_torch_and_the_standard_library_only(path):
    roots = {name.split('.')[0] for name in imports_of(path)}
    assert roots - set(sys.stdlib_module_names) <= {'torch', 'wkd_det'}


@pytest.mark.parametrize('path', MODULES, ids=name_of)
def test_mmdet_is_for_detection_and_its_registry_for_what_is_registered(path):
    used = {name for name in imports_of(path) if name.split('.')[0] == 'mmdet'}
    if layer_of(path) in ('functional', 'checkpoint'):
        assert not used
    elif layer_of(path) not in ('detection', 'testing'):
        assert used <= {'mmdet.registry'}


def test_tests_are_not_imported_and_testing_is_for_tests():
    for path in MODULES:
        if layer_of(path) != 'testing':
            assert 'testing' not in layers_used(path), path
        assert not any(name.split('.')[0] in ('tests', 'pytest') for name in imports_of(path)), path


@pytest.mark.parametrize('path', MODULES, ids=name_of)
def test_nothing_is_named_utils(path):
    assert not any('util' in part for part in path.relative_to(PACKAGE).with_suffix('').parts)
