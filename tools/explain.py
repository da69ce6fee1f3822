"""Say before training what a student and a teacher share, which methods fit, and what would fail.

    python -m wkd_det explain STUDENT --teacher TEACHER --checkpoint teacher.pth
    python -m wkd_det explain STUDENT --teacher TEACHER --method wkd-lf --write distilled.py

STUDENT and TEACHER are configs: paths, or names such as ``mmdet::`` and ``wkd_det::`` ones. Exit
code 0: the method trains; 1: it does not, and the last sentence says why; 2: a mistake in the
command itself.
"""

from __future__ import annotations

import argparse
import io
import shlex
import sys
import tempfile
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from command_line import Parser, refuse
from config_catalogue.catalogue import Catalogue
from config_catalogue.renamed import instead_of

_PICTURES = ('.png', '.svg', '.pdf')


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(
        prog='python -m wkd_det explain', description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument('student', help='config of the student, plain or distilled')
    parser.add_argument('--teacher', metavar='CONFIG', help='config of the teacher')
    parser.add_argument('--checkpoint', metavar='FILE', help='weights of the teacher')
    parser.add_argument(
        '--method', metavar='M', help='look at this one only; without it one is chosen'
    )
    parser.add_argument('--write', type=Path, metavar='FILE', help='write the config that trains')
    parser.add_argument('--force', action='store_true', help='overwrite a file that is there')
    parser.add_argument(
        '--picture', type=Path, metavar='FILE', help='draw the pair, as .png, .svg or .pdf'
    )
    parser.add_argument('--size', type=_positive, metavar='N', help='side of the random images')
    parser.add_argument(
        '--batch', type=_positive, default=2, metavar='N', help='number of random images (2)'
    )
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'must be at least 1, got {text}')
    return value


def main() -> None:
    """Run the command line."""
    arguments = parse_arguments()
    warnings.simplefilter('ignore')
    from wkd_det.runtime.mistakes import sentence_of

    try:
        sys.exit(_run(arguments))
    except Exception as error:
        sys.exit(f'error: {_instead_of(error) or sentence_of(error)}')


def _instead_of(error: Exception) -> str | None:
    return instead_of(Catalogue(), str(error)) if isinstance(error, FileNotFoundError) else None


def _run(arguments: argparse.Namespace) -> int:
    from mmengine.logging import MMLogger

    import wkd_det  # noqa: F401  registers everything
    from wkd_det.inspection.pairs.explained import explain
    from wkd_det.inspection.pairs.pair import open_pair
    from wkd_det.inspection.pairs.report import report

    pair = open_pair(arguments.student, arguments.teacher, arguments.checkpoint)
    methods = _methods(pair.is_detection)
    _check(arguments, pair, [method.name for method in methods])
    MMLogger.get_current_instance().setLevel('ERROR')
    # Readers of annotations print what they do.
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        found = explain(
            pair,
            methods,
            method=arguments.method,
            folder=Path(folder),
            size=arguments.size,
            count=arguments.batch,
            tell=_tell,
        )
    _tell('')
    print(report(found))
    if arguments.write is not None and found.chosen is not None:
        _write(arguments, found)
    if arguments.picture is not None:
        from wkd_det.inspection.pairs.picture import draw_pair

        figure = draw_pair(found)
        arguments.picture.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(arguments.picture, dpi=150)
        print(f'drew {arguments.picture}')
    return 0 if found.refusal is None else 1


def _methods(detection: bool) -> list[Any]:
    """The methods of one task, read from the bases of the configs."""
    from wkd_det.inspection.pairs.methods import Method

    return [
        Method.of(one.name, one.text, one.path)
        for one in Catalogue().methods
        if (one.path.parent.name == 'classification') != detection
    ]


def _check(arguments: argparse.Namespace, pair: Any, names: list[str]) -> None:
    """Refuse what the command line asks for in vain; exit code 2."""
    from wkd_det.runtime.config import near_matches

    message = None
    if arguments.method is not None and pair.is_distilled:
        message = f'--method is for a plain student: {pair.name} has terms of its own'
    elif arguments.method is not None and arguments.method not in names:
        message = f'--method must name a method, {near_matches(arguments.method, names)}'
    elif arguments.write is not None and pair.is_distilled:
        message = f'--write is for a plain student: {pair.name} is distilled already'
    elif arguments.write is not None and arguments.write.suffix != '.py':
        message = f'--write takes a path that ends in .py, got {arguments.write}'
    elif arguments.write is not None and arguments.write.resolve() in _configs_of(pair):
        message = f'--write would overwrite {arguments.write}, which the new config needs'
    elif arguments.write is not None and arguments.write.exists() and not arguments.force:
        message = f'{arguments.write} is there already: --force overwrites it'
    elif arguments.picture is not None and arguments.picture.suffix.lower() not in _PICTURES:
        message = (
            f'--picture takes a path that ends in {", ".join(_PICTURES)}, got {arguments.picture}'
        )
    if message is not None:
        refuse(message)


def _configs_of(pair: Any) -> list[Path]:
    """Files of the configs that the user has named."""
    teacher = (pair.teacher or {}).get('config')
    named = (name for name in (pair.config.filename, teacher) if isinstance(name, str))
    return [Path(name).resolve() for name in named]


def _write(arguments: argparse.Namespace, found: Any) -> None:
    from wkd_det.inspection.pairs.written import write_config

    if not found.chosen.fits:
        print(f'{arguments.write} was not written')
        return
    command = shlex.join(['python', '-m', 'wkd_det', 'explain', *sys.argv[1:]])
    write_config(
        found.pair,
        found.chosen.method,
        arguments.write,
        size=found.size,
        command=command,
        force=arguments.force,
    )
    teacher = found.pair.teacher
    if found.trains and teacher is not None and not teacher.get('checkpoint'):
        print(f'wrote {arguments.write}, whose model.teacher.checkpoint is to be set')
    elif found.trains:
        print(f'wrote {arguments.write}: python -m wkd_det train {arguments.write} trains it')
    else:
        print(f'wrote {arguments.write}, which does not train yet')


def _tell(text: str) -> None:
    """Show on a terminal what is done."""
    if sys.stderr.isatty():
        print(f'\r\033[K{text}', end='', file=sys.stderr, flush=True)


if __name__ == '__main__':
    main()
