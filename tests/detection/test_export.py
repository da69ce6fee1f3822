"""The exported student where this package does not exist, and every refusal."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector, init_detector
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from PIL import Image

from commands import ENVIRONMENT, HANGS, ROOT, run, sentence
from wkd_det.detection import export
from wkd_det.detection.detectors import DistilledFasterRCNN
from wkd_det.detection.export import export_student, plain_config
from wkd_det.runtime.checkpoints import read_checkpoint
from wkd_det.testing import classifier_config, save_detector

# The environment has wkd_det installed: a finder in front of all others refuses the name.
ELSEWHERE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] == 'wkd_det':
            raise ModuleNotFoundError('no wkd_det here', name=name)

sys.meta_path.insert(0, Refuse())
try:
    import wkd_det
except ModuleNotFoundError:
    pass
else:
    sys.exit('wkd_det can be imported')

import torch
from mmdet.apis import DetInferencer, inference_detector, init_detector

config, checkpoint, image, out = sys.argv[1:]
found = inference_detector(init_detector(config, checkpoint, device='cpu'), image).pred_instances
inferencer = DetInferencer(weights=checkpoint, device='cpu', show_progress=False)
same = inferencer(image, return_datasamples=True)['predictions'][0].pred_instances
keys = ('bboxes', 'scores', 'labels')
torch.save([{key: one[key] for key in keys} for one in (found, same)], out)
"""


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A teacher, an image, a distilled config and its checkpoint as a runner writes it."""
    folder = tmp_path_factory.mktemp('export')
    teacher = Config.fromfile(ROOT / 'configs/mini/faster-rcnn_teacher.py').model
    save_detector(teacher, folder / 'teacher.pth')
    config = Config.fromfile(ROOT / 'configs/mini/wkd-lf.py')
    config.model.teacher = dict(config=teacher, checkpoint=str(folder / 'teacher.pth'))
    config.model.test_cfg.rcnn.score_thr = 0.0
    config.work_dir, config.resume = str(folder), True
    model = MODELS.build(config.model)
    model.init_weights()
    state = model.state_dict()
    # As EMAHook leaves it: averaged weights in state_dict, the optimizer's in ema_state_dict.
    last = {f'module.{key}': value + 1 for key, value in state.items()}
    content = dict(
        meta=dict(cfg=config.pretty_text, iter=3, dataset_meta=dict(classes=tuple('abcdefghij'))),
        state_dict=state,
        optimizer=torch.optim.SGD(model.parameters(), 0.1).state_dict(),
        message_hub=dict(log_scalars=dict(loss=HistoryBuffer([1.0], [1]))),
    )
    torch.save(content, folder / 'iter_3.pth')
    torch.save(dict(content, ema_state_dict=dict(last, steps=torch.tensor(3))), folder / 'ema.pth')
    config.dump(folder / 'wkd-lf.py')
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / 'image.png')
    return folder


def tool(*arguments, code=0):
    return run('tools/export_student.py', *arguments, code=code).strip()


@pytest.mark.usefixtures('one_thread')
def test_detects_the_same_where_wkd_det_does_not_exist(place):
    said = tool(place / 'iter_3.pth', '--output', place / 'out')
    config, checkpoint = place / 'out/student.py', place / 'out/student.pth'
    assert said == f'wrote {config} and {checkpoint}'
    done = subprocess.run(
        [sys.executable, '-c', ELSEWHERE, config, checkpoint, place / 'image.png', place / 'pt'],
        cwd=place / 'out', env=dict(ENVIRONMENT, PYTHONPATH=''),
        capture_output=True, text=True, timeout=HANGS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    distilled = init_detector(str(place / 'wkd-lf.py'), str(place / 'iter_3.pth'), device='cpu')
    assert isinstance(distilled, DistilledFasterRCNN)
    expected = inference_detector(distilled, str(place / 'image.png')).pred_instances
    assert len(expected) > 0
    for found in torch.load(place / 'pt'):
        for key, value in found.items():
            assert torch.equal(value, expected[key]), key  # same machine, same operations


def test_files_are_plain_and_nothing_else_is_in_them(place, tmp_path):
    config, checkpoint = export_student(place / 'iter_3.pth', tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['student.pth', 'student.py']
    assert 'wkd' not in config.read_text()
    content = read_checkpoint(checkpoint)
    assert content.keys() == {'meta', 'state_dict'}
    assert content['meta']['dataset_meta'] == dict(classes=tuple('abcdefghij'))
    assert content['meta']['cfg'] == config.read_text()
    read = Config.fromfile(config)
    assert read.model.type == 'FasterRCNN'
    assert not {'teacher', 'distill', 'on_non_finite'} & read.model.keys()
    assert not {'custom_imports', 'work_dir', 'resume'} & read.keys()
    assert list(content['state_dict']) == list(MODELS.build(read.model).state_dict())


def test_weights_of_a_training_with_moving_average(place, tmp_path):
    averaged = read_checkpoint(place / 'iter_3.pth')['state_dict']
    for number, (ema, shift) in enumerate([(None, 0), ('averaged', 0), ('last', 1)]):
        _, path = export_student(place / 'ema.pth', tmp_path / str(number), ema=ema)
        state = read_checkpoint(path)['state_dict']
        assert all(torch.equal(value, averaged[key] + shift) for key, value in state.items())
    with pytest.raises(ValueError, match='not trained with EMAHook'):
        export_student(place / 'iter_3.pth', tmp_path / 'x', ema='last')
    with pytest.raises(ValueError, match="one of .'averaged', 'last'., got 'both'"):
        export_student(place / 'ema.pth', tmp_path / 'x', ema='both')


PYTHON_CONFIG = """
from mmdet.models.backbones import ResNet
from mmdet.models.necks import FPN
from mmengine.hooks import EMAHook
from torch.optim import AdamW

