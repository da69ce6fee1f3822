"""Speed and memory of wkd_det, measured side by side with what it is compared to.

Commands:
    python tools/benchmark.py losses           the losses against the formulas taken literally
    python tools/benchmark.py family           every form of the feature loss, relative to WKD-F
    python tools/benchmark.py dense            losses on the logits of dense heads
    python tools/benchmark.py step             a distilled step against its unavoidable parts
    python tools/benchmark.py classification   the same for classifiers, and loading of a batch
    python tools/benchmark.py methods          every method of a folder of configs against KD
    python tools/benchmark.py methods --pair cifar100_resnet32x4-to-resnet8x4_paper
                                               every method of a pair of classifiers
    python tools/benchmark.py teacher          forms of the teacher's forward pass
    python tools/benchmark.py gradients        weights that follow from gradients against numbers
    python tools/benchmark.py interrelation    CKA between 1000 classes

Figures are medians over rounds in which the compared forms take turns; ratios are computed
within a round. The last column of a table of requirements says whether they are met; the exit
code is 1 if one is missed.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

import torch
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from benchmarks.classification import benchmark_classification, format_classification
from benchmarks.dense import benchmark_dense, format_dense
from benchmarks.family import benchmark_family, format_family
from benchmarks.gradients import benchmark_gradients, format_gradients
from benchmarks.interrelation import benchmark_interrelation, format_interrelation
from benchmarks.losses import benchmark_losses, format_losses
from benchmarks.methods import benchmark_methods, format_methods
from benchmarks.report import machine
from benchmarks.rivals import benchmark_rivals, format_rivals
from benchmarks.step import benchmark_step, format_step
from benchmarks.teacher import benchmark_teacher, format_teacher
from wkd_det.runtime.files import write_json

ROOT = Path(__file__).resolve().parents[1]
_OPTIONS = {benchmark_methods: ('folder', 'baseline'), benchmark_rivals: ('pair', 'methods')}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument('--threads', type=int, help='threads of PyTorch (default: its own choice)')
    common.add_argument(
        '--repeats',
        type=int,
        default=3,
        help='least number of timed rounds (default: 3); short ones go on for some seconds',
    )
    common.add_argument('--json', type=Path, help='write all figures to this file')
    common.add_argument(
        '--quick', action='store_true', help='small sizes: try the tool, the figures mean nothing'
    )
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest='command', required=True)
    add = partial(commands.add_parser, parents=[common])
    add('losses', help='the losses against the plain formulas').set_defaults(
        benchmark=benchmark_losses, format_cases=format_losses
    )
    add('family', help='every form of the feature loss, relative to WKD-F').set_defaults(
        benchmark=benchmark_family, format_cases=format_family
    )
    add('dense', help='losses on the logits of dense heads').set_defaults(
        benchmark=benchmark_dense, format_cases=format_dense
    )
    add('step', help='a distilled training step against its unavoidable parts').set_defaults(
        benchmark=benchmark_step, format_cases=format_step
    )
    add('classification', help='a distilled step of classifiers, and its data').set_defaults(
        benchmark=benchmark_classification, format_cases=format_classification
    )
    methods = add('methods', help='training steps of all methods of a folder or a pair')
    methods.set_defaults(benchmark=benchmark_methods, format_cases=format_methods)
    methods.add_argument(
        '--folder', type=Path, default=ROOT / 'configs/mini', help='folder of the configs'
    )
    methods.add_argument('--baseline', default='kd', help='config to compare with (default: kd)')
    methods.add_argument(
        '--pair', help='pair of classifiers instead of a folder: a file of configs/_base_/pairs'
    )
    methods.add_argument('--methods', nargs='+', help='some methods of the pair (default: all)')
    add('teacher', help="forms of the teacher's forward pass").set_defaults(
        benchmark=benchmark_teacher, format_cases=format_teacher
    )
    add('gradients', help='weights by gradients against weights that are numbers').set_defaults(
        benchmark=benchmark_gradients, format_cases=format_gradients
    )
    add('interrelation', help='CKA between 1000 classes').set_defaults(
        benchmark=benchmark_interrelation, format_cases=format_interrelation
    )
    args = parser.parse_args(argv)
    if 'pair' in args:
        if args.methods and not args.pair:
            parser.error('--methods are those of a pair: --pair is missing')
        if args.pair:
            args.benchmark, args.format_cases = benchmark_rivals, format_rivals
    for name in ('threads', 'repeats'):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f'--{name} must be at least 1, but got {value}')
    return args


def main(argv: list[str] | None = None) -> None:
    """Measure, print, and say by the exit code whether all requirements are met."""
    args = parse_args(argv)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    init_default_scope('mmdet')
    MMLogger.get_current_instance().setLevel('WARNING')  # not how each weight is initialised
    options = {key: vars(args)[key] for key in _OPTIONS.get(args.benchmark, ())}
    cases = args.benchmark(repeats=args.repeats, quick=args.quick, **options)
    print(', '.join(f'{key}: {value}' for key, value in machine().items()))
    print(f'\n{args.format_cases(cases)}')
    if args.json is not None:
        write_json(args.json, dict(machine=machine(), cases=cases))
    met = all(verdict.met for case in cases for verdict in case['verdicts'])
    sys.exit(0 if met or args.quick else 1)


if __name__ == '__main__':
    main()
