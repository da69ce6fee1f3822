"""Fragments for FlexibleRunner: they parse with any distilled config and say what mmengine takes.

FSDP itself runs in tests/distillation/test_processes.py.
"""

import inspect
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model.wrappers import MMFullyShardedDataParallel
from mmengine.registry import OPTIM_WRAPPERS, RUNNERS, STRATEGIES
from mmengine.runner import FlexibleRunner
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / 'configs/_base_/strategies'
STUDENT = 'wkd-lf_faster-rcnn_r101-to-r18_1x.py'


def with_strategy(tmp_path, name, text=''):
    """What a user writes: a shipped config, the fragment, and ``text``."""
    bases = [str(ROOT / 'configs/detection' / STUDENT), str(FOLDER / name)]
    (tmp_path / name).write_text(f'_base_ = {bases}\n{text}')
    return Config.fromfile(tmp_path / name)


@pytest.mark.parametrize('path', sorted(FOLDER.glob('*.py')), ids=lambda path: path.stem)
def test_it_names_what_mmengine_has(tmp_path, path):
    config = with_strategy(tmp_path, path.name)
    assert RUNNERS.get(config.runner_type) is FlexibleRunner
    section = dict(config.strategy)
    strategy = STRATEGIES.get(section.pop('type'))
    inspect.signature(strategy).bind(**section)
    # An unknown name would end in its **kwargs and be refused only by a machine that has it all.
    names = {name for cls in inspect.getmro(strategy) for name in inspect.signature(cls).parameters}
    assert section.keys() <= names
    assert config.model.type == 'DistilledFasterRCNN'
    assert config.default_hooks.checkpoint.type == 'ExactCheckpointHook'


def test_the_wrapper_of_fsdp_takes_the_options(tmp_path):
    options = dict(with_strategy(tmp_path, 'fsdp.py').strategy.model_wrapper)
    assert options.pop('type') == MMFullyShardedDataParallel.__name__
    inspect.signature(MMFullyShardedDataParallel).bind(nn.Identity(), **options)
    assert options.keys() <= inspect.signature(MMFullyShardedDataParallel).parameters.keys()


def test_deepspeed_takes_the_optimizer_that_the_fragment_asks_for(tmp_path):
    lines = (FOLDER / 'deepspeed.py').read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith('#     optim_wrapper'))
    stop = next(i for i, line in enumerate(lines) if line == '#     )') + 1
    text = '\n'.join(line.removeprefix('#     ') for line in lines[start:stop])
    config = with_strategy(tmp_path, 'deepspeed.py', text)
    section = dict(config.optim_wrapper)
    optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(1))])
    assert section.pop('optimizer').type == 'AdamW'
    wrapper = OPTIM_WRAPPERS.build(dict(section, optimizer=optimizer))
    assert type(wrapper).__name__ == 'DeepSpeedOptimWrapper'
