"""Two gloo processes on the CPU: equal gradients, equal to one process with twice the batch."""

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
from mmengine.optim import OptimWrapper
from mmengine.registry import RUNNERS, init_default_scope
from mmengine.runner import Runner
from torch import distributed, multiprocessing, nn

import tiny_training
import wkd_det  # noqa: F401  registers everything, also in the processes started here
from commands import ENVIRONMENT, HANGS, ROOT, free_port, run_apart
from wkd_det.distillation import distiller as distiller_module
from wkd_det.runtime.checkpoints import read_checkpoint
from wkd_det.testing import (
    classifier_config,
    distilled_config,
    image_batch,
    random_batch,
    save_classifier,
    save_detector,
    tiny_faster_rcnn,
    wkd_f_neck_term,
    wkd_f_term,
    wkd_l_term,
)

SIZES = [(96, 128)] * 4
ADDRESS = 'https://example.com/teacher.pth'
TERMS = dict(
    loss_wkd_l=wkd_l_term(),
    loss_wkd_f=wkd_f_term(),
    loss_wkd_f_neck=wkd_f_neck_term(),
)
SHARDS_ON_CPUS = torch.__version__ >= (2, 2)


def terms_of_other_methods():
    """Those with taps and connectors of their own, as the configs have them, at tiny widths."""
    folder = ROOT / 'configs/_base_/distill'
    terms = {}
    for name in ('fcfd', 'icd', 'fgfi', 'reviewkd', 'wkd-lf-box'):
        terms.update(Config.fromfile(folder / f'{name}.py').distill)
    del terms['loss_wkd_l'], terms['loss_wkd_f']
    terms['loss_icd'].loss.update(width=16, num_heads=2)
    terms['loss_reviewkd'].connector.mid_channels = 16
    return terms


def build(section, terms=TERMS):
    """A student whose passes are exact over any split of the batch: the same RoIs for an image,
    as many in each, and batch normalisation by its running statistics."""
    init_default_scope('mmdet')
    config = distilled_config(section, terms)
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
    os.environ['LOCAL_RANK'] = str(rank)
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2
    )
    found = {}
    model = gradients_of_the_terms(rank, folder, found)
    whole_objective(rank, model)
    a_download_that_fails(found)
    a_term_that_is_not_finite(rank, folder, found)
    other_methods(rank, folder, found)
    batches_of_classifiers(rank, folder, found)
    if SHARDS_ON_CPUS:
        weights_of_two_strategies(folder, found)
    torch.save(found, folder / f'rank{rank}.pth')
    distributed.barrier()
    distributed.destroy_process_group()


def gradients_of_the_terms(rank, folder, found):
    found['fetched'] = []

    def download(address, path):
        found['fetched'].append(address)
        if 'absent' in address:
            raise OSError('HTTP Error 404: Not Found')
        Path(path).write_bytes((folder / 'teacher.pth').read_bytes())

    torch.hub.set_dir(str(folder / 'hub'))
    torch.hub.download_url_to_file = download
    section, _ = section_of(folder, ADDRESS)
    model = MMDistributedDataParallel(build(section), broadcast_buffers=False)
    distillation_of(model, [2 * rank, 2 * rank + 1]).backward()
    found['gradients'] = gradients(model)
    found['has_teacher'] = model.module.distiller.teacher is not None
    return model


def whole_objective(rank, model):
    """Two steps, the second process without a box: with find_unused_parameters=False, a parameter
    without a gradient is an error in the next step."""
    for _ in range(2):
        total, _ = model.module.parse_losses(losses_of(model, [rank], boxes=3 - 3 * rank))
        total.backward()


def other_methods(rank, folder, found):
    """Two steps, the second process without a box."""
    section, _ = section_of(folder, str(folder / 'teacher.pth'))
    terms = terms_of_other_methods()
    model = MMDistributedDataParallel(build(section, terms), broadcast_buffers=False)
    torch.manual_seed(rank)
    found['methods'] = []
    for _ in range(2):
        model.zero_grad()
        losses = losses_of(model, [rank], boxes=3 - 3 * rank)
        total, _ = model.module.parse_losses(losses)
        total.backward()
        found['methods'].append({name: float(losses[name]) for name in terms})
    found['gradients of methods'] = gradients(model)


