"""Write a config for a method, a pair and a schedule; list what there is; renew the tables.

    python tools/new_config.py --list
    python tools/new_config.py --method kd --pair r50-to-mobilenetv2 --schedule 1x
    python tools/new_config.py --method kd --pair r50-to-mobilenetv2 --schedule 1x --out my/kd.py
    python tools/new_config.py --tables

Methods are the files of ``configs/_base_/distill`` whose header has a ``Method``; pairs with their
schedules are the files of ``configs/_base_/pairs``. What a header says is what this tool knows, so
a new file of either is all that it needs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from command_line import Parser, refuse
from config_catalogue.catalogue import Catalogue
from config_catalogue.headers import ConfigError
from config_catalogue.tables import renew_tables


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument('--list', action='store_true', help='show methods, pairs and schedules')
    parser.add_argument('--tables', action='store_true', help='renew the tables of the READMEs')
    parser.add_argument('--method', metavar='M', help='see --list')
    parser.add_argument(
        '--pair', metavar='P', help='see --list; the part behind the first _ is enough if unique'
    )
    parser.add_argument('--schedule', metavar='S', help='not needed where the pair has only one')
    parser.add_argument(
        '--out', type=Path, metavar='FILE', help='or a folder; by default where it belongs'
    )
    parser.add_argument('--force', action='store_true', help='overwrite a file that is there')
    found = parser.parse_args(arguments)
    if not (found.list or found.tables):
        missing = [f'--{name}' for name in ('method', 'pair') if getattr(found, name) is None]
        if missing:
            parser.error(f'{" and ".join(missing)} must be given; --list shows what there is')
    return found


def main() -> None:
    """Do what the command line asks for."""
    arguments = parse_arguments()
    try:
        catalogue = Catalogue()
        if arguments.list:
            print(catalogue.listing())
        elif arguments.tables:
            changed = renew_tables(catalogue)
            print('\n'.join(f'renewed {path}' for path in changed) or 'nothing to renew')
        else:
            method, pair = catalogue.find(arguments.method, arguments.pair, arguments.schedule)
            path = catalogue.write(method, pair, arguments.out, force=arguments.force)
            print(f'wrote {path}')
    except ConfigError as error:
        refuse(error)


if __name__ == '__main__':
    main()
