"""Test a model: MMDetection's ``tools/test.py`` with its flags, wkd_det imported.

``tools/test.py CONFIG --teacher [flags]`` tests the teacher of a distilled config on the student's
test data; no student is needed. Its classes are matched with those of the data by name: they may
be in another order, and with ``model.teacher.classes='subset'`` it may have more. ``--cfg-options``
change the distilled config, so options of the teacher's own model are under
``model.teacher.overrides``. Of several, ``model.teachers``, ``--teacher=NAME`` tests one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope

from mmdet_tool import mistakes_in_one_sentence, run
from wkd_det.distillation.classes import order_of
from wkd_det.distillation.teacher import Teacher, TeacherSource, one_of, teacher_sources
from wkd_det.inspection.opening import class_names_of
from wkd_det.inspection.student_classes import StudentClassesEvaluator
from wkd_det.runtime.config import read_config


def teacher_arguments(arguments: list[str], folder: Path) -> list[str]:
    """Return arguments with which MMDetection's test tests the teacher.

    The teacher is loaded here, strictly, and its config and weights are written to ``folder``:
    MMDetection only warns of weights that do not fit, and knows a downloaded file by its name
    alone.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('config')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    flags = [one for one in arguments if _names_teacher(one)]
    args, rest = parser.parse_known_args([one for one in arguments if one not in flags])
    config = read_config(args.config)
    config.merge_from_dict(args.cfg_options)
    model = config.model
    sources = teacher_sources(model.get('teacher'), model.get('teachers'))
    if not sources:
        sys.exit(f'error: {args.config} has no teacher: model.teacher is not set')
    init_default_scope(config.get('default_scope', 'mmdet'))
    name = flags[-1].partition('=')[2] or None
    source = one_of(sources, name, 'say which by --teacher=NAME')
    teacher = source.load()
    if not hasattr(teacher.module, 'test_step'):
        kind = type(teacher.module).__name__
        sys.exit(f'error: the {kind} of {source.section} predicts nothing that could be tested')
    evaluate_in_classes_of_data(teacher, source, config)
    config.model = source.model_config()
    path = folder / f'{Path(args.config).stem}_teacher.py'
    config.dump(path)
    weights = folder / 'teacher.pth'
    torch.save(dict(state_dict=teacher.module.state_dict()), weights)
    return [str(path), str(weights), *rest]


def _names_teacher(argument: str) -> bool:
    return argument.partition('=')[0] == '--teacher'


def evaluate_in_classes_of_data(teacher: Teacher, source: TeacherSource, config: Config) -> None:
    """Let the evaluator see the teacher's predictions in the classes of the test data.

    Exits if the teacher lacks a class, or has more although ``classes`` of its section is
    ``'same'``.
    """
    names = class_names_of(config.test_dataloader.dataset)
    if names is None or teacher.class_names is None:
        return
    both = f'the test data have the classes {names} and the teacher has {teacher.class_names}'
    section = source.section
    if source.classes == 'same' and len(names) != len(teacher.class_names):
        sys.exit(f"error: {both}; one that has more is taken with {section}.classes='subset'")
    try:
        order = order_of(names, teacher.class_names, section=section)
    except ValueError as error:
        sys.exit(f'error: {both}: {error}')
    if order.is_identity:
        return
    metrics = config.test_evaluator
    config.test_evaluator = dict(
        type=f'{StudentClassesEvaluator.__module__}.{StudentClassesEvaluator.__name__}',
        metrics=metrics.metrics if 'metrics' in metrics else metrics,
        indices=order.indices,
    )


def main() -> None:
    """Test the model that the arguments name, or the teacher."""
    if {'-h', '--help'}.intersection(sys.argv[1:]):
        print(__doc__)  # what MMDetection's own help, which follows, does not know
    if not any(_names_teacher(argument) for argument in sys.argv[1:]):
        run('test')
        return
    with tempfile.TemporaryDirectory() as folder:
        with mistakes_in_one_sentence():
            sys.argv[1:] = teacher_arguments(sys.argv[1:], Path(folder))
        run('test')


if __name__ == '__main__':
    main()
