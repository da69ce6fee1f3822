"""MMDetection's own tools, and ours, as a user runs them: subprocesses on a small mini set."""

import pickle
import re

import pytest
import torch
from mmengine.config import Config

from commands import MMDET_TOOLS, ROOT
from commands import run_apart as run
from make_mini_dataset import make_dataset
from mini_dataset.digits import CLASSES
from wkd_det.testing import save_detector


@pytest.fixture(scope='module')
def workplace(tmp_path_factory):
    """Data, an untrained teacher, and the options that point the configs there."""
    folder = tmp_path_factory.mktemp('workplace')
    make_dataset(folder / 'data', train=16, val=6, size=96, seed=0)
    config = Config.fromfile(ROOT / 'configs/mini/faster-rcnn_teacher.py')
    save_detector(config.model, folder / 'teacher.pth', class_names=list(CLASSES))
    data = folder / 'data'
    options = [
        '--cfg-options',
        'train_dataloader.batch_size=4',
        f'train_dataloader.dataset.data_root={data}/',
        f'val_dataloader.dataset.data_root={data}/',
        f'test_dataloader.dataset.data_root={data}/',
        f'val_evaluator.ann_file={data}/annotations/instances_val.json',
        f'test_evaluator.ann_file={data}/annotations/instances_val.json',
        'train_cfg.max_iters=3',
        'train_cfg.val_interval=3',
        'default_hooks.checkpoint.interval=2',
        'default_hooks.logger.interval=1',
        'model.test_cfg.rcnn.score_thr=0.0',
    ]
    return folder, options


@pytest.fixture(scope='module')
def distilled(workplace):
    """WKD-L + WKD-F trained for three steps by MMDetection's own tools/train.py."""
    folder, options = workplace
    output = run(
        MMDET_TOOLS / 'train.py',
        'configs/mini/wkd-lf.py',
        '--work-dir',
        folder / 'wkd',
        *options,
        f'model.teacher.checkpoint={folder}/teacher.pth',
    )
    return folder / 'wkd', output


def test_mmdet_trains_and_evaluates_through_custom_imports_alone(distilled):
    folder, output = distilled
    losses = re.findall(r'loss_wkd_l: ([\d.]+)  loss_wkd_f: ([\d.]+)', output)
    assert len(losses) == 3
    assert all(float(value) > 0 for pair in losses for value in pair)
    assert 'coco/bbox_mAP' in output
    assert 'teacher: loaded' in output
    assert (folder / 'iter_3.pth').is_file()


def test_checkpoint_has_the_student_and_the_distiller_but_no_teacher(distilled):
    keys = torch.load(distilled[0] / 'iter_3.pth', weights_only=True)['state_dict'].keys()
    config = Config.fromfile(ROOT / 'configs/mini/faster-rcnn_student.py')
    from mmdet.registry import MODELS

    plain = list(MODELS.build(config.model).state_dict())
    assert [key for key in keys if not key.startswith('distiller.')] == plain
    assert any(key.startswith('distiller.') for key in keys)
    optimizer = torch.load(distilled[0] / 'iter_3.pth', weights_only=True)['optimizer']
    connectors = [k for k in keys if k.startswith('distiller.') and k.endswith(('weight', 'bias'))]
    parameters = [k for k in plain if k.endswith(('weight', 'bias'))]
    assert len(optimizer['state']) == len(parameters) + len(connectors)


def test_plain_and_distilled_config_detect_the_same(workplace, distilled):
    folder, options = workplace
    found = {}
    tests = dict(
        distilled=(MMDET_TOOLS / 'test.py', 'configs/mini/wkd-lf.py'),
        plain=(ROOT / 'tools/test.py', 'configs/mini/faster-rcnn_student.py'),
    )
    metrics = {}
    for name, (tool, config) in tests.items():
        file = folder / f'{name}.pkl'
        output = run(
            tool, config, distilled[0] / 'iter_3.pth', '--work-dir', folder / name,
            '--out', file, *options,
        )  # fmt: skip
        metrics[name] = re.findall(r'coco/bbox_mAP: ([-\d.]+)', output)
        with file.open('rb') as handle:
            found[name] = [image['pred_instances'] for image in pickle.load(handle)]
    assert metrics['plain'] == metrics['distilled'] != []
    assert sum(len(instances['scores']) for instances in found['plain']) > 0
    for one, other in zip(found['plain'], found['distilled']):
        for key in ('bboxes', 'scores', 'labels'):
            assert torch.equal(one[key], other[key])


def test_our_train_resumes_what_mmdet_began(workplace, distilled):
    folder, options = workplace
    output = run(
        ROOT / 'tools/train.py', 'configs/mini/wkd-lf.py', '--work-dir', distilled[0],
        '--resume', *options, f'model.teacher.checkpoint={folder}/teacher.pth',
        'train_cfg.max_iters=5', 'train_cfg.val_interval=5',
    )  # fmt: skip
    assert 'resumed epoch: 0, iter: 3' in output
    assert re.search(r'Iter\(train\) +\[5/5\]', output)
    assert not re.search(r'Iter\(train\) +\[3/5\]', output)


@pytest.mark.parametrize(
    ('extra', 'sentence'),
    [
        ('model.teacher.checkpoint=nowhere.pth', 'checkpoint not found: nowhere.pth'),
        ('model.distill.loss_wkd_l.temprature=2', "unknown keys ['temprature']"),
        ('model.teacher.config=nowhere.py', 'nowhere.py'),
    ],
)
def test_mistakes_are_said_in_one_sentence(workplace, extra, sentence):
    folder, options = workplace
    output = run(
        ROOT / 'tools/train.py', 'configs/mini/wkd-l.py', '--work-dir', folder / 'mistake',
        *options, f'model.teacher.checkpoint={folder}/teacher.pth', extra, code=1,
    )  # fmt: skip
    last = output.strip().splitlines()[-1]
    assert sentence in last
    assert 'Traceback' not in output


def test_config_that_is_not_there():
    output = run(ROOT / 'tools/train.py', 'configs/nowhere.py', code=1)
    assert output.strip().splitlines()[-1].startswith('error: ')
    assert 'Traceback' not in output
