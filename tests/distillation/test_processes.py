"""Two gloo processes on the CPU: equal gradients, equal to one process with twice the batch."""

import copy
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import init_default_scope
from torch import distributed, multiprocessing, nn

import wkd_det  # noqa: F401  registers everything, also in the processes started here
from wkd_det.checkpoint import read_checkpoint
from wkd_det.testing import (
    distilled_config,
    random_batch,
    save_detector,
    tiny_faster_rcnn,
    wkd_f_neck_term,
    wkd_f_term,
    wkd_l_term,
)

ROOT = Path(__file__).resolve().parents[2]
SIZES = [(96, 128)] * 4
ADDRESS = 'https://example.com/teacher.pth'
TERMS = dict(
    loss_wkd_l=wkd_l_term(),
    loss_wkd_f=wkd_f_term(),
    loss_wkd_f_neck=wkd_f_neck_term(),
)


def build(section):
    """A student whose passes are exact over any split of the batch: the same RoIs for an image,
    as many in each, and batch normalisation by its running statistics."""
    init_default_scope('mmdet')
    config = distilled_config(section, TERMS)
    config.train_cfg.rpn_proposal.max_per_img = 10
    config.train_cfg.rcnn.sampler.num = 1000  # all of them, so none is drawn
    torch.manual_seed(0)
    model = MODELS.build(config)
    model.init_weights()
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    return model


def images(chosen, boxes=3):
    batch = random_batch(SIZES, boxes=boxes)
    return {key: [values[index] for index in chosen] for key, values in batch.items()}


def losses_of(model, chosen, **batch):
    """Of the model, or of what wraps it for several processes."""
    inner = getattr(model, 'module', model)
    data = inner.data_preprocessor(images(chosen, **batch), True)
    return model(data['inputs'], data['data_samples'], mode='loss')


def distillation_of(model, chosen):
    """Sum of the terms; the losses of the task are there with gradients of 0."""
    losses = losses_of(model, chosen)
    total, _ = getattr(model, 'module', model).parse_losses(losses)
    return sum(losses[name] for name in TERMS) + 0.0 * total


def gradients(model):
    inner = getattr(model, 'module', model)
    return {name: parameter.grad.clone() for name, parameter in inner.named_parameters()}


def section_of(folder, checkpoint):
    config = tiny_faster_rcnn(base_channels=12, fpn_channels=24)
    return dict(config=config, checkpoint=checkpoint), folder / 'teacher.pth'


