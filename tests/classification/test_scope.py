"""Classifiers of scope mmengine: without MMDetection's models and mmcv's operators; precision."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.optim import AmpOptimWrapper

from commands import HANGS
from wkd_det.hooks.cpu_amp import CPUAmpOptimWrapper
from wkd_det.testing import class_logits_term, classifier_config, module_term, save_classifier

ROOT = Path(__file__).parents[2]
# In a child process, since this one has loaded MMDetection's models and mmcv's operators long ago.
# There they cannot be imported, as with mmcv-lite: otherwise mmengine's Runner, where a process
# trains alone, looks for mmcv's SyncBatchNorm in the model and so imports all operators itself.
ABSENT = ('mmcv._ext', 'mmcv.ops', 'mmdet.models')
PROGRAM = """
import json, sys
absent = sys.argv[2:]
sys.modules.update(dict.fromkeys(absent))
from mmengine.config import Config
from mmengine.runner import Runner

runner = Runner.from_cfg(Config.fromfile(sys.argv[1]))
runner.train()
logs = runner.message_hub.log_scalars
losses = {name: float(logs[f'train/{name}'].data[0][0]) for name in ('loss_ce', 'loss_l', 'loss_f')}
accuracy = float(logs['val/accuracy/top1'].current())
wrapper = type(runner.optim_wrapper).__name__
loaded = [name for name, module in sys.modules.items() if module is not None]
print(json.dumps(dict(loaded=loaded, wrapper=wrapper, losses=losses, top1=accuracy)))
"""


@pytest.fixture
def train(tmp_path):
    """Trains a distilled classifier for one step and validates it, in a process of its own."""
    teacher = save_classifier(classifier_config('resnet14'), tmp_path / 'teacher.pth', bare=True)
    loader = dict(
        batch_size=5,
        num_workers=0,
        dataset=dict(type='DigitsDataset', split='train', per_class=1),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='collate_images'),
    )
    model = classifier_config(
        type='DistilledClassifier',
        image_size=32,
        teacher=teacher,
        distill=dict(loss_l=class_logits_term(), loss_f=module_term()),
    )
    settings = dict(
        default_scope='mmengine',
        custom_imports=dict(imports=['wkd_det'], allow_failed_imports=False),
        model=model,
        train_dataloader=loader,
        train_cfg=dict(by_epoch=False, max_iters=1, val_interval=1),
        val_dataloader=loader,
        val_evaluator=dict(type='TopKAccuracy'),
        val_cfg=dict(),
        default_hooks=dict(
            checkpoint=dict(type='ExactCheckpointHook', by_epoch=False, interval=1),
            logger=dict(type='LoggerHook', interval=1),
        ),
        custom_hooks=[dict(type='TermScheduleHook', by_epoch=False, factor=0.5)],
        work_dir=str(tmp_path / 'work'),
    )

    def run(wrapper):
        optimizer = dict(type=wrapper, optimizer=dict(type='SGD', lr=0.01))
        path = str(tmp_path / 'config.py')
        Config(dict(settings, optim_wrapper=optimizer)).dump(path)
        done = subprocess.run(
            [sys.executable, '-c', PROGRAM, path, *ABSENT],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=HANGS,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def test_a_step_needs_no_models_of_mmdet_and_no_operators_of_mmcv(train):
    found = train('OptimWrapper')
    assert not [name for name in found['loaded'] if name.startswith(ABSENT)]
    assert 'wkd_det.classification.distilled' in found['loaded']
    assert all(loss > 0 for loss in found['losses'].values())
    assert 0 <= found['top1'] <= 100


def test_mixed_precision_works_without_the_scope_of_mmdet(train):
    """The wrapper that ``--amp`` names is the one for CPUs where there is no accelerator."""
    found = train('AmpOptimWrapper')
    expected = CPUAmpOptimWrapper if get_device() == 'cpu' else AmpOptimWrapper
    assert found['wrapper'] == expected.__name__
    assert all(loss > 0 for loss in found['losses'].values())
