"""Terms of classifiers in two gloo processes: gradients for all parameters, banks that agree."""

from __future__ import annotations

import os
from typing import ClassVar

import numpy as np
import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from torch import distributed, multiprocessing, nn

import wkd_det  # noqa: F401  registers everything, also in the processes started here
from wkd_det import registry
from wkd_det.classification.arrays import ArraysDataset
from wkd_det.classification.data import collate_images
from wkd_det.classification.storing import store_teacher
from wkd_det.classification.targets import Targets
from wkd_det.connectors import Connector
from wkd_det.losses.base import Loss
from wkd_det.ops.processes import gather_rows
from wkd_det.testing import classifier_config, image_batch, save_classifier

SAMPLES = 12
ROWS = (4, 3)  # of the two processes


class Bank(Loss):
    """Keeps the last features of each sample, of all processes."""

    takes: ClassVar[str] = 'features'
    mixes_widths: ClassVar[bool] = True
    needs = ('index', 'target')

    def __init__(self, *, student_channels):
        super().__init__()
        self.layer = nn.Linear(student_channels, 2)
        self.register_buffer('bank', torch.zeros(SAMPLES, 2))

    def forward(self, student, teacher, index, target):
        """Scalar."""
        own = self.layer(student.flatten(1))
        rows, values = gather_rows(index, own)
        loss = (own - self.bank[index] - 1).square().mean()
        self.bank[rows] = values
        return loss


class Alone(Loss):
    """Has a classifier of its own, and no teacher."""

    takes: ClassVar[str] = 'features'
    needs_teacher: ClassVar[bool] = False
    needs = ('target', 'student_logits')

    def __init__(self, *, student_channels, num_classes):
        super().__init__()
        self.layer = nn.Linear(student_channels, num_classes)

    def forward(self, student, target, student_logits):
        """Scalar."""
        logits = self.layer(student.mean(dim=(2, 3))) + student_logits
        return nn.functional.cross_entropy(logits, target)


class Branch(Connector):
    """Pools and classifies."""

    def __init__(self, student_channels, teacher_channels):
        super().__init__()
        self.layer = nn.Linear(student_channels, teacher_channels)

    def forward(self, features, size=None):
        """Logits ``(N, K)``."""
        return self.layer(features.mean(dim=(2, 3)))


FITNET = dict(type='FitNetLoss')
TERMS = dict(
    loss_bank=dict(tap='pool', loss=dict(type=Bank)),
    loss_alone=dict(tap='middle', loss=dict(type=Alone)),
    loss_stages=dict(
        tap='stages', modules='stages', connector=dict(type='ConvConnector'), loss=FITNET
    ),
    loss_branch=dict(
        tap='branch', modules='stages', connector=dict(type=Branch), loss=dict(type='KDLoss')
    ),
    loss_cam=dict(tap='class_activation', loss=FITNET),
    loss_crossed=dict(
        tap='crossed_logits', connector=dict(type='BridgeConnector'), loss=dict(type='KDLoss')
    ),
    loss_bridged=dict(tap='crossed_features', connector='loss_crossed', loss=FITNET),
    loss_denoised=dict(tap='last', loss=dict(type='DiffKDLoss', hidden_channels=8)),
)


def process(rank, folder, teacher):
    """One of two; leaves what it found in a file."""
    torch.set_num_threads(1)
    os.environ['LOCAL_RANK'] = str(rank)
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2
    )
    found = {broadcast: steps(rank, teacher, broadcast) for broadcast in (False, True)}
    found['stored'] = [stored_step(rank, folder, teacher, keep) for keep in (False, True)]
    torch.save(found, folder / f'rank{rank}.pth')
    distributed.barrier()
    distributed.destroy_process_group()


