"""The command ``wkd_det``: what is installed, the configs, and the tools of the package.

``python -m wkd_det`` shows versions and how to start. ``python -m wkd_det configs`` lists and
copies configs. ``python -m wkd_det TOOL ...`` runs a tool as ``python tools/TOOL.py ...`` does in
a checkout: the tools and configs come with the package.
"""

from __future__ import annotations

import argparse
import fnmatch
import platform
import runpy
import shutil
import sys
from pathlib import Path

from wkd_det.runtime.found import mmcv_operators, version_of
from wkd_det.version import __version__

SHIPPED = Path(__file__).parent / '.mim'
CONFIGS = SHIPPED / 'configs'
TOOLS = {
    'demo': 'train a teacher, a plain and a distilled detector on data that it makes itself',
    'explain': 'say of a student and a teacher, before training, what fits and what would fail',
    'train': 'train a config',
    'test': 'test a config with a checkpoint',
    'new_config': 'write the config of any method for any pair (give --out)',
    'export_student': 'write the plain checkpoint of a student',
    'build_interrelation': 'compute costs between classes',
    'inspect_interrelation': 'show costs between classes',
    'store_teacher': 'store what a teacher says of fixed augmentations of the training images',
    'make_mini_dataset': 'make the scenes of handwritten digits',
    'make_photo_scenes': 'make scenes of the photographs of Tiny ImageNet',
    'compare': 'compare methods over seeds',
    'plots': 'draw pictures of trained networks',
    'check_gpu': 'measure on a GPU: numbers, times, memory and waits',
}
_OPERATORS = {
    'compiled': 'operators compiled',
    'torchvision': "operators by torchvision's kernels",
    'none': 'no operators',
}


def found() -> str:
    """Return what is installed, one line each, and the commands to start with."""
    lines = [f'wkd_det {__version__} in {Path(__file__).parent}']
    lines.append(f'  Python       {platform.python_version()}')
    for name in ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet'):
        version = version_of(name) or 'missing'
        if name == 'mmcv' and version != 'missing':
            version += f', {_OPERATORS[mmcv_operators()]}'
        lines.append(f'  {name:<12} {version}')
    lines.append(f'  {"devices":<12} {devices()}')
    if version_of('mmdet') is None:
        lines.append("For detectors: pip install 'wkd_det[openmmlab]' (or 'wkd_det[onedl]')")
    lines += [
        'Start with:',
        '  python -m wkd_det demo           # trains a teacher, a plain and a distilled student',
        '  python -m wkd_det configs        # lists the configs, and copies them',
        '  python -m wkd_det train CONFIG   # trains one, by its path or its wkd_det:: name',
    ]
    return '\n'.join(lines)


def devices() -> str:
    """Return the GPUs, or the number of threads on the CPU."""
    try:
        import torch
    except ImportError:
        return 'unknown without torch'
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return ', '.join(names) if names else f'no GPU, {torch.get_num_threads()} threads on the CPU'


def matching(pattern: str) -> list[Path]:
    """Return the configs whose name fits a pattern of the shell, or holds the text.

    Raises:
        ValueError: If there is none.
    """
    names = {
        path.relative_to(CONFIGS).as_posix(): path
        for path in sorted(CONFIGS.rglob('*.py'))
        if '_base_' not in path.relative_to(CONFIGS).parts
    }
    pattern = pattern.removeprefix('wkd_det::')
    chosen = [
        path for name, path in names.items() if pattern in name or fnmatch.fnmatch(name, pattern)
    ]
    if not chosen:
        raise ValueError(f'no config fits {pattern!r}; python -m wkd_det configs lists all')
    return chosen


def list_configs(pattern: str) -> None:
    """Print the names of configs with what their first line says."""
    for path in matching(pattern):
        title = path.read_text(encoding='utf-8').splitlines()[0].lstrip('# ')
        print(f'wkd_det::{path.relative_to(CONFIGS).as_posix()}\n    {title}')


def copy_configs(pattern: str, folder: Path) -> None:
    """Copy configs and their bases into a folder, laid out as in the package.

    Raises:
        ValueError: If there is no such config, or a file is in the way.
    """
    bases = [path for path in sorted((CONFIGS / '_base_').rglob('*')) if path.suffix == '.py']
    targets = {path: folder / path.relative_to(CONFIGS) for path in [*matching(pattern), *bases]}
    for path, target in targets.items():
        if target.exists() and target.read_bytes() != path.read_bytes():
            raise ValueError(f'{target} exists and is another file')
    for path, target in targets.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    print(f'{len(targets) - len(bases)} configs and {len(bases)} bases are in {folder}')


def run_tool(name: str, arguments: list[str]) -> None:
    """Run a tool of the package in this process."""
    script = SHIPPED / 'tools' / f'{name}.py'
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.parent))
    runpy.run_path(str(script), run_name='__main__')


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='wkd_det', description='Without a command: what is installed, and how to start.'
    )
    parser.add_argument('--version', action='version', version=__version__)
    commands = parser.add_subparsers(dest='command', metavar='COMMAND')
    configs = commands.add_parser('configs', help='list configs, or copy them with their bases')
    actions = configs.add_subparsers(dest='action', metavar='{list,copy}')
    listing = actions.add_parser('list', help='the names of configs')
    copying = actions.add_parser('copy', help='copy configs with their bases')
    for action in (listing, copying):
        action.add_argument(
            'pattern', nargs='?', default='', help='part of the name, or a pattern of the shell'
        )
    copying.add_argument('--to', type=Path, default=Path('configs'), help='folder (configs)')
    for name, text in TOOLS.items():
        commands.add_parser(name, help=text, add_help=False)
    return parser.parse_args(arguments)


def main() -> None:
    """Run the command line."""
    given = sys.argv[1:]
    if given and given[0] in TOOLS:
        run_tool(given[0], given[1:])
        return
    arguments = parse_arguments(given)
    try:
        if arguments.command is None:
            print(found())
        elif arguments.action == 'copy':
            copy_configs(arguments.pattern, arguments.to)
        else:
            list_configs(getattr(arguments, 'pattern', ''))
    except ValueError as error:
        sys.exit(f'error: {error}')
    except BrokenPipeError:  # of `| head`
        sys.stderr.close()


if __name__ == '__main__':
    main()
