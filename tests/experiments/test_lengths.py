"""Lengths of trainings: what moves with the end, and what stays."""

import pytest
from mmengine.config import Config

from wkd_det.experiments.lengths import set_length, training_length


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
    with pytest.raises(ValueError, match='^length must be at least 1, got 0$'):
        set_length(config, 0)
    with pytest.raises(ValueError, match='^the config has no train_cfg with max_iters or max_epo'):
        training_length(Config(dict(model=1)))
