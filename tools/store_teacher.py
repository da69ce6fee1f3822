"""Store what a teacher says of a fixed set of augmentations, so that it need not run in training.

Command:
    python tools/store_teacher.py CONFIG

CONFIG is the distilled config that is trained afterwards. Its training data set has augmentations
(how many of each image), stored_teacher (the folder that is written, one file for each
augmentation) and perhaps stored_maps (modules of the teacher whose output is stored with the
logits). An interrupted call goes on where it was; all configs with this teacher and these
augmentations share the folder, those with fewer images, augmentations or maps too.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from mmengine.config import DictAction
from mmengine.device import get_device
from mmengine.registry import DATASETS, MODELS, init_default_scope

from mmdet_tool import mistakes_in_one_sentence
from wkd_det.classification.distilled import DistilledClassifier
from wkd_det.classification.storing import store_teacher
from wkd_det.runtime.config import read_config


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='distilled config, whose teacher is stored')
    parser.add_argument(
        '--half',
        action='store_true',
        help='write float16: half the size, each value off by up to 1/2048 of itself',
    )
    parser.add_argument('--batch-size', type=int, default=256, help='images at once (default: 256)')
    parser.add_argument(
        '--force', action='store_true', help='replace files of another teacher or augmentation'
    )
    parser.add_argument(
        '--teacher',
        metavar='NAME',
        help='which one of model.teachers, where it has several (default: model.stored_of)',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, help='changes of the config'
    )
    return parser.parse_args(argv)


def store(args: argparse.Namespace) -> None:
    """Open data and teacher, and write the files."""
    config = read_config(args.config)
    config.merge_from_dict(args.cfg_options)
    init_default_scope(config.get('default_scope', 'mmengine'))
    section = dict(config.train_dataloader.dataset)
    folder = section.pop('stored_teacher', None)
    maps = section.pop('stored_maps', ())
    if folder is None:
        sys.exit(
            f'error: train_dataloader.dataset of {args.config} has no stored_teacher, the folder '
            'to write'
        )
    model = MODELS.build(config.model)
    if not isinstance(model, DistilledClassifier):
        sys.exit(f'error: the model of {args.config} is no DistilledClassifier')
    start = time.perf_counter()
    store_teacher(
        model.to(get_device()).eval(),
        DATASETS.build(section),
        Path(folder),
        maps=maps,
        half=args.half,
        batch_size=args.batch_size,
        force=args.force,
        teacher=args.teacher,
        say=lambda line: print(f'{time.perf_counter() - start:7.0f} s  {line}', flush=True),
    )


def main() -> None:
    """Store, or say in one sentence what is wrong."""
    args = parse_args()
    with mistakes_in_one_sentence():
        store(args)


if __name__ == '__main__':
    main()
