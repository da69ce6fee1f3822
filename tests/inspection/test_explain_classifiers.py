"""The command ``explain`` on the classifiers of scikit-learn's digits."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config

from commands import ROOT, run, sentence
from pairs import explain
from wkd_det import registry

DIGITS = 'configs/classification/digits/baseline'


@pytest.fixture(scope='module')
def pair(tmp_path_factory):
    """Arguments of a student of three steps, and of a teacher with random weights."""
    folder = tmp_path_factory.mktemp('digits')
    (folder / 'student.py').write_text(
        "_base_ = 'wkd_det::classification/digits/baseline/resnet8.py'\n"
        'train_cfg = dict(max_iters=3, val_interval=3)\n'
        "custom_hooks = [dict(type='EMAHook')]\n"
    )
    teacher = registry.build(Config.fromfile(ROOT / DIGITS / 'resnet20_teacher.py').model)
    names = [f'{digit}' for digit in range(10)]
    meta = dict(dataset_meta=dict(classes=names))
    torch.save(dict(state_dict=teacher.state_dict(), meta=meta), folder / 'teacher.pth')
    return (
        folder / 'student.py',
        *('--teacher', ROOT / DIGITS / 'resnet20_teacher.py'),
        *('--checkpoint', folder / 'teacher.pth'),
    )


@pytest.fixture(scope='module')
def report(pair):
    """Report on all methods; it writes ``all.py``."""
    return explain(*pair, '--write', pair[0].parent / 'all.py')


def test_report_has_places_by_their_names_and_every_method(report):
    lines = report.splitlines()
    assert 'Places to tap (width in channels; sizes for an image of 32 x 32)' in lines
    assert (
        '  last              layer3            64       4  8 x 8    layer3            64' in report
    )
    fitting = report.partition('Methods that fit')[2]
    for path in (ROOT / 'configs/_base_/distill/classification').glob('*.py'):
        if path.read_text().startswith('# Method:'):
            assert f'\n  {path.stem} ' in fitting
    assert 'with loss_crd: num_samples=100, negatives=50\n' in fitting
    assert sentence(report).startswith('wrote ')
    assert 'wkd-lf trains: everything before the first step has been run.' in lines


def test_a_method_with_hooks_and_options_of_the_data_is_written_and_trains(pair):
    folder = pair[0].parent
    for method, hook in (('crd', 'SampleTableHook'), ('dkd', 'TermScheduleHook')):
        path = folder / f'{method}.py'
        output = explain(*pair, '--method', method, '--write', path)
        assert f'{method} trains: ' in output
        config = Config.fromfile(path)
        assert [one.type for one in config.custom_hooks] == ['EMAHook', hook]
        assert config.model.image_size == 32
        assert config.train_dataloader.dataset.get('with_index', False) == (method == 'crd')
        output = run('tools/train.py', path, '--work-dir', folder / method)
        assert 'accuracy/top1' in output
    assert config.custom_hooks[1].by_epoch is False


def test_a_student_alone(pair):
    output = explain(pair[0], '--method', 'tfkd')
    assert 'Teacher  none: --teacher CONFIG names one' in output
    assert sentence(output) == 'tfkd trains: everything before the first step has been run.'
    output = explain(pair[0], '--method', 'kd', code=1)
    assert 'distill.loss_kd needs a teacher' in output


def test_a_place_that_a_network_lacks_is_said(pair, tmp_path):
    (tmp_path / 'student.py').write_text(
        f"_base_ = '{pair[0]}'\n"
        "model = dict(network=dict(_delete_=True, type='TorchvisionModel', name='squeezenet1_1',"
        ' num_classes=10))\n'
    )
    output = explain(tmp_path / 'student.py', *pair[1:], '--method', 'at', code=1)
    assert 'at would not train: ' in output
    assert 'no such module' in output