from wkd_det.detection.detectors import DistilledFasterRCNN
from wkd_det.hooks import ExactCheckpointHook, TermScheduleHook
from wkd_det.losses.wkd_feature import WKDFeatureLoss
from wkd_det.losses.wkd_logit import WKDLogitLoss

"""


@pytest.mark.parametrize('scope', ["default_scope = 'mmdet'", 'default_scope = None', ''])
@pytest.mark.parametrize('named', [False, True], ids=['in the checkpoint', 'by --config'])
def test_configs_in_python(place, tmp_path, scope, named):
    """New-style configs name classes in place of strings."""
    config = Config.fromfile(place / 'wkd-lf.py')
    config.pop('custom_imports', None)
    config.custom_hooks = [dict(type='TermScheduleHook'), dict(type='EMAHook')]
    text = config.pretty_text.replace("default_scope = 'mmdet'", scope)
    for line in PYTHON_CONFIG.strip().splitlines():
        for name in line.partition(' import ')[2].split(', '):
            assert not name or f"type='{name}'" in text, name
            text = text.replace(f"type='{name}'", f'type={name}')
    (tmp_path / 'lazy.py').write_text(PYTHON_CONFIG + text)
    lazy = Config.fromfile(tmp_path / 'lazy.py')
    content = read_checkpoint(place / 'iter_3.pth')
    content['meta']['cfg'] = lazy.pretty_text  # as the runner writes it
    torch.save(content, tmp_path / 'iter_3.pth')
    given = tmp_path / 'lazy.py' if named else None
    config, checkpoint = export_student(tmp_path / 'iter_3.pth', tmp_path / 'out', config=given)
    assert 'wkd' not in config.read_text()
    read = Config.fromfile(config)
    assert read.model.type == 'FasterRCNN'
    assert read.default_hooks.checkpoint.type == 'CheckpointHook'
    assert [hook.type for hook in read.custom_hooks] == ['mmengine.hooks.EMAHook']
    detector = init_detector(str(config), str(checkpoint), device='cpu')
    student = init_detector(str(place / 'wkd-lf.py'), str(place / 'iter_3.pth'), device='cpu')
    found, expected = (
        inference_detector(one, str(place / 'image.png')).pred_instances
        for one in (detector, student)
    )
    assert torch.equal(found.scores, expected.scores)


def test_what_is_there_stays_unless_forced(place, tmp_path):
    (tmp_path / 'student.py').write_text('mine')
    last = sentence(tool(place / 'iter_3.pth', '--output', tmp_path, code=1))
    assert last == f'error: {tmp_path}/student.py exists already: --force replaces it'
    assert (tmp_path / 'student.py').read_text() == 'mine'
    tool(place / 'iter_3.pth', '--output', tmp_path, '--force', '--config', place / 'wkd-lf.py')
    assert Config.fromfile(tmp_path / 'student.py').model.type == 'FasterRCNN'


def test_failed_write_leaves_what_was_there(place, tmp_path, monkeypatch):
    for name in ('student.py', 'student.pth'):
        (tmp_path / name).write_text('mine')

    def full(*_):
        raise OSError('disk full')

    monkeypatch.setattr(export.torch, 'save', full)
    with pytest.raises(OSError, match='disk full'):
        export_student(place / 'iter_3.pth', tmp_path, force=True)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        'student.py': 'mine',
        'student.pth': 'mine',
    }


@pytest.mark.parametrize(
    ('arguments', 'code', 'message'),
    [
        (['nowhere.pth', '--output', 'x'], 1, 'error: checkpoint not found: nowhere.pth'),
        (['nowhere.pth'], 2, 'the following arguments are required: --output'),
    ],
)
def test_mistakes_are_said_in_one_sentence(arguments, code, message):
    assert message in sentence(tool(*arguments, code=code))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c['meta'].pop('cfg'), 'holds no config: name the one .* by --config'),
        (lambda c: c.pop('meta'), 'holds no config'),
        (lambda c: c['meta'].update(cfg='model = ('), 'cannot be read'),
        (lambda c: c['meta'].update(cfg='a = 1'), 'cannot be read'),
        (lambda c: c['state_dict'].pop('rpn_head.rpn_cls.bias'), 'missing keys: rpn_head.rpn_cls'),
        (
            lambda c: c['meta'].update(
                cfg=c['meta']['cfg'].replace("'wkd_det',", "'wkd_det', 'mine',")
            ),
            'imports mine: name the config by --config',
        ),
    ],
)
def test_refused_checkpoints(place, tmp_path, change, message):
    content = read_checkpoint(place / 'iter_3.pth')
    change(content)
    torch.save(content, tmp_path / 'changed.pth')
    with pytest.raises(ValueError, match=message):
        export_student(tmp_path / 'changed.pth', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_plain_checkpoint_is_refused(place, tmp_path):
    export_student(place / 'iter_3.pth', tmp_path / 'once')
    with pytest.raises(ValueError, match=r'plain already, .*: its model is a FasterRCNN'):
        export_student(tmp_path / 'once/student.pth', tmp_path / 'twice')


def test_a_classifier_has_a_way_of_its_own(tmp_path):
    config = Config(dict(model=classifier_config()))
    path = tmp_path / 'classifier.pth'
    torch.save(dict(meta=dict(cfg=config.pretty_text), state_dict={}), path)
    with pytest.raises(ValueError, match=r'is a classifier.*network_weights\(.*classifier\.pth'):
        export_student(path, tmp_path / 'exported')


@pytest.mark.parametrize(
    'evil',
    [
        'model = dict(type=open({marker!r}, "w").name)',
        'import os; os.system("touch {marker}")',
        'model = dict(**dict(type=open({marker!r}, "w")))',
        'model = [open({marker!r}, "w") for _ in (1,)]',
    ],
)
def test_config_in_a_checkpoint_is_never_run(place, tmp_path, evil):
    content = read_checkpoint(place / 'iter_3.pth')
    content['meta']['cfg'] = evil.format(marker=str(tmp_path / 'marker'))
    torch.save(content, tmp_path / 'evil.pth')
    with pytest.raises(ValueError, match='cannot be read'):
        export_student(tmp_path / 'evil.pth', tmp_path / 'out')
    assert not (tmp_path / 'marker').exists()


def test_imports_hooks_and_types_of_the_config():
    config = dict(
        custom_imports=dict(imports=['wkd_det', 'mine'], allow_failed_imports=False),
        custom_hooks=[dict(type='TermScheduleHook'), dict(type='EMAHook', momentum=0.1)],
        default_hooks=dict(checkpoint=dict(type='ExactCheckpointHook', interval=7)),
        optim_wrapper=dict(type='AmpOptimWrapper', loss_scale='dynamic'),
        model=dict(type='mmdet.DistilledFasterRCNN', teacher=dict(), distill=dict(), neck=None),
    )
    before = copy.deepcopy(config)
    assert plain_config(config).to_dict() == dict(
        custom_imports=dict(imports=['mine'], allow_failed_imports=False),
        custom_hooks=[dict(type='EMAHook', momentum=0.1)],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=7)),
        optim_wrapper=dict(type='AmpOptimWrapper', loss_scale='dynamic'),
        model=dict(type='FasterRCNN', neck=None),
    )
    assert config == before
    config['model']['neck'] = dict(type='ConvConnector')
    with pytest.raises(ValueError, match='model.neck is a ConvConnector, which only wkd_det has'):
        plain_config(config)


@pytest.mark.parametrize('kind', ['ChannelsLastHook', 'wkd_det.hooks.ChannelsLastHook'])
def test_hooks_of_ours_are_left_out_wherever_they_stand(kind):
    config = dict(
        default_hooks=dict(
            checkpoint=dict(type='ExactCheckpointHook'),
            channels_last=dict(type=kind),
            logger=dict(interval=50),
            timer=None,
        ),
        custom_hooks=[dict(type=kind)],
        model=dict(type='DistilledFasterRCNN'),
    )
    before = copy.deepcopy(config)
    assert plain_config(config).to_dict() == dict(
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook'), logger=dict(interval=50), timer=None
        ),
        model=dict(type='FasterRCNN'),
    )
    assert config == before


def test_the_scenes_configs_export():
    config = Config.fromfile(ROOT / 'configs/scenes/wkd-l_scenes.py')
    assert config.default_hooks.channels_last.type == 'ChannelsLastHook'
    assert 'channels_last' not in plain_config(config).default_hooks


def test_joined_data_is_read_by_the_usual_sampler():
    training = dict(
        train_dataloader=dict(
            sampler=dict(type='SourceSampler', batch_size=2, source_ratio=[1, 1]),
            dataset=dict(
                type='ConcatDataset', datasets=[dict(type='CocoDataset'), dict(type='Mine')]
            ),
        ),
        train_cfg=dict(type='EpochBasedTrainLoop'),
        optim_wrapper=dict(type='OptimWrapper'),
        param_scheduler=[],
    )
    config = dict(training, model=dict(type='DistilledFasterRCNN'))
    loader = plain_config(config)['train_dataloader']
    assert loader['sampler'] == dict(type='DefaultSampler', shuffle=True)
    assert [part['type'] for part in loader['dataset']['datasets']] == ['CocoDataset', 'Mine']
    # A student of images without labels alone is nothing that the plain detector can train.
    config['train_dataloader'] = dict(dataset=dict(type='UnlabelledDataset', data_root='heap'))
    assert plain_config(config).to_dict() == dict(model=dict(type='FasterRCNN'))


def test_type_of_the_user_becomes_what_it_extends():
    @MODELS.register_module(force=True)
    class MyDistilled(DistilledFasterRCNN):
        def __init__(self, *args, mine=1, **kwargs):
            super().__init__(*args, **kwargs)

    model = dict(type='MyDistilled', mine=2, teacher=None, distill=None, backbone=dict(depth=18))
    try:
        plain = plain_config(dict(model=model)).to_dict()
    finally:
        MODELS.module_dict.pop('MyDistilled')
    assert plain == dict(model=dict(type='FasterRCNN', backbone=dict(depth=18)))