def batches_of_classifiers(rank, folder, found):
    """Two steps on two views with indices; no image of the second process has a label."""
    terms = dict(
        loss_mlkd=dict(tap='logits', loss=dict(type='MLKDLoss')),
        loss_dkd=dict(tap='logits', loss=dict(type='DKDLoss')),
    )
    section = save_classifier(classifier_config(), folder / f'classifier{rank}.pth')
    config = classifier_config(
        type='DistilledClassifier',
        data_preprocessor=dict(type='ImagePreprocessor', allow_unlabelled=True),
        teacher=section,
        distill=terms,
        image_size=32,
    )
    torch.manual_seed(0)
    model = MODELS.build(config)
    model.init_weights()
    model = MMDistributedDataParallel(model.train(), broadcast_buffers=False)
    images, labels = image_batch(2, seed=rank)
    batch = dict(images=images, strong=images.flip(0), indices=torch.arange(2))
    batch['labels'] = labels if rank == 0 else torch.full((2,), -1)
    for _ in range(2):
        model.zero_grad()
        losses = model(*model.module.data_preprocessor(batch, True), mode='loss')
        total, _ = model.module.parse_losses(losses)
        total.backward()
    found['losses of classifiers'] = {name: float(value) for name, value in losses.items()}
    found['gradients of classifiers'] = gradients(model)


def a_download_that_fails(found):
    try:
        read_checkpoint('https://example.com/absent.pth')
    except ConnectionError as error:
        found['download'] = str(error)


def a_term_that_is_not_finite(rank, folder, found):
    """In the second process only."""
    section, path = section_of(folder, str(folder / 'teacher.pth'))
    for choice in ('skip', 'raise', 'raise late'):
        waited = choice == 'raise late'  # as GPUs are
        distiller_module.is_waited_for = lambda device, waited=waited: waited
        model = MMDistributedDataParallel(build(section), broadcast_buffers=False)
        distiller = model.module.distiller
        distiller.on_non_finite = choice.removesuffix(' late')
        if rank == 1:
            bias = distiller.teacher.module.roi_head.bbox_head.fc_cls.bias
            bias.data[1] = float('nan')
        try:
            for _ in range(2):
                model.zero_grad()
                losses = losses_of(model, [rank])
                total, log = model.module.parse_losses(losses)
                found[f'{choice}: losses'] = True
                total.backward()
        except FloatingPointError as error:
            found[choice] = str(error)
        else:
            found['skipped'] = {name: float(losses[name]) for name in TERMS}
            found['count'] = float(log['skipped_wkd_l'])
            found['gradients after skipping'] = gradients(model)


def weights_of_two_strategies(folder, found):
    """Of two steps by DistributedDataParallel and by FSDP, as tools/train.py runs them."""
    found['weights'] = {}
    for name in ('ddp', 'fsdp'):
        config = strategy_config(folder / 'run', name)
        build_runner = Runner.from_cfg if name == 'ddp' else RUNNERS.build
        runner = build_runner(config)
        runner.train()
        if name == 'fsdp':
            found['wrapper'] = type(runner.model).__name__
            teacher = runner.model.module.distiller.teacher.module
            found['teacher parameters'] = sum(p.numel() for p in teacher.parameters())
            found['own parameters'] = sum(p.numel() for p in runner.model.parameters())
        distributed.barrier()


def strategy_config(folder, name):
    changes = {
        'optim_wrapper': dict(_delete_=True, optimizer=dict(type='SGD', lr=0.05)),
        'model_wrapper_cfg': dict(
            type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False
        ),
    }
    config = tiny_training.config_of(
        folder, folder / name, 2, 1, **{'default_hooks.checkpoint.max_keep_ckpts': -1}
    )
    config.merge_from_dict(changes)
    config.val_cfg = config.val_dataloader = config.val_evaluator = None
    config.launcher = 'pytorch'
    config.load_from = str(folder / 'start.pth')  # connectors are built earlier by one runner
    config.experiment_name = f'strategy {name}'
    if name == 'fsdp':
        fragment = Config.fromfile(ROOT / 'configs/_base_/strategies/fsdp.py')
        # FSDP looks for an accelerator, and offloading to where the weights are frees them.
        fragment.strategy.model_wrapper.device_id = 'cpu'
        fragment.strategy.state_dict_cfg = dict(
            state_dict_type='FULL_STATE_DICT',
            state_dict_config=dict(type='FullStateDictConfig', rank0_only=True),
            optim_state_dict_config=dict(type='FullOptimStateDictConfig', rank0_only=True),
        )
        config.merge_from_dict(fragment.to_dict())
    return config


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('processes')
    init_default_scope('mmdet')
    save_detector(section_of(path, '')[0]['config'], path / 'teacher.pth')
    (path / 'run').mkdir()
    tiny_training.prepare(path / 'run', images=6)
    model = MODELS.build(tiny_training.config_of(path / 'run', path, 1, 1).model)
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), path / 'run/start.pth')
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
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = OptimWrapper(optimizer, accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, 2)
    seen = []
    wrapper.step = lambda: seen.append(gradients(model))  # what an update would take
    for chosen in ([0, 1], [2, 3]):
        wrapper.update_params(distillation_of(model, chosen))
    assert len(seen) == 1
    assert_close(seen[0], whole[1])


