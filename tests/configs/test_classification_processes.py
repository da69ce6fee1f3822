"""Every method for classifiers trains on digits in two gloo processes, as DDP wraps it."""

from __future__ import annotations

import copy
import datetime
import os

import pytest
import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from torch import distributed, multiprocessing

from config_catalogue.catalogue import Catalogue
from wkd_det import registry

CATALOGUE = Catalogue()
COMBINATIONS = [
    (method, pair)
    for pair in CATALOGUE.pairs
    if pair.data.startswith('digits')
    for method in CATALOGUE.methods_for(pair)
]
NAMES = [f'{method.name}-{pair.name}' for method, pair in COMBINATIONS]
ROWS = 6  # of each process and step
pytestmark = pytest.mark.usefixtures('from_the_root')


def process(rank, folder):
    """One of two; leaves what it found in a file."""
    torch.set_num_threads(1)
    os.environ['LOCAL_RANK'] = str(rank)
    distributed.init_process_group(
        'gloo',
        init_method=f'file://{folder}/meeting',
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(minutes=5),
    )
    found = {}
    for name, (config, labels, batches) in torch.load(folder / 'jobs.pth').items():
        try:
            found[name] = two_steps(rank, Config(config), labels, batches)
        except Exception as error:
            raise RuntimeError(f'{name} fails in process {rank}') from error
    torch.save(found, folder / f'rank{rank}.pth')
    distributed.barrier()
    distributed.destroy_process_group()


def two_steps(rank, config, labels, batches):
    """Train on one's own part of the batches. With find_unused_parameters=False, a parameter
    without a gradient in the first step is an error in the second."""
    torch.manual_seed(rank)  # DDP gives all the weights of the first one, and terms their banks
    model = registry.build(copy.deepcopy(config.model))
    model.init_weights()
    if any(hook.type == 'SampleTableHook' for hook in config.get('custom_hooks', [])):
        model.distiller.set_samples(labels)
    wrapped = MMDistributedDataParallel(model.train(), broadcast_buffers=False)
    optimizer = build_optim_wrapper(wrapped, copy.deepcopy(config.optim_wrapper))
    torch.manual_seed(rank)
    draws = watch_draws(model)
    losses = []
    for batch in batches:
        images, targets = model.data_preprocessor(rows_of(rank, batch), True)
        total, log = model.parse_losses(wrapped(images, targets, mode='loss'))
        model.zero_grad()
        total.backward()
        gradients = {name: one.grad for name, one in model.named_parameters() if one.requires_grad}
        missing = [name for name, value in gradients.items() if value is None]
        optimizer.optimizer.step()
        losses.append({name: float(log[name]) for name in config.model.distill})
    banks = {name: value for name, value in model.named_buffers() if '.banks.' in name}
    return dict(
        losses=losses,
        missing=missing,
        gradients=fingerprints(gradients),
        weights=fingerprints(dict(model.named_parameters())),
        banks=fingerprints(banks),
        paths=draws,
    )


def rows_of(rank, batch):
    """The part of a process, of images and labels alone or with what else belongs to them."""
    rows = slice(ROWS * rank, ROWS * (rank + 1))
    if isinstance(batch, dict):
        return {key: value[rows] for key, value in batch.items()}
    return [value[rows] for value in batch]


def watch_draws(model):
    """List of the paths that taps draw, which is filled from now on."""
    drawn = []
    for term in model.distiller.terms.values():
        if hasattr(term.tap, 'draw'):
            term.tap.draw = keeping(term.tap.draw, drawn)
    return drawn


def keeping(draw, drawn):
    def kept():
        paths = draw()
        drawn.append([tuple(path) for path in paths])
        return paths

    return kept


def fingerprints(values):
    """Two sums of the bits of each tensor, which tell whether it is the same elsewhere."""
    found = {}
    for name, value in values.items():
        bits = value.detach().flatten().view(torch.uint8).long()
        found[name] = int(bits.sum()), int((bits * torch.arange(1, len(bits) + 1)).sum())
    return found


@pytest.fixture(scope='module')
def ranks(tmp_path_factory, configs_of):
    folder = tmp_path_factory.mktemp('processes')
    torch.manual_seed(0)
    teacher = Config.fromfile('configs/classification/digits/baseline/resnet20_teacher.py').model
    torch.save(registry.build(teacher).state_dict(), folder / 'teacher.pth')
    jobs, loaded = {}, {}
    for name, (method, pair) in zip(NAMES, COMBINATIONS):
        config = copy.deepcopy(configs_of(pair)[method.name])
        if 'teacher' in config.model:
            config.model.teacher.checkpoint = str(folder / 'teacher.pth')
        dataset = config.train_dataloader.dataset
        if str(dataset) not in loaded:
            loaded[str(dataset)] = batches_of(dataset)
        keys = ('model', 'optim_wrapper', 'custom_hooks')
        kept = {key: value for key, value in config.to_dict().items() if key in keys}
        jobs[name] = kept, *loaded[str(dataset)]
    torch.save(jobs, folder / 'jobs.pth')
    multiprocessing.spawn(process, args=(folder,), nprocs=2)
    return [torch.load(folder / f'rank{rank}.pth', weights_only=True) for rank in (0, 1)]


def batches_of(dataset):
    """Labels of all digits, and two batches for both processes."""
    loader = Runner.build_dataloader(
        dict(
            batch_size=2 * ROWS,
            num_workers=0,
            dataset=copy.deepcopy(dataset),
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='collate_images'),
        ),
        seed=0,
    )
    batches = [batch for _, batch in zip(range(2), loader)]
    return torch.as_tensor(loader.dataset.labels()), batches


@pytest.mark.parametrize('name', NAMES)
def test_two_steps_in_two_processes(ranks, name):
    own, other = (found[name] for found in ranks)
    assert own['missing'] == other['missing'] == []
    for key in ('gradients', 'weights', 'banks', 'paths'):
        assert own[key] == other[key], key
    for found in (own, other):
        for step in found['losses']:
            assert all(value != 0 for value in step.values()), step
    assert own['losses'] != other['losses']  # each has its own images


def test_there_are_banks_and_paths_to_compare(ranks):
    with_banks = {name.partition('-digits')[0] for name in NAMES if ranks[0][name]['banks']}
    assert {'crd', 'wcord'} <= with_banks
    with_paths = {name.partition('-digits')[0] for name in NAMES if ranks[0][name]['paths']}
    assert {'fcfd', 'fcfd-wkd'} <= with_paths
