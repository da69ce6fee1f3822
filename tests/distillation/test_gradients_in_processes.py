"""Several teachers and weights by gradients in two gloo processes: as in one with both halves."""

import os

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.model import MMDistributedDataParallel
from torch import distributed, multiprocessing, nn

import wkd_det  # noqa: F401  registers everything, also in the processes started here
from wkd_det.testing import classifier_config, image_batch, save_classifier

SHARE = dict(type='GradientShare', share=0.3, every=2, momentum=0.5)
TERMS = dict(
    loss_kd=dict(tap='logits', teacher='wide', loss=dict(type='KDLoss', loss_weight=SHARE)),
    loss_fit=dict(
        tap='layer2',
        teacher='deep',
        connector=dict(type='ConvConnector'),
        loss=dict(type='FitNetLoss', loss_weight=SHARE),
    ),
)


def build(teachers):
    """A student whose passes are exact over any split of the batch."""
    torch.manual_seed(0)
    config = classifier_config(teachers=teachers, distill=TERMS, image_size=32)
    model = MODELS.build(dict(config, type='DistilledClassifier'))
    model.init_weights()
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    return model


def steps(wrapped, model, rows):
    """Three steps, two of them measured; a parameter that DDP misses is an error in the next."""
    found = []
    for step in range(3):
        images, labels = model.data_preprocessor(image_batch(4, seed=step), True)
        losses = wrapped(images[rows], labels[rows], mode='loss')
        model.distiller.log_gradients()
        total, log = model.parse_losses(losses)
        model.zero_grad()
        total.backward()
        found.append(
            dict(
                weights={name: log[f'weight_{name}'] for name in ('kd', 'fit')},
                ratios={name: log[f'gradient_{name}'] for name in ('kd', 'fit')} if step else {},
                gradients={name: one.grad.clone() for name, one in model.named_parameters()},
            )
        )
    return found


def process(rank, folder, teachers):
    """One of two; leaves what it found in a file."""
    torch.set_num_threads(1)
    os.environ['LOCAL_RANK'] = str(rank)
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2
    )
    model = build(teachers)
    wrapped = MMDistributedDataParallel(model, broadcast_buffers=False)
    torch.save(steps(wrapped, model, [2 * rank, 2 * rank + 1]), folder / f'rank{rank}.pth')
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    """Of both processes, and of one with the whole batch."""
    folder = tmp_path_factory.mktemp('processes')
    teachers = dict(
        wide=save_classifier(classifier_config('resnet8x4'), folder / 'wide.pth'),
        deep=save_classifier(classifier_config('resnet14'), folder / 'deep.pth', seed=2),
    )
    multiprocessing.spawn(process, args=(folder, teachers), nprocs=2)
    ranks = [torch.load(folder / f'rank{rank}.pth', weights_only=True) for rank in (0, 1)]
    model = build(teachers)
    return ranks, steps(model, model, [0, 1, 2, 3])


def test_both_have_the_same_weights_to_the_bit(found):
    (one, other), _ = found
    for own, also in zip(one, other, strict=True):
        for kind in ('weights', 'ratios', 'gradients'):
            assert all(torch.equal(value, also[kind][name]) for name, value in own[kind].items())


def test_they_are_those_of_one_process_with_twice_the_batch(found):
    (one, _), whole = found
    for own, expected in zip(one, whole, strict=True):
        for kind in ('weights', 'ratios', 'gradients'):
            for name, value in expected[kind].items():
                # float32 sums in another order, through a whole network
                torch.testing.assert_close(own[kind][name], value, rtol=1e-3, atol=1e-5)
    assert whole[0]['weights'] == whole[1]['weights'] != whole[2]['weights']
