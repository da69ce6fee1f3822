"""DiffKD, OFA, DPK and FCFD by config: a step of a tiny pair, its checkpoint, its student."""

from __future__ import annotations

import copy

import pytest
import torch
from mmdet.registry import MODELS

from wkd_det.testing import classifier_config, image_batch, save_classifier


def branches(loss, modules='stages', **options):
    connector = dict(type='OFABranch', **options)
    return dict(
        loss_own=dict(tap='logits', loss=loss),
        loss_branches=dict(tap='branch', modules=modules, connector=connector, loss=loss),
    )


METHODS = {
    'DiffKD': dict(
        loss_features=dict(tap='last', loss=dict(type='DiffKDLoss', hidden_channels=16)),
        loss_logits=dict(tap='logits', loss=dict(type='DiffKDLogitLoss')),
    ),
    'OFA': branches(dict(type='OFALoss', eps=1.5), width=48),
    'branches with WKD-L': branches(dict(type='WKDLogitLoss', cost=dict(type='ClassifierCost'))),
    'DPK': dict(
        loss_dpk=dict(
            tap='pyramid',
            modules='stages',
            loss=dict(type='DPKLoss', width=16, num_heads=2, max_side=4),
        )
    ),
    'FCFD': dict(
        loss_kd=dict(tap='logits', loss=dict(type='KDLoss', temperature=4.0)),
        loss_function=dict(
            tap='crossed_logits',
            connector=dict(type='BridgeConnector'),
            loss=dict(type='KDLoss', temperature=4.0),
        ),
        loss_appearance=dict(
            tap='crossed_features',
            connector='loss_function',
            loss=dict(type='FitNetLoss', loss_weight=10.0),
        ),
    ),
}
EACH = pytest.mark.parametrize('method', METHODS)


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    """A wider network, weights on disk."""
    folder = tmp_path_factory.mktemp('teacher')
    return save_classifier(classifier_config('resnet8x4'), folder / 'teacher.pth')


def build(teacher, distill, seed=0, **changes):
    torch.manual_seed(seed)
    config = classifier_config(
        **dict(dict(image_size=16, teacher=teacher, distill=distill), **changes)
    )
    model = MODELS.build(copy.deepcopy(dict(config, type='DistilledClassifier')))
    model.init_weights()
    return model.train()


def losses_of(model, seed=0, size=16):
    images, labels = model.data_preprocessor(image_batch(size=size), True)
    torch.manual_seed(seed)
    return model.loss(images, labels)


@EACH
def test_a_step_a_checkpoint_and_the_student_alone(method, teacher):
    distill = METHODS[method]
    model = build(teacher, distill)
    losses = losses_of(model)
    assert losses.keys() == {'loss_ce', *distill}
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert all(p.grad.any() for p in model.network.parameters())
    own = list(model.distiller.parameters())
    reached = sum(p.grad.any().item() for p in own)
    assert reached > len(own) / 3  # of paths and of biases before a normalisation some are not
    optimizer.step()

    state = model.state_dict()
    resumed = build(teacher, distill, seed=1)
    assert resumed.load_state_dict(state) == ([], [])
    values, same = losses_of(model, seed=2), losses_of(resumed, seed=2)
    assert all(torch.equal(value, same[name]) for name, value in values.items())

    plain = MODELS.build(classifier_config())
    missing, unexpected = plain.load_state_dict(state, strict=False)
    assert missing == []
    assert unexpected
    assert all(key.startswith('distiller.terms.') for key in unexpected)


@EACH
def test_half_precision(method, teacher):
    model = build(teacher, METHODS[method])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = losses_of(model)
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_branches_of_a_student_of_tokens(teacher):
    pytest.importorskip('timm')
    network = dict(
        type='TimmModel', name='vit_tiny_patch16_224', num_classes=10, img_size=32, patch_size=8,
        embed_dim=16, depth=4, num_heads=2,
    )  # fmt: skip
    distill = branches(dict(type='KDLoss'), ['blocks.1', 'blocks.3'], grid=2)
    model = build(teacher, distill, network=network, image_size=32)
    connectors = model.distiller.terms['loss_branches'].connectors
    assert [len(branch.layers) for branch in connectors] == [2, 2]  # a merging and a block
    losses = losses_of(model, size=32)
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.distiller.parameters())
    assert model.network.blocks[0].attn.qkv.weight.grad.any()