def process(rank, folder):
    """One of two; leaves what it found in a file."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2
    )
    fetched = []

    def download(address, path):
        fetched.append(address)
        Path(path).write_bytes((folder / 'teacher.pth').read_bytes())

    torch.hub.set_dir(str(folder / 'hub'))
    torch.hub.download_url_to_file = download
    section, _ = section_of(folder, ADDRESS)
    plain = build(section)
    model = MMDistributedDataParallel(copy.deepcopy(plain), broadcast_buffers=False)
    distillation_of(model, [2 * rank, 2 * rank + 1]).backward()
    found = dict(fetched=fetched, gradients=gradients(model))
    # Two steps of the whole objective, the second process without a box: with
    # find_unused_parameters=False, a parameter without a gradient is an error in the next step.
    for _ in range(2):
        total, _ = model.module.parse_losses(losses_of(model, [rank], boxes=3 - 3 * rank))
        total.backward()
    found['has_teacher'] = model.module.distiller.teacher is not None
    torch.save(found, folder / f'rank{rank}.pth')
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('processes')
    init_default_scope('mmdet')
    save_detector(section_of(path, '')[0]['config'], path / 'teacher.pth')
    return path


@pytest.fixture(scope='module')
def ranks(folder):
    multiprocessing.spawn(process, args=(folder,), nprocs=2)
    return [torch.load(folder / f'rank{rank}.pth', weights_only=True) for rank in (0, 1)]


@pytest.fixture(scope='module')
def whole(folder):
    """Gradients of one process with all four images, and the model."""
    section, _ = section_of(folder, str(folder / 'teacher.pth'))
    model = build(section)
    distillation_of(model, range(4)).backward()
    return model, gradients(model)


def assert_close(one, other):
    """Equal but for the order of float32 sums over some thousand values."""
    assert one.keys() == other.keys()
    for name in one:
        scale = other[name].abs().max().item()
        assert torch.allclose(one[name], other[name], rtol=1e-4, atol=1e-4 * scale + 1e-9), name


def test_both_processes_have_the_same_gradients(ranks):
    for name, value in ranks[0]['gradients'].items():
        assert torch.equal(value, ranks[1]['gradients'][name]), name
    connectors = [value for name, value in ranks[0]['gradients'].items() if 'connectors' in name]
    assert len(connectors) == 9
    assert all(value.abs().sum() > 0 for value in connectors)


def test_two_processes_give_the_gradients_of_one_with_twice_the_batch(ranks, whole):
    assert_close(ranks[0]['gradients'], whole[1])


def test_accumulated_gradients_are_those_of_the_larger_batch(whole):
    model = whole[0]
    model.zero_grad()
    for chosen in ([0, 1], [2, 3]):
        (distillation_of(model, chosen) / 2).backward()
    assert_close(gradients(model), whole[1])


def test_the_equality_is_no_triviality(whole):
    model = whole[0]
    model.zero_grad()
    distillation_of(model, [0, 1]).backward()
    with pytest.raises(AssertionError):
        assert_close(gradients(model), whole[1])


def test_each_process_has_the_teacher_and_one_downloads_it(ranks):
    assert [found['has_teacher'] for found in ranks] == [True, True]
    assert [found['fetched'] for found in ranks] == [[ADDRESS], []]


def test_no_shipped_config_asks_for_unused_parameters():
    for path in (ROOT / 'configs').rglob('*.py'):
        assert 'find_unused_parameters' not in path.read_text(), path


@pytest.mark.skipif(torch.cuda.is_available(), reason='gloo stands in for NCCL without a GPU')
def test_dist_train_and_dist_test_without_a_gpu(tmp_path):
    sys.path.insert(0, str(ROOT / 'tests/hooks'))
    from tiny_training import config_of, prepare

    prepare(tmp_path, images=8)
    config_of(tmp_path, tmp_path / 'work', 3, 3).dump(tmp_path / 'config.py')
    environment = dict(
        os.environ, PYTHONPATH=str(ROOT), PYTHON=sys.executable, PORT=str(29600 + os.getpid() % 300)
    )

    def run(script, *options):
        done = subprocess.run(
            ['bash', f'tools/{script}', str(tmp_path / 'config.py'), *map(str, options)],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        output = done.stdout + done.stderr
        assert done.returncode == 0, output[-4000:]
        return output

    logged = run('dist_train.sh', 2, '--cfg-options', 'default_hooks.logger.interval=1')
    assert re.search(r'Distributed training: True', logged)
    assert re.search(r'GPU number: 2', logged)
    assert re.search(r'Iter\(train\) +\[3/3\].*loss_wkd_l: .*share_wkd_l: ', logged)
    assert 'coco/bbox_mAP' in logged
    last = read_checkpoint(tmp_path / 'work/iter_3.pth')
    assert len(last['random_states']) == 2
    resumed = run('dist_train.sh', 2, '--resume', '--cfg-options', 'train_cfg.max_iters=4')
    assert 'resumed epoch: 0, iter: 3' in resumed
    assert 'not exact' not in resumed
    tested = run('dist_test.sh', tmp_path / 'work/iter_4.pth', 2)
    assert 'coco/bbox_mAP' in tested
    assert Config.fromfile(tmp_path / 'work/config.py').model_wrapper_cfg == dict(
        device_ids=None, broadcast_buffers=False, type='MMDistributedDataParallel'
    )
