"""Two gloo processes: terms of dense heads and of queries have the gradients of one process."""

from __future__ import annotations

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import init_default_scope
from torch import distributed, multiprocessing
from torch.testing import assert_close

import wkd_det  # noqa: F401  registers everything, also in the processes started here
from dense_cases import build, teacher_section
from query_cases import query_teacher, tiny_queries, without_chance
from wkd_det.testing import random_batch

LD = dict(tap='box_distributions', loss=dict(type='LDLoss'))
KD = dict(tap='dense_logits', loss=dict(type='SigmoidKDLoss'))
WKD = dict(type='WKDSigmoidLoss', cost=dict(type='ClassifierCost'))
BOX = dict(tap='query_boxes', weigh_by='teacher', loss=dict(type='QueryBoxLoss'))
TERMS = dict(
    GFL=dict(
        loss_weights=LD,
        loss_positives=KD,
        loss_places=dict(KD, places='top', top=5, average='places', loss=WKD),
        loss_images=dict(LD, weigh_by='student', average='images'),
        loss_w2=dict(LD, average='places', loss=dict(type='BoxWassersteinLoss', order=2)),
    ),
    DeformableDETR=dict(
        loss_targets=dict(tap='query_logits', layers='all', loss=WKD),
        loss_weights=BOX,
        loss_teacher=dict(BOX, weigh_by=None, pair_by='teacher', top=5),
    ),
)
REACHED = dict(
    GFL=('bbox_head.gfl_reg.weight', 'bbox_head.gfl_cls.weight'),
    DeformableDETR=('bbox_head.cls_branches.0.weight', 'bbox_head.reg_branches.1.4.weight'),
)
BOXES = (1, 4, 0, 2)
"""Objects of each image: the two processes have different numbers of positives."""


def model_of(kind, section):
    init_default_scope('mmdet')
    student = kind if kind == 'GFL' else tiny_queries(kind, ties=False)
    model = build(student, section, TERMS[kind])
    without_chance(model)
    return model


def gradients(kind, model, chosen):
    """Of the sum of the terms; the losses of the task are there with gradients of 0."""
    inner = getattr(model, 'module', model)
    batch = dict(inputs=[], data_samples=[])
    for index in chosen:
        one = random_batch([(96, 128)], boxes=BOXES[index], seed=index)
        for key, values in one.items():
            batch[key] += values
    data = inner.data_preprocessor(batch, True)
    losses = model(data['inputs'], data['data_samples'], mode='loss')
    total, _ = inner.parse_losses(losses)
    (sum(losses[name] for name in TERMS[kind]) + 0.0 * total).backward()
    return {name: one.grad.clone() for name, one in inner.named_parameters()}


def process(rank, folder, kind, section):
    """One of two; leaves its gradients in a file."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2
    )
    model = MMDistributedDataParallel(model_of(kind, section), broadcast_buffers=False)
    torch.save(gradients(kind, model, [2 * rank, 2 * rank + 1]), folder / f'rank{rank}.pth')
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.mark.parametrize('kind', TERMS)
def test_two_processes_give_the_gradients_of_one_with_twice_the_batch(
    kind, tmp_path_factory, tmp_path
):
    make = teacher_section if kind == 'GFL' else query_teacher
    section = make(tmp_path_factory.mktemp('teachers'), kind)
    multiprocessing.spawn(process, args=(tmp_path, kind, section), nprocs=2)
    found = [torch.load(tmp_path / f'rank{rank}.pth') for rank in range(2)]
    whole = gradients(kind, model_of(kind, section), range(4))
    half = gradients(kind, model_of(kind, section), [0, 1])
    differs = False
    for name, value in whole.items():
        assert torch.equal(found[0][name], found[1][name]), name
        scale = value.abs().max().item()  # sums of float32 in another order
        assert_close(found[0][name], value, rtol=1e-4, atol=1e-4 * scale + 1e-9, msg=name)
        differs |= not torch.allclose(half[name], value, rtol=1e-2, atol=1e-2 * scale)
    assert differs
    for name in REACHED[kind]:
        assert whole[name].any()
