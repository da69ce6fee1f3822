"""Results of validations in a file, from mmengine's runner."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.runner import Runner
from torch.utils.data import Dataset

from wkd_det import registry
from wkd_det.classification.data import collate_images
from wkd_det.hooks.metric_file import MetricFileHook
from wkd_det.testing import classifier_config


class Bins(BaseMetric):
    """Returns a list and a dict beside a number."""

    default_prefix = 'bins'

    def process(self, data_batch, data_samples):
        """Count."""
        self.results.extend([1] * len(data_samples))

    def compute_metrics(self, results):
        """Of all images."""
        return dict(images=len(results), list=[0.5, [1, 2]], dict=dict(a=np.float32(0.25)))


class Two(Dataset):
    """Two images."""

    metainfo = dict(classes=[str(label) for label in range(10)])

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return torch.zeros(3, 32, 32), index


@pytest.mark.parametrize('unit', ['iters', 'epochs'])
def test_lists_and_dicts_are_in_the_file(tmp_path, unit):
    loader = dict(batch_size=1, num_workers=0, dataset=Two(), collate_fn=collate_images)
    by_epoch = unit == 'epochs'
    runner = Runner(
        model=registry.build(classifier_config()),
        work_dir=str(tmp_path),
        train_dataloader=dict(loader, sampler=dict(type='DefaultSampler')),
        train_cfg={'by_epoch': by_epoch, f'max_{unit}': 2, 'val_interval': 1},
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        val_dataloader=dict(loader, sampler=dict(type='DefaultSampler', shuffle=False)),
        val_cfg={},
        val_evaluator=[Bins()],
        test_dataloader=dict(loader, sampler=dict(type='DefaultSampler', shuffle=False)),
        test_cfg={},
        test_evaluator=[Bins()],
        custom_hooks=[dict(type='MetricFileHook')],
        experiment_name=f'{tmp_path.name}_{unit}',
        default_scope='mmdet',
    )
    runner.train()
    lines = (tmp_path / 'validations.jsonl').read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert [one['epoch' if by_epoch else 'iter'] for one in found] == [1, 2]
    expected = {'bins/images': 2, 'bins/list': [0.5, [1, 2]], 'bins/dict': {'a': 0.25}}
    assert [one['metrics'] for one in found] == [expected] * 2


def test_a_test_has_no_step(tmp_path):
    runner = SimpleNamespace(work_dir=str(tmp_path), _train_loop=dict(type='IterBasedTrainLoop'))
    hook = MetricFileHook('results.jsonl')
    hook.after_test_epoch(runner, dict(a=torch.tensor(1.5)))
    hook.after_val_epoch(runner, dict(a=2))
    lines = (tmp_path / 'results.jsonl').read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        dict(iter=None, epoch=None, metrics=dict(a=1.5)),
        dict(iter=None, epoch=None, metrics=dict(a=2)),
    ]
