"""Pure parts of a run: logs, lengths, sources and fingerprints."""

import json
import math
from pathlib import Path

import pytest
from mmengine.config import Config

from wkd_det.experiments import fingerprint as sources
from wkd_det.experiments.fingerprint import differences, fingerprint, identity
from wkd_det.experiments.processes import (
    device_memory,
    read_progress,
    read_scalars,
    seconds_per_step,
    training_records,
    validation_records,
)
from wkd_det.experiments.run import set_length, training_length

ROOT = Path(__file__).resolve().parents[2]

ITERATION = (
    '2026/01/02 03:04:05 - mmengine - INFO - Iter(train) [ 50/500]  base_lr: 1.0e-03 lr: 1.0e-03  '
    'eta: 1 day, 0:03:04  time: 0.4  data_time: 0.1  loss: 1.2345  loss_cls: 0.5'
)
EPOCH = (
    '2026/01/02 03:04:05 - mmengine - INFO - Epoch(train)   [2][ 5/40]  lr: 1.0e-03  '
    'eta: 0:00:04  time: 0.4  loss: 0.5'
)


def test_progress_is_read():
    progress = read_progress(ITERATION)
    assert (progress.step, progress.total) == (50, 500)
    assert (progress.loss, progress.remaining) == ('1.2345', '1 day, 0:03:04')
    progress = read_progress(EPOCH, max_epochs=3)
    assert (progress.step, progress.total, progress.remaining) == (45, 120, '0:00:04')
    assert read_progress('Iter(val) [ 10/16]  eta: 0:00:04  time: 0.1') is None


def scalars(folder, *records):
    file = folder / 'vis_data/scalars.json'
    file.parent.mkdir(parents=True)
    file.write_text('\n'.join(map(json.dumps, records)))
    return file


def test_records_of_a_resumed_run(tmp_path):
    first = scalars(
        tmp_path / '20260101_000000',
        dict(loss=3.0, time=0.1, step=10),
        dict(loss=2.0, time=0.2, step=20),
    )
    with first.open('a') as file:
        file.write('\n{"loss": 1.0, "ti')  # killed while it wrote
    scalars(
        tmp_path / '20260101_000001',
        dict(loss=2.5, time=0.3, memory=900, step=20),
        {'coco/bbox_mAP': 0.25, 'coco/bbox_mAP_50': 0.5, 'time': 0.1, 'step': 20},
    )
    records = read_scalars(tmp_path)
    assert {step: record['loss'] for step, record in training_records(records).items()} == {
        10: 3.0,
        20: 2.5,
    }
    assert validation_records(records, 'coco/bbox_mAP') == {
        20: {'coco/bbox_mAP': 0.25, 'coco/bbox_mAP_50': 0.5}
    }
    assert validation_records(records, 'accuracy/top1') == {}
    assert seconds_per_step(records) == pytest.approx(0.2)
    assert device_memory(records) == 900.0
    assert math.isnan(seconds_per_step([]))
    assert device_memory(records[:2]) is None


def test_length_of_iterations():
    config = Config(
        dict(
            train_cfg=dict(max_iters=500, val_interval=500),
            param_scheduler=[
                dict(type='LinearLR', by_epoch=False, begin=0, end=25),
                dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=500),
                dict(type='MultiStepLR', by_epoch=True, end=500, milestones=[100]),
            ],
        )
    )
    set_length(config, 100)
    assert training_length(config) == config.train_cfg.val_interval == 100
    assert [scheduler.end for scheduler in config.param_scheduler] == [25, 100, 500]
    assert config.param_scheduler[2].milestones == [100]  # counts epochs, not iterations


def test_length_of_epochs():
    config = Config(
        dict(
            train_cfg=dict(max_epochs=240, val_interval=10),
            param_scheduler=dict(type='MultiStepLR', milestones=[150, 180, 210], end=240),
        )
    )
    set_length(config, 24)
    assert training_length(config) == 24
    assert config.train_cfg.val_interval == 10
    assert config.param_scheduler.milestones == [15, 18, 21]
    set_length(config, 4)
    assert config.train_cfg.val_interval == 4
    with pytest.raises(ValueError, match='length must be at least 1, got 0'):
        set_length(config, 0)
    with pytest.raises(ValueError, match='no train_cfg with max_iters or max_epochs'):
        training_length(Config(dict(model=1)))


