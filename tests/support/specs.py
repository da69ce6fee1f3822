"""Specs of studies on disk, trainings that take no time, and records as they leave them."""

from pathlib import Path

from commands import ROOT
from wkd_det.experiments.records import write_record
from wkd_det.experiments.spec_reader import read_spec
from wkd_det.experiments.study import FINAL, Key, Study, about

STUDENT = 'configs/mini/faster-rcnn_student.py'
WKD_L = 'configs/mini/wkd-l.py'
WEIGHT = 'model.distill.loss_wkd_l.loss.loss_weight'
TOOLS = ROOT / 'tools'
FAKE_TOOLS = Path(__file__).parent / 'fake_training'
"""Folder of a ``train.py`` that computes scores from weights in a few milliseconds."""

STAGES = [
    dict(keys='weight', factors=[0.5, 1, 2]),
    dict(keys='optim_wrapper.optimizer.lr', factors=[0.5, 1, 2]),
]


def write_fake(folder, name='fake', **options):
    """Write the config of a training that takes no time."""
    model = dict(type='Nothing', weight=1.0, best=1.0, quality=0.5, distill=dict(loss_term={}))
    content = dict(
        model={**model, **options},
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=4, val_interval=4),
        optim_wrapper=dict(optimizer=dict(lr=1.0)),
    )
    path = folder / f'{name}.py'
    path.write_text(lines(content))
    return str(path)


def write_spec(folder, name='spec', **changes):
    """Write a spec of a plain student and of WKD-L; changes replace or, by None, remove keys."""
    methods = changes.pop('methods', None)
    if methods is None:
        methods = dict(
            plain=dict(config=write_fake(folder, 'plain', best=2.0), weight='model.weight'),
            wkd=dict(
                config=write_fake(folder, 'wkd', quality=0.7),
                title='WKD-L',
                weight='model.weight',
            ),
        )
    content = dict(
        metric='fake/score',
        seeds=[1, 2],
        references=['plain'],
        methods=methods,
        work_dir=str(folder / 'work' / name),
    )
    content.update(changes)
    path = folder / f'{name}.py'
    path.write_text(lines(content))
    return path


def lines(content):
    return '\n'.join(f'{key} = {value!r}' for key, value in content.items() if value is not None)


def fake_search(**changes):
    return dict(seeds=[101], stages=STAGES, **changes)


def write_records(spec, values, *, stage=FINAL, **changes):
    """Write the record of a run for each score, by method and seed; return the study.

    Args:
        spec: Path of the spec.
        values: Score by method and seed.
        stage: Stage of the runs.
        **changes: Further content of each record.
    """
    study = Study(read_spec(spec))
    for name, scores in values.items():
        for seed, score in scores.items():
            point = study.choice(study.spec.method(name)).chosen
            key = Key(stage, name, point, seed)
            write_record(study.path(key), record(study.spec, key, score, **changes))
    return Study(study.spec)


def record(spec, key, score, **changes):
    """Return the record of a run with a score."""
    content = dict(
        about(spec, key),
        values={},
        date='2026-01-01',
        steps=4,
        seconds=4.0,
        cpu_seconds=2.0,
        starts=1,
        machine=dict(processor='abacus', cores=2, threads=1, platform='paper'),
        commit=spec.commit,
        config_hash='c',
        files={'teacher.pth': 't'},
        code=None if spec.commit else {'wkd_det/a.py': 'a'},
        versions=dict(torch='1', python='3'),
        extra=dict(processes=1),
        fingerprint='f',
        metrics={spec.metric: score},
        curve={spec.metric: [[2, score / 2], [4, score]]},
        losses=[[2, 2.0], [4, 1.0]],
        seconds_per_step=0.5,
        peak_memory=100.0,
        memory_of='process',
    )
    content.update(changes)
    return content