def steps(rank, teacher, broadcast):
    """Three steps; with find_unused_parameters=False, a parameter without a gradient is an error
    in the next one. In the last step all terms with a teacher are off."""
    torch.manual_seed(0)
    config = classifier_config(image_size=32, teacher=teacher, distill=TERMS)
    model = registry.build(dict(config, type='DistilledClassifier'))
    model.init_weights()
    wrapped = MMDistributedDataParallel(model.train(), broadcast_buffers=broadcast)
    model.distiller.set_samples(torch.zeros(SAMPLES, dtype=torch.long))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    banks = []
    for step in range(3):
        images, labels = model.data_preprocessor(image_batch(ROWS[rank], seed=rank + step), True)
        indices = torch.arange(ROWS[rank]) + 4 * rank + step
        if step == 2:
            for name in TERMS.keys() - {'loss_alone'}:
                model.distiller.set_scale(name, 0.0)
        losses = wrapped(images, Targets(labels, indices=indices), mode='loss')
        total, _ = model.parse_losses(losses)
        optimizer.zero_grad()
        total.backward()
        gradients = {name: one.grad.clone() for name, one in model.named_parameters()}
        optimizer.step()
        banks.append(model.distiller.terms['loss_bank'].loss.bank.clone())
    return dict(banks=banks, gradients=gradients, weights=dict(model.named_parameters()))


def stored_step(rank, folder, teacher, keep):
    """Gradients of a step with the teacher at work, or with what is stored of it."""
    model = kd_model(teacher).eval()  # without statistics of the process's own half
    wrapped = MMDistributedDataParallel(model)
    torch.manual_seed(1)
    dataset = ArraysDataset(**AUGMENTED, path=f'{folder}/images.npz', stored_teacher=str(folder))
    batch = collate_images(dataset.__getitems__(list(range(rank, SAMPLES, 2))))
    if not keep:
        del batch['stored']
    losses = wrapped(*model.data_preprocessor(batch, True), mode='loss')
    model.parse_losses(losses)[0].backward()
    return {name: one.grad for name, one in model.named_parameters()}


def kd_model(teacher):
    torch.manual_seed(0)
    term = dict(tap='logits', loss=dict(type='KDLoss'))
    config = classifier_config(image_size=32, teacher=teacher, distill=dict(loss_kd=term))
    model = registry.build(dict(config, type='DistilledClassifier'))
    model.init_weights()
    return model


def store(folder, teacher):
    """Images and the logits of their augmentations."""
    images, labels = image_batch(SAMPLES)
    names = [f'class {label}' for label in range(10)]
    path = folder / 'images.npz'
    arrays = dict(train_images=images.permute(0, 2, 3, 1).numpy(), train_labels=labels.numpy())
    np.savez(path, classes=names, **arrays)
    dataset = ArraysDataset(str(path), **AUGMENTED)
    store_teacher(kd_model(teacher), dataset, folder, say=lambda line: None)


AUGMENTED = dict(
    split='train',
    batched=True,
    augmentations=2,
    transforms=[dict(type='RandomCrop', size=32, padding=4)],
)


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp('processes')
    teacher = save_classifier(classifier_config('resnet8x4'), folder / 'teacher.pth')
    store(folder, teacher)
    multiprocessing.spawn(process, args=(folder, teacher), nprocs=2)
    return [torch.load(folder / f'rank{rank}.pth', weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize('broadcast', [False, True])
def test_a_bank_has_the_rows_of_both(ranks, broadcast):
    """Whether or not DDP copies the buffers of the first process over those of the other."""
    own, other = (found[broadcast]['banks'] for found in ranks)
    assert all(torch.equal(one, two) for one, two in zip(own, other))
    filled = [bank.abs().sum(1).nonzero().flatten().tolist() for bank in own]
    assert filled == [list(range(7)), list(range(8)), list(range(8))]


@pytest.mark.parametrize('broadcast', [False, True])
def test_networks_of_terms_train_alike(ranks, broadcast):
    own, other = (found[broadcast] for found in ranks)
    for name, value in own['weights'].items():
        assert torch.equal(value, other['weights'][name]), name
    for name, value in own['gradients'].items():
        assert torch.equal(value, other['gradients'][name]), name
        term = name.split('.')[2] if name.startswith('distiller.') else 'loss_alone'
        assert (value.abs().sum() > 0) == (term == 'loss_alone'), name


def test_a_stored_teacher_says_what_the_live_one_does_in_each_process(ranks):
    (live, stored), (_, other) = (rank['stored'] for rank in ranks)
    for name, value in live.items():
        # Of the first rank's images; float32 sums in another order, through a whole network.
        torch.testing.assert_close(stored[name], value, rtol=1e-3, atol=1e-5)
        assert torch.equal(stored[name], other[name])  # the mean of both