def test_the_equality_is_no_triviality(whole):
    model = whole[0]
    model.zero_grad()
    distillation_of(model, [0, 1]).backward()
    with pytest.raises(AssertionError):
        assert_close(gradients(model), whole[1])


def test_each_process_has_the_teacher_and_one_downloads_it(ranks):
    assert [found['has_teacher'] for found in ranks] == [True, True]
    assert [found['fetched'].count(ADDRESS) for found in ranks] == [1, 0]


def test_a_failed_download_is_known_to_both(ranks):
    for found in ranks:
        assert 'absent.pth could not be downloaded: HTTP Error 404' in found['download']
    assert [len(found['fetched']) for found in ranks] == [2, 0]


def test_classifiers_train_where_one_process_has_no_label(ranks):
    own, other = (found['losses of classifiers'] for found in ranks)
    assert min(own.values()) > 0
    assert other['loss_ce'] == other['loss_dkd'] == 0
    assert other['loss_mlkd'] > 0
    own, other = (found['gradients of classifiers'] for found in ranks)
    assert all(torch.equal(value, other[name]) for name, value in own.items())


def test_a_term_that_is_not_finite_in_one_is_skipped_by_both(ranks):
    for found in ranks:
        assert found['skipped']['loss_wkd_l'] == 0
        assert found['skipped']['loss_wkd_f'] > 0
        assert found['count'] == 2
    own, other = (found['gradients after skipping'] for found in ranks)
    for name, value in own.items():
        assert value.isfinite().all(), name
        assert torch.equal(value, other[name]), name


@pytest.mark.parametrize(('choice', 'by'), [('raise', 'loss'), ('raise late', 'backward')])
def test_a_term_that_is_not_finite_in_one_stops_both(ranks, choice, by):
    assert 'term loss_wkd_l is not finite in another process' in ranks[0][choice]
    assert 'term loss_wkd_l is nan' in ranks[1][choice]
    assert re.search(r'student \(\d+, 5\) in .*; teacher \(\d+, 5\) in', ranks[1][choice])
    assert all((f'{choice}: losses' in found) == (by == 'backward') for found in ranks)


def test_other_methods_train_in_two_processes_also_without_a_box_in_one(ranks):
    """DDP would stop the second step if a parameter had had no gradient in the first."""
    with_boxes, without = (found['methods'] for found in ranks)
    assert all(value > 0 for step in with_boxes for value in step.values())
    for step in without:
        assert step['loss_fcfd_app'] > 0
        assert step['loss_fgfi'] == step['loss_wkd_box'] == 0
    own, other = (found['gradients of methods'] for found in ranks)
    for name, value in own.items():
        assert value.isfinite().all(), name
        assert torch.equal(value, other[name]), name
    taught = [name for name in own if name.startswith('distiller.')]
    assert len(taught) > 50
    silent = [name for name in taught if not own[name].any()]
    # Connectors of levels with no RoI, or no location near an object: gradients of 0, not none.
    by_level = ('loss_fcfd_kd_ts.connectors.', 'loss_fgfi.connectors.')
    assert not [name for name in silent if not any(part in name for part in by_level)]
    assert len(silent) < len(taught) / 4


@pytest.mark.skipif(not SHARDS_ON_CPUS, reason='FSDP of torch 2.1 needs a GPU')
def test_fsdp_trains_the_weights_of_ddp_with_the_whole_teacher_in_each_process(ranks, folder):
    files = ('ddp/iter_1.pth', 'fsdp/iter_1.pth', 'fsdp/iter_2.pth')
    contents = [read_checkpoint(folder / 'run' / file) for file in files]
    assert contents[0]['state_dict'].keys() == contents[1]['state_dict'].keys()
    assert len(contents[1]['random_states']) == 2
    ddp, fsdp, later = (
        {key: v for key, v in content['state_dict'].items() if key.endswith(('weight', 'bias'))}
        for content in contents
    )
    assert_close(fsdp, ddp)  # later the last bits decide which proposals are kept
    moved = [key for key in fsdp if not torch.equal(fsdp[key], later[key])]
    assert len(moved) > len(fsdp) / 2
    teacher = MODELS.build(tiny_training.teacher_config())
    for found in ranks:
        assert found['wrapper'] == 'MMFullyShardedDataParallel'
        assert found['teacher parameters'] == sum(p.numel() for p in teacher.parameters())
        assert found['own parameters'] < sum(value.numel() for value in fsdp.values()) * 0.6


