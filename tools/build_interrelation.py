"""Build the class interrelation of a trained network and write it to a file.

The network is a two-stage detector of MMDetection, whose RoI features are read at ground-truth
boxes and at sampled negatives (background), or a classifier of wkd_det.

Commands:
    python tools/build_interrelation.py configs/mini/faster-rcnn_teacher.py \
        work_dirs/mini/faster-rcnn_teacher/iter_600.pth --method gaussian-diag \
        --output work_dirs/mini/interrelation/gaussian-diag.safetensors
    python -m torch.distributed.run --nproc_per_node 2 tools/build_interrelation.py \
        CONFIG CHECKPOINT --method cka-linear --output FILE --launcher pytorch

A WKD-L term uses the file by cost=dict(type='FileCost', path=FILE). The structure report is
printed; tools/inspect_interrelation.py prints it again, compares and plots.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmengine.config import DictAction
from mmengine.dist import get_rank, init_dist
from mmengine.logging import MMLogger

from mmdet_tool import mistakes_in_one_sentence
from processes import join_by_gloo, leave_processes
from wkd_det.costs.build import METHODS, BuildOptions, build_interrelation
from wkd_det.costs.features import FeatureSource
from wkd_det.costs.files import check_suffix, read_cost_file, write_cost_file
from wkd_det.costs.report import (
    groups_of,
    interrelation_report,
    read_grouping,
    report_text,
    write_report,
)
from wkd_det.inspection.image_features import open_image_features
from wkd_det.inspection.opening import SPLITS
from wkd_det.inspection.roi_features import LAYERS, open_roi_features
from wkd_det.runtime.config import read_config


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of the trained network, or an mmdet:: name')
    parser.add_argument('checkpoint', help='its weights: a path or an address')
    parser.add_argument(
        '--method', choices=METHODS, required=True, help='way from features to distances'
    )
    parser.add_argument('--output', required=True, help='file to write, .safetensors')
    parser.add_argument('--force', action='store_true', help='replace a file that is there')
    parser.add_argument(
        '--split', choices=SPLITS, default='train', help='images that are read (default: train)'
    )
    parser.add_argument(
        '--layer',
        choices=LAYERS,
        default='penultimate',
        help='penultimate (default): the input of the classification layer; roi_feats: the mean '
        'of the RoIAlign output',
    )
    parser.add_argument('--stage', type=int, help='stage of a Cascade, which needs it')
    parser.add_argument(
        '--no-background', action='store_true', help='objects only; no proposals are needed'
    )
    parser.add_argument(
        '--max-per-class',
        type=int,
        help='examples used per class, drawn at random (default: all; for CKA 512)',
    )
    parser.add_argument(
        '--min-per-class',
        type=int,
        default=1,
        help='classes with fewer examples count as classes without any (default: 1)',
    )
    parser.add_argument(
        '--degree', type=int, default=2, help='degree of the polynomial kernel (default: 2)'
    )
    parser.add_argument(
        '--bandwidth', type=float, default=0.4, help='width of the RBF kernel (default: 0.4)'
    )
    parser.add_argument(
        '--prior-examples',
        type=float,
        default=10.0,
        help='shrinkage of the Gaussians: the pooled covariance counts as so many examples '
        'per class (default: 10)',
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of all random draws (default: 0)')
    parser.add_argument(
        '--workers', type=int, default=0, help='processes that read images (default: 0)'
    )
    parser.add_argument('--grouping', help="groups of classes for the report: 'coco' or a file")
    parser.add_argument('--report', type=Path, help='file to which the report is written as JSON')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, help='changes of the config'
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser.parse_args(argv)


def open_source(args: argparse.Namespace) -> FeatureSource:
    """Open the network of a config, a detector or a classifier, and its data."""
    config = read_config(args.config)
    config.merge_from_dict(args.cfg_options)
    common = dict(
        split=args.split,
        name=args.config if '::' in args.config else Path(args.config).name,
        layer=args.layer,
        num_workers=args.workers,
    )
    if 'network' not in config.get('model', {}):
        return open_roi_features(
            config,
            args.checkpoint,
            stage=args.stage,
            background=not args.no_background,
            seed=args.seed,
            **common,
        )
    if args.stage is not None or args.no_background:
        sys.exit('error: --stage and --no-background are for detectors')
    return open_image_features(config, args.checkpoint, **common)


def build(args: argparse.Namespace) -> None:
    """Build, write and report."""
    output = check_suffix(args.output)
    if output.exists() and not args.force:
        raise FileExistsError(f'{output} is there already: --force replaces it')
    options = BuildOptions(
        method=args.method,
        max_per_class=args.max_per_class,
        min_per_class=args.min_per_class,
        degree=args.degree,
        bandwidth=args.bandwidth,
        prior_examples=args.prior_examples,
        seed=args.seed,
    )
    source = open_source(args)
    if args.grouping:  # a mistake in it is found now, not after the work
        groups_of(source.class_names, read_grouping(args.grouping), args.grouping)
    distance, metadata = build_interrelation(source, options, progress=True)
    if get_rank() != 0:
        return
    write_cost_file(output, distance, source.class_names, **metadata)
    report = interrelation_report(read_cost_file(output), grouping=args.grouping)
    print(f'{report_text(report)}\nwrote {output}')
    if args.report:
        write_report(args.report, report)
        print(f'wrote {args.report}')


def main() -> None:
    """Build, or say in one sentence why not."""
    args = parse_args()
    MMLogger.get_instance('build_interrelation').setLevel('WARNING')
    try:
        if not join_by_gloo() and args.launcher != 'none':
            init_dist(args.launcher)
        with mistakes_in_one_sentence():
            build(args)
            leave_processes()
    except OSError as error:
        sys.exit(f'error: {error}')
    except KeyboardInterrupt:
        sys.exit(f'interrupted: {args.output} was not written')


if __name__ == '__main__':
    main()
