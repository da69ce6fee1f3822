import functools
import gc
import logging
import time
from types import SimpleNamespace

import mmengine.config.config
import mmengine.config.utils
import mmengine.runner.loops
import mmengine.runner.runner
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.visualization import Visualizer
from yapf.yapflib import yapf_api

import wkd_det  # noqa: F401  registers everything
from wkd_det.testing import save_detector, tiny_faster_rcnn

CLASSES = ['ant', 'bee', 'cat', 'dog']


def pytest_collection_finish():
    """All that was imported stays: mmengine collects garbage for each data set that it opens."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope='session', autouse=True)
def _what_only_takes_time():
    """Leave out what takes seconds per run in mmengine and changes nothing that is tested.

    A survey of the machine, a pause when the data start again, the layout of the config in the
    log, and reading all model indices of MMDetection for each ``mmdet::`` name.
    """
    clock = SimpleNamespace(**{**vars(time), 'sleep': lambda seconds: None})
    load = functools.cache(mmengine.config.utils.load)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine.runner.runner, 'collect_env', dict)
        patch.setattr(mmengine.runner.loops, 'time', clock)
        for module in (mmengine.config.config, yapf_api):  # upstream and OneDL import it so
            patch.setattr(module, 'FormatCode', lambda text, **options: (text, True), raising=False)
        patch.setattr(mmengine.config.utils, 'load', load)
        yield


@pytest.fixture(scope='module', autouse=True)
def _scope():
    """The scope of MMDetection for fixtures of a file, which are made before its first test."""
    init_default_scope('mmdet')


@pytest.fixture(autouse=True)
def _quiet_and_fresh():
    """One scope, one seed and no class names left over from the runner of another test."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    MMLogger.get_instance('tests').setLevel(logging.WARNING)
    yield
    Visualizer._instance_dict.clear()


@pytest.fixture
def one_thread():
    """One thread here, as processes of ``commands.ENVIRONMENT`` have: then their bits are ours.

    Sums that several threads share are added up in another order, and on some processors in
    another kernel.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope='session')
def teacher_section(tmp_path_factory):
    """A ``teacher`` section: wider than the student, weights on disk."""
    init_default_scope('mmdet')
    config = tiny_faster_rcnn(base_channels=12, fpn_channels=24)
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    save_detector(config, path, class_names=CLASSES)
    return dict(config=config, checkpoint=str(path))