def test_no_shipped_config_asks_for_unused_parameters():
    for path in (ROOT / 'configs').rglob('*.py'):
        assert 'find_unused_parameters' not in path.read_text(), path


@pytest.fixture
def launch(tmp_path):
    """Call a script of tools/ on a tiny training; its output."""
    tiny_training.prepare(tmp_path, images=8)
    config = tiny_training.config_of(tmp_path, tmp_path / 'work', 3, 3)
    config.default_hooks.logger.interval = 1
    config.dump(tmp_path / 'config.py')
    port = free_port()

    def start(script, *options, **environment):
        return subprocess.Popen(
            ['bash', f'tools/{script}', str(tmp_path / 'config.py'), *map(str, options)],
            cwd=ROOT,
            env=dict(ENVIRONMENT, PYTHON=sys.executable, PORT=port, **environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(*processes):
        outputs = [process.communicate(timeout=HANGS)[0] for process in processes]
        for process, output in zip(processes, outputs):
            assert process.returncode == 0, output[-4000:]
        return outputs[0]

    return tmp_path / 'work', start, finish


without_gpu = pytest.mark.skipif(
    torch.cuda.is_available(), reason='gloo stands in for NCCL without a GPU'
)


@without_gpu
def test_dist_train_without_a_gpu(launch):
    work, start, finish = launch
    logged = finish(start('dist_train.sh', 2, '--cfg-options', 'train_cfg.max_iters=2'))
    assert re.search(r'Distributed training: True', logged)
    assert re.search(r'GPU number: 2', logged)
    assert re.search(r'Iter\(train\) +\[2/2\].*loss_wkd_l: .*share_wkd_l: ', logged)
    assert len(read_checkpoint(work / 'iter_2.pth')['random_states']) == 2
    assert Config.fromfile(work / 'config.py').model_wrapper_cfg == dict(
        device_ids=None, broadcast_buffers=False, type='MMDistributedDataParallel'
    )


PARTING = """
import os

import processes
import torch
from torch import distributed, nn


def threads():
    return set(os.listdir('/proc/self/task'))


processes.leave_processes()  # of no group
before = threads()
assert processes.join_by_gloo()
started = threads() - before
assert started
model = nn.parallel.DistributedDataParallel(nn.Linear(2, 2))
model.held_by = [model]
model(torch.ones(1, 2)).sum().backward()
assert started <= threads()
del model
processes.leave_processes()
assert not distributed.is_initialized()
print('threads of the group that are left:', len(started & threads()))
"""


@without_gpu
@pytest.mark.skipif(not Path('/proc/self/task').is_dir(), reason='threads are counted in /proc')
def test_no_thread_of_a_group_outlives_a_tool(tmp_path):
    """One that did would now and then abort a process whose work is done."""
    script = tmp_path / 'parting.py'
    script.write_text(PARTING)
    output = run_apart(
        '-m', 'torch.distributed.run', '--nproc_per_node', '1', '--master_port', free_port(),
        script, '--launcher', 'pytorch', PYTHONPATH=f'{ROOT}{os.pathsep}{ROOT / "tools"}',
    )  # fmt: skip
    assert 'threads of the group that are left: 0' in output


@pytest.mark.slow
@without_gpu
def test_two_nodes_resume_and_dist_test_without_a_gpu(launch):
    """Two launchers on this machine stand for two nodes."""
    work, start, finish = launch
    nodes = [dict(NNODES='2', NODE_RANK=str(rank)) for rank in (0, 1)]
    logged = finish(*(start('dist_train.sh', 1, **node) for node in nodes))
    assert re.search(r'GPU number: 2', logged)
    assert 'coco/bbox_mAP' in logged
    assert len(read_checkpoint(work / 'iter_3.pth')['random_states']) == 2
    resumed = finish(
        start('dist_train.sh', 2, '--resume', '--cfg-options', 'train_cfg.max_iters=4')
    )
    assert 'resumed epoch: 0, iter: 3' in resumed
    assert 'not exact' not in resumed
    tested = finish(start('dist_test.sh', work / 'iter_4.pth', 2))
    assert 'coco/bbox_mAP' in tested
