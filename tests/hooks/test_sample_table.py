"""The table of samples in mmengine's runner, with a bank that is resumed exactly."""

from __future__ import annotations

import time
from typing import ClassVar

import pytest
import torch
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Subset

from wkd_det import registry
from wkd_det.classification.data import ImageDataset, collate_images
from wkd_det.classification.targets import Sample
from wkd_det.losses.base import Loss
from wkd_det.testing import classifier_config, save_classifier

SAMPLES = 8


@pytest.fixture(autouse=True)
def _no_pause_between_epochs(monkeypatch):
    """mmengine sleeps for two seconds when the data start again."""
    monkeypatch.setattr(time, 'sleep', lambda seconds: None)


class BankLoss(Loss):
    """Compares features with those that a sample of another class had last time."""

    takes: ClassVar[str] = 'features'
    needs = ('index', 'target')

    def __init__(self, *, num_samples, teacher_channels, student_channels):
        super().__init__()
        self.layer = nn.Linear(student_channels, 4)
        self.register_buffer('bank', torch.zeros(num_samples, 4))
        self.labels = None

    def set_samples(self, labels):
        """Keep the labels."""
        self.labels = labels

    def forward(self, student, teacher, index, target):
        """Scalar."""
        own = self.layer(student.flatten(1))
        others = (self.labels[None] != target[:, None]).float()
        drawn = torch.multinomial(others, 2)
        loss = (own[:, None] - self.bank[drawn] - 1).square().mean()
        self.bank[index] = own.detach()
        return loss


class Noise(ImageDataset):
    """Images of noise, drawn once."""

    def __init__(self, **options):
        super().__init__([f'class {label}' for label in range(10)], **options)
        generator = torch.Generator().manual_seed(0)
        self._images = torch.randint(
            0, 256, (SAMPLES, 3, 32, 32), generator=generator, dtype=torch.uint8
        )

    def __getitem__(self, index):
        return (self._images[index], index % 3, index)

    def labels(self):
        return [index % 3 for index in range(SAMPLES)]


def collate(samples):
    return collate_images([Sample(*sample) for sample in samples])


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp('teacher')
    return save_classifier(classifier_config('resnet8'), folder / 'teacher.pth')


def model_of(teacher, loss):
    torch.manual_seed(0)
    distill = dict(loss_x=dict(tap='pool', loss=loss))
    config = classifier_config(image_size=32, teacher=teacher, distill=distill)
    return registry.build(dict(config, type='DistilledClassifier'))


def runner_of(folder, model, dataset, epochs=2, hook=True, resume=None):
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=4, shuffle=True, collate_fn=collate, num_workers=0
    )
    hooks = [dict(type='SampleTableHook')] if hook else []
    return Runner(
        model=model,
        work_dir=str(folder),
        train_dataloader=loader,
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
        default_hooks=dict(checkpoint=dict(type='ExactCheckpointHook', interval=1)),
        custom_hooks=hooks,
        randomness=dict(seed=1),
        load_from=None if resume is None else str(resume),
        resume=resume is not None,
        experiment_name=f'{folder.name}_{id(model)}',
        log_level='ERROR',
    )


BANK = dict(type=BankLoss, num_samples=SAMPLES)


def test_a_bank_is_resumed_exactly(tmp_path, teacher):
    dataset = Noise(with_index=True)
    whole = runner_of(tmp_path / 'whole', model_of(teacher, BANK), dataset)
    whole.train()
    middle = tmp_path / 'whole/epoch_1.pth'
    rest = runner_of(tmp_path / 'rest', model_of(teacher, BANK), dataset, resume=middle)
    rest.train()
    own, other = whole.model.state_dict(), rest.model.state_dict()
    assert all(torch.equal(value, other[key]) for key, value in own.items())
    bank = 'distiller.terms.loss_x.loss.bank'
    before = torch.load(middle, weights_only=False)['state_dict'][bank]
    assert before.abs().sum() > 0
    assert not torch.equal(before, own[bank])
    assert whole.model.distiller.terms['loss_x'].loss.labels.tolist() == dataset.labels()
    plain = registry.build(classifier_config())
    missing, unexpected = plain.load_state_dict(own, strict=False)
    assert missing == []
    assert all(key.startswith('distiller.') for key in unexpected)


def test_a_part_of_a_data_set_has_the_table_of_the_whole(tmp_path, teacher):
    dataset = Noise(with_index=True)
    model = model_of(teacher, BANK)
    runner_of(tmp_path, model, Subset(dataset, [1, 2, 5, 7]), epochs=1).train()
    loss = model.distiller.terms['loss_x'].loss
    assert loss.labels.tolist() == dataset.labels()
    assert sorted(loss.bank.abs().sum(1).nonzero().flatten().tolist()) == [1, 2, 5, 7]


class Bare(torch.utils.data.Dataset):
    """Without a table."""

    def __len__(self):
        return SAMPLES

    def __getitem__(self, index):
        return torch.zeros(3, 32, 32, dtype=torch.uint8), 0, index


@pytest.mark.parametrize(
    ('loss', 'dataset', 'hook', 'message'),
    [
        (dict(type='FitNetLoss'), Noise, True, 'no term of the model keeps track of samples'),
        (BANK, Bare, True, r'the training data set Bare has no labels\(\), the label of every sam'),
        (BANK, Noise, True, 'the training data set Noise gives no indices: set with_index=True'),
        (BANK, Noise, False, r'BankLoss needs the label of every training sample: add dict\(type='),
    ],
)
def test_mistakes_are_errors_before_the_first_iteration(
    tmp_path, teacher, loss, dataset, hook, message
):
    runner = runner_of(tmp_path, model_of(teacher, loss), dataset(), epochs=1, hook=hook)
    with pytest.raises(ValueError, match=message):
        runner.train()
