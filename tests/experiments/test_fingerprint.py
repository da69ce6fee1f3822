"""Fingerprints: which files count, and what differs between two of them."""

import json

import pytest
from mmengine.config import Config
from mmengine.device import get_device

from commands import ROOT
from wkd_det.experiments import fingerprint as module
from wkd_det.experiments.fingerprint import differences, fingerprint, identity, sources_of
from wkd_det.registry import REGISTERED, TAPS


def names(config):
    return {path.relative_to(module.PACKAGE).as_posix() for path in sources_of(config)}


def test_sources_are_those_of_what_the_config_names():
    wkd_l = names(Config.fromfile(ROOT / 'configs/mini/wkd-l.py').to_dict())
    assert {
        'costs/sources.py',
        'detection/detectors.py',
        'detection/taps/rois.py',
        'distillation/distiller.py',
        'losses/wkd_logit.py',
        'ops/transport.py',  # imported by what is imported
    } <= wkd_l
    assert not wkd_l & {'losses/wkd_feature.py', 'detection/export.py'}
    assert not any(name.startswith(('classification/', 'testing/')) for name in wkd_l)
    assert 'losses/wkd_feature.py' in names(dict(a=[dict(type='WKDFeatureLoss')]))
    assert names(dict(type='FasterRCNN')) == set()


@pytest.mark.parametrize(
    ('name', 'file'),
    [
        ('DistilledGFL', 'detection/detectors.py'),
        ('mmdet.DistilledTOOD', 'detection/detectors.py'),  # made by the user
        ('DistilledClassifier', 'classification/distilled.py'),
        ('FGFILoss', 'losses/fgfi.py'),  # the name before 0.2
        ('neck', 'detection/taps/maps.py'),
        ('CIFAR100Dataset', 'classification/datasets.py'),
        ('collate_images', 'classification/data.py'),
        ('ExactCheckpointHook', 'hooks/exact_checkpoint.py'),
        ('TopKAccuracy', 'classification/accuracy.py'),
    ],
)
def test_every_kind_of_name_is_known(name, file):
    assert file in names(dict(type=name))


@pytest.mark.parametrize(
    ('model', 'file'),
    [
        ('DistilledClassifier', 'classification/taps/logits.py'),
        ('DistilledClassifier', 'classification/taps/stages.py'),
        ('DistilledFasterRCNN', 'detection/taps/maps.py'),
    ],
)
def test_a_name_of_a_tap_is_that_of_the_task(model, file):
    taps = [dict(tap='logits'), dict(tap='pyramid')]
    other = 'detection' if model == 'DistilledClassifier' else 'classification'
    found = names(dict(model=dict(type=model, distill=taps)))
    assert file in found
    assert not any(name.startswith(f'{other}/taps/') for name in found)


def test_the_wrapper_of_a_cpu_counts_where_it_takes_the_name():
    wrapper = names(dict(type='AmpOptimWrapper'))
    assert ('hooks/cpu_amp.py' in wrapper) == (get_device() == 'cpu')


def test_no_result_depends_on_the_tables_that_name_every_file():
    everything = [*REGISTERED['MODELS'], *TAPS, 'DistilledFasterRCNN']
    found = names(everything)
    assert 'losses/nst.py' in found
    assert not found & {'registry.py', 'losses/__init__.py', 'functional.py', '__init__.py'}


def test_fingerprint_names_what_differs(tmp_path):
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
    assert 'wkd_det/losses/wkd_logit.py' in before['code']
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


def test_arrays_count_by_their_content(tmp_path):
    (tmp_path / 'cifar100.npz').write_bytes(b'one')
    (tmp_path / 'class').mkdir()
    config = Config(dict(dataset=dict(type='CIFAR100Dataset', data_root=str(tmp_path))))
    before = fingerprint(config)
    assert list(before['files']) == [f'{tmp_path}/cifar100.npz']
    (tmp_path / 'cifar100.npz').write_bytes(b'two')
    assert differences(before, fingerprint(config)) == [f'files {tmp_path}/cifar100.npz']


def test_fingerprint_sees_a_changed_source(tmp_path, monkeypatch):
    package = tmp_path / 'wkd_det'
    for name in ('losses', 'functional'):
        (package / name).mkdir(parents=True)
    (package / 'losses/__init__.py').write_text('')
    (package / 'losses/a.py').write_text(
        'from wkd_det.functional import f\nfrom wkd_det.losses import A, Lent\n'
    )
    (package / 'losses/e.py').write_text('')
    (package / 'functional/__init__.py').write_text('from wkd_det.functional.b import f, g\n')
    (package / 'functional/b.py').write_text("f = 'RegisteredByName'\n")
    (package / 'losses/c.py').write_text('import wkd_det.functional.d\n')
    (package / 'functional/d.py').write_text('')
    monkeypatch.setattr(module, 'PACKAGE', package)
    registered = dict(A=package / 'losses/a.py', RegisteredByName=package / 'losses/c.py')
    registered['Lent'] = package / 'losses/e.py'
    monkeypatch.setattr(module, '_homes', lambda of_classifiers: registered)
    assert names(dict(type='A')) == {
        'losses/a.py', 'functional/b.py', 'losses/c.py', 'functional/d.py', 'losses/e.py',
    }  # fmt: skip