def names(config):
    return {path.relative_to(sources.PACKAGE).as_posix() for path in sources.sources_of(config)}


def test_sources_are_those_of_what_the_config_names():
    wkd_l = names(Config.fromfile(ROOT / 'configs/mini/wkd-l.py').to_dict())
    assert {
        'detection/detectors.py',
        'detection/distilled_mixin.py',
        'detection/roi_logits_tap.py',
        'distillation/distiller.py',
        'functional/transport.py',  # imported by what is imported
        'interrelation/classifier_cost.py',
        'losses/wkd_logit_loss.py',
    } <= wkd_l
    assert not wkd_l & {'losses/wkd_feature_loss.py', 'detection/export.py'}
    assert not any(name.startswith(('classification/', 'testing/')) for name in wkd_l)
    assert 'losses/wkd_feature_loss.py' in names(dict(a=[dict(type='WKDFeatureLoss')]))
    assert names(dict(type='FasterRCNN')) == set()


def test_fingerprint_tells_what_differs(tmp_path):
    weights, teacher, data = tmp_path / 'a.pth', tmp_path / 'teacher.py', tmp_path / 'data'
    weights.write_bytes(b'one')
    (tmp_path / 'base.py').write_text('depth = 18')
    teacher.write_text("_base_ = 'base.py'")
    (data / 'train').mkdir(parents=True)
    (data / 'train/1.png').write_bytes(b'1')
    (data / 'ann.json').write_text('{}')
    config = Config(
        dict(
            model=dict(type='WKDLogitLoss', teacher=str(teacher), checkpoint=str(weights)),
            dataset=dict(data_root=f'{data}/', ann_file='ann.json', data_prefix=dict(img='train/')),
            randomness=dict(seed=1),
            work_dir='here',
        )
    )
    before = json.loads(json.dumps(fingerprint(config, processes=1)))

    def changed():
        return differences(before, fingerprint(config, processes=1))

    assert changed() == []
    assert 'wkd_det/losses/wkd_logit_loss.py' in before['code']
    config.work_dir = 'elsewhere'
    assert changed() == []
    config.randomness.seed = 2
    assert changed() == ['config randomness.seed']
    config.randomness.seed = 1
    weights.write_bytes(b'other')
    assert changed() == [f'files {weights}']
    weights.write_bytes(b'one')
    (tmp_path / 'base.py').write_text('depth = 34')  # a base of a config that is named
    assert changed() == [f'files {teacher}']
    (tmp_path / 'base.py').write_text('depth = 18')
    (data / 'ann.json').write_text('{"images": []}')
    (data / 'train/2.png').write_bytes(b'2')
    assert changed() == [f'files {data}/ann.json', f'files {data}/train']
    assert differences(before, fingerprint(config, processes=2))[0] == 'extra processes'
    assert identity(before) == identity(json.loads(json.dumps(before)))
    assert identity(before) != identity(fingerprint(config, processes=2))


def test_fingerprint_sees_a_changed_source(tmp_path, monkeypatch):
    package = tmp_path / 'wkd_det'
    for name in ('losses', 'functional'):
        (package / name).mkdir(parents=True)
    (package / 'losses/a.py').write_text('from wkd_det.functional import f\n')
    (package / 'functional/__init__.py').write_text('from wkd_det.functional.b import f, g\n')
    (package / 'functional/b.py').write_text("f = 'RegisteredByName'\n")
    (package / 'losses/c.py').write_text('import wkd_det.functional.d\n')
    (package / 'functional/d.py').write_text('')
    monkeypatch.setattr(sources, 'PACKAGE', package)
    registered = dict(A=package / 'losses/a.py', RegisteredByName=package / 'losses/c.py')
    monkeypatch.setattr(sources, '_registered', lambda: registered)
    assert names(dict(type='A')) == {
        'losses/a.py', 'functional/b.py', 'losses/c.py', 'functional/d.py',
    }  # fmt: skip
