"""Look at class distances: structure, groups, neighbours, other files, pictures.

Commands:
    python tools/inspect_interrelation.py FILE --grouping coco --plots work_dirs/plots
    python tools/inspect_interrelation.py FILE --compare OTHER [OTHER ...] --report report.json

FILE is written by tools/build_interrelation.py, or is a .pth matrix of 1 - interrelation as the
reference repository ships, whose classes --class-names names.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from mmdet_tool import mistakes_in_one_sentence
from wkd_det.costs.files import read_cost_file
from wkd_det.costs.report import (
    groups_of,
    interrelation_report,
    names_of,
    read_grouping,
    report_text,
    shipped_groupings,
    with_class_names,
    write_report,
)
from wkd_det.inspection.class_pictures import MAPS, plot_interrelation


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('file', help='file of class distances')
    shipped = ', '.join(shipped_groupings())
    parser.add_argument('--grouping', help=f'one of {shipped}, or a JSON file {{class: group}}')
    parser.add_argument(
        '--compare', nargs='+', default=[], help='other files, to be correlated with it'
    )
    parser.add_argument(
        '--neighbors', type=int, default=5, help='nearest classes per class (default: 5)'
    )
    parser.add_argument(
        '--sharpness', type=float, default=1.0, help='kappa of the costs reported (default: 1)'
    )
    parser.add_argument(
        '--class-names',
        help=f'class names for a file without them: one of {shipped}, or a text file with one '
        'name per line, in the order of the rows',
    )
    parser.add_argument('--report', type=Path, help='file to which the report is written as JSON')
    parser.add_argument('--plots', type=Path, help='folder for heat map, dendrogram and map')
    parser.add_argument(
        '--map',
        choices=MAPS,
        default='mds',
        help='way to place classes in the plane (default: mds)',
    )
    return parser.parse_args(argv)


def inspect(args: argparse.Namespace) -> None:
    """Report and plot."""
    content = with_class_names(read_cost_file(args.file), args.class_names)
    report = interrelation_report(
        content,
        grouping=args.grouping,
        num_neighbors=args.neighbors,
        sharpness=args.sharpness,
        compare={path: read_cost_file(path) for path in args.compare},
    )
    print(report_text(report))
    if args.report:
        write_report(args.report, report)
        print(f'wrote {args.report}')
    if args.plots:
        names = names_of(content)
        groups = None
        if args.grouping:
            groups = groups_of(names, read_grouping(args.grouping), args.grouping)
        stem = os.path.splitext(os.path.basename(args.file))[0]
        for path in plot_interrelation(
            content.distance, names, args.plots, groups=groups, stem=stem, map_method=args.map
        ):
            print(f'wrote {path}')


def main() -> None:
    """Inspect, or say in one sentence why not."""
    try:
        with mistakes_in_one_sentence():
            inspect(parse_args())
    except OSError as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
