"""Test a model: MMDetection's ``tools/test.py`` with its flags, wkd_det imported.

``tools/test.py CONFIG --teacher [flags]`` tests the teacher of a distilled config on the student's
test data; no student is needed. ``--cfg-options`` change the distilled config, so options of the
teacher's own model are under ``model.teacher.overrides``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from mmdet.registry import DATASETS
from mmengine.config import Config, DictAction
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope

from mmdet_tool import mistakes_in_one_sentence, run
from wkd_det.distillation.teacher import Teacher, TeacherSource
from wkd_det.runtime.config import read_config


def teacher_arguments(arguments: list[str], folder: Path) -> list[str]:
    """Return arguments with which MMDetection's test tests the teacher.

    The teacher is loaded here, strictly, and its config and weights are written to ``folder``:
    MMDetection only warns of weights that do not fit, and knows a downloaded file by its name
    alone.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('config')
    parser.add_argument('--teacher', action='store_true')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    args, rest = parser.parse_known_args(arguments)
    config = read_config(args.config)
    config.merge_from_dict(args.cfg_options)
    section = config.model.get('teacher')
    if section is None:
        sys.exit(f'error: {args.config} has no teacher: model.teacher is not set')
    init_default_scope(config.get('default_scope', 'mmdet'))
    source = TeacherSource.from_config(section)
    teacher = source.load()
    check_class_names(teacher, config)
    config.model = source.model_config()
    path = folder / f'{Path(args.config).stem}_teacher.py'
    config.dump(path)
    weights = folder / 'teacher.pth'
    torch.save(dict(state_dict=teacher.module.state_dict()), weights)
    return [str(path), str(weights), *rest]


def check_class_names(teacher: Teacher, config: Config) -> None:
    """Exit if the test data have other classes, or another order of them, than the teacher."""
    dataset = config.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    lazy = dict(lazy_init=True) if issubclass(DATASETS.get(dataset.type), BaseDataset) else {}
    names = DATASETS.build(dict(dataset, **lazy)).metainfo.get('classes')
    if names is None or teacher.class_names is None or list(names) == teacher.class_names:
        return
    sys.exit(
        f'error: the test data have the classes {list(names)} and the teacher has '
        f'{teacher.class_names}'
    )


def main() -> None:
    """Test the model that the arguments name, or the teacher."""
    if '--teacher' not in sys.argv[1:]:
        run('test')
        return
    with tempfile.TemporaryDirectory() as folder:
        with mistakes_in_one_sentence():
            sys.argv[1:] = teacher_arguments(sys.argv[1:], Path(folder))
        run('test')


if __name__ == '__main__':
    main()
