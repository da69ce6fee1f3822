"""Dependencies point one way: read from the imports of every module.

Each test lists all offenders at once.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / 'wkd_det'

# Room: lower rooms that it may import. A new room needs a line here.
_GROUND = {'registry', 'version', 'ops'}
_MATH = _GROUND | {'costs', 'losses'}
_CORE = _MATH | {'runtime', 'connectors', 'distillation'}
ALLOWED = {
    'version': set(),
    'registry': set(),
    'ops': set(),
    'runtime': _GROUND,
    'connectors': _GROUND,
    'costs': _GROUND | {'runtime'},
    'losses': _GROUND | {'costs'},
    'functional': _MATH,
    'distillation': _CORE,
    'detection': _CORE,
    'classification': _CORE,
    'hooks': _CORE,
    'inspection': _CORE | {'detection', 'classification'},
    'experiments': _GROUND | {'runtime'},
    'testing': _CORE | {'detection', 'classification', 'hooks'},
    '__main__': {'version', 'runtime'},
}
# Doors: the package itself, and import paths of 0.1 that lend what has moved.
DOORS = {'__init__', 'checkpoint', 'interrelation', 'visualization'}
KERNELS = ('ops/fused/logit_transport', 'ops/fused/moments')
TORCH_ONLY = ('ops', 'losses', 'functional', 'costs/matrix', 'costs/similarity', 'costs/interface')
KNOWS_MMDET = ('detection', 'inspection', 'testing')


def modules():
    return sorted(path for path in PACKAGE.rglob('*.py') if '__pycache__' not in path.parts)


def name_of(path):
    return path.relative_to(PACKAGE).with_suffix('').as_posix()


def room_of(path):
    return name_of(path).split('/')[0]


def imports_of(path):
    """Absolute names of all imported modules, including imports inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path} has a relative import'
            names.add(node.module)
            names.update(f'{node.module}.{alias.name}' for alias in node.names)
    return names


def imports_at_once(path):
    """Absolute names of the modules that are imported outside of functions."""
    tree = ast.parse(path.read_text(encoding='utf-8'))
    names = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
            names.update(f'{node.module}.{alias.name}' for alias in node.names)
    return names


def rooms_used(path):
    parts = (name.split('.') for name in imports_of(path))
    return {own[1] for own in parts if own[0] == 'wkd_det' and len(own) > 1}


def test_the_reader_of_imports_sees_them(tmp_path):
    path = tmp_path / 'module.py'
    path.write_text(
        'import os.path, wkd_det.losses\n'
        'from wkd_det import detection\n'
        'def function():\n    from wkd_det.functional import wkd_logit_loss\n'
    )
    assert {'os.path', 'wkd_det.losses', 'wkd_det.detection'} <= imports_of(path)
    assert rooms_used(path) >= {'losses', 'detection', 'functional'}


def test_every_room_has_its_place_and_the_table_no_cycle():
    assert {room_of(path) for path in modules()} <= set(ALLOWED) | DOORS
    placed = set()
    while len(placed) < len(ALLOWED):
        free = {room for room, below in ALLOWED.items() if room not in placed and below <= placed}
        free |= {r for r, below in ALLOWED.items() if below - {r} <= placed} - placed
        assert free, f'a cycle among {sorted(set(ALLOWED) - placed)}'
        placed |= free


def test_rooms_use_lower_rooms_only():
    offenders = {
        name_of(path): sorted(upwards)
        for path in modules()
        if room_of(path) in ALLOWED
        and (upwards := rooms_used(path) - ALLOWED[room_of(path)] - {room_of(path)})
    }
    assert not offenders


def test_the_mathematics_needs_torch_and_the_standard_library_only():
    allowed = {*sys.stdlib_module_names, 'torch', 'wkd_det'}
    offenders = {
        name_of(path): sorted(others)
        for path in modules()
        if name_of(path).startswith(TORCH_ONLY)
        and name_of(path) not in KERNELS
        and (others := {name.split('.')[0] for name in imports_of(path)} - allowed)
    }
    assert not offenders


def test_triton_is_known_to_kernels_which_are_imported_where_they_are_used():
    kernels = {'wkd_det.' + name.replace('/', '.') for name in KERNELS}
    offenders = {
        name_of(path): sorted(used)
        for path in modules()
        if (used := {name for name in imports_at_once(path) if name in kernels or name == 'triton'})
        and name_of(path) not in KERNELS
    }
    assert not offenders
    assert all('triton' in imports_of(PACKAGE / f'{name}.py') for name in KERNELS)


def test_mmdetection_is_known_where_detectors_are():
    offenders = {
        name_of(path): sorted(used)
        for path in modules()
        if room_of(path) not in KNOWS_MMDET
        and (used := {name for name in imports_of(path) if name.split('.')[0] == 'mmdet'})
    }
    assert not offenders


def test_nobody_inside_imports_through_a_face_of_the_package():
    """A package's ``__init__`` and ``functional`` are for users."""
    offenders = {}
    for path in modules():
        if path.name == '__init__.py' or name_of(path) in DOORS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if not isinstance(node, ast.ImportFrom) or node.module.split('.')[0] != 'wkd_det':
                continue
            place = PACKAGE.joinpath(*node.module.split('.')[1:])
            if node.module == 'wkd_det.functional':
                offenders.setdefault(name_of(path), []).append(node.module)
            elif place.is_dir():  # a module of the package is no face
                names = [alias.name for alias in node.names]
                faces = [n for n in names if not _is_module(place / n)]
                if faces:
                    offenders.setdefault(name_of(path), []).append(f'{node.module}: {faces}')
    assert not offenders


def test_the_order_of_classes_is_applied_by_the_teacher_alone():
    offenders = [
        name_of(path)
        for path in modules()
        if 'ClassOrder' in path.read_text()
        and name_of(path) not in ('distillation/classes', 'distillation/teacher')
    ]
    assert not offenders


def test_members_are_written_down_and_not_looked_for():
    """No ``hasattr`` in the core: what a term may ask is in the base of losses or connectors."""
    offenders = [
        name_of(path)
        for path in modules()
        if room_of(path) == 'distillation' and 'hasattr(' in path.read_text()
    ]
    assert not offenders


def test_tests_are_not_imported_testing_is_for_tests_and_nothing_is_named_utils():
    offenders = [
        name_of(path)
        for path in modules()
        if (room_of(path) != 'testing' and 'testing' in rooms_used(path))
        or any(name.split('.')[0] in ('tests', 'pytest') for name in imports_of(path))
        or any('util' in part for part in name_of(path).split('/'))
    ]
    assert not offenders


def _is_module(path):
    return path.with_suffix('.py').is_file() or path.is_dir()
