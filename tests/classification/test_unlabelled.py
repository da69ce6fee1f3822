"""Classifiers on images without labels: data sets, losses, a training run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image

from tiny_models import train
from wkd_det import registry
from wkd_det.classification.data import collate_images
from wkd_det.classification.targets import Sample
from wkd_det.classification.unlabelled import UnlabelledImagesDataset, WithoutLabels
from wkd_det.testing import (
    class_logits_term,
    classifier_config,
    image_batch,
    module_term,
    save_classifier,
)

ROOT = Path(__file__).parents[2]


def save(path, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), shade, dtype=np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / 'labelled/ant/1.png', 10)
    save(tmp_path / 'labelled/bee/1.png', 20)
    save(tmp_path / 'heap/b.png', 30)
    save(tmp_path / 'heap/deep/a.png', 40)
    save(tmp_path / 'heap/.hidden/x.png', 50)
    return tmp_path


def test_images_of_a_folder(folder):
    dataset = UnlabelledImagesDataset(str(folder / 'heap'))
    assert len(dataset) == 2
    assert [label for _, label in (dataset[0], dataset[1])] == [-1, -1]
    assert [int(dataset[index][0][0, 0, 0]) for index in range(2)] == [30, 40]
    assert dataset.labels() == [-1, -1]
    assert dataset.name(1).endswith('heap/deep/a.png')
    with pytest.raises(FileNotFoundError, match='^no images in .*/nothing'):
        UnlabelledImagesDataset(str(folder / 'nothing'))


def test_a_data_set_without_its_labels(folder):
    section = dict(type='ImageFolderDataset', data_root=str(folder / 'labelled'))
    plain, bare = registry.build(section, 'DATASETS'), WithoutLabels(section)
    assert len(bare) == len(plain) == 2
    assert bare.metainfo == plain.metainfo
    assert bare.labels() == [-1, -1]
    for index in range(2):
        image, label = bare[index]
        assert torch.equal(image, plain[index][0])
        assert label == -1
    strong = WithoutLabels(dict(section, strong_transforms=[], with_index=True))[1]
    assert isinstance(strong, Sample)
    assert (strong.label, strong.index) == (-1, 1)
    assert strong.strong is not None


def test_images_that_do_not_decode_are_skipped(folder):
    (folder / 'heap/c.png').write_bytes(b'nothing')
    dataset = UnlabelledImagesDataset(str(folder / 'heap'), on_bad_image='skip')
    assert dataset[1] is None
    (folder / 'labelled/ant/0.png').write_bytes(b'nothing')
    section = dict(
        type='ImageFolderDataset', data_root=str(folder / 'labelled'), on_bad_image='skip'
    )
    assert WithoutLabels(section)[0] is None


@pytest.mark.parametrize('scope', ['mmengine', 'mmdet'])
def test_joined_with_labelled_images(folder, scope):
    init_default_scope(scope)
    labelled = dict(type='ImageFolderDataset', data_root=str(folder / 'labelled'))
    heap = dict(type='UnlabelledImagesDataset', data_root=str(folder / 'heap'))
    dataset = DATASETS.build(
        dict(type='ConcatDataset', ignore_keys=['classes'], datasets=[labelled, heap])
    )
    assert dataset.metainfo['classes'] == ('ant', 'bee')
    images, labels = collate_images([dataset[index] for index in range(4)])
    assert images.shape == (4, 3, 8, 8)
    assert labels.tolist() == [0, 1, -1, -1]


def build(folder, **terms):
    section = save_classifier(classifier_config(), folder / 'teacher.pth')
    config = classifier_config(
        type='DistilledClassifier',
        data_preprocessor=dict(type='ImagePreprocessor', allow_unlabelled=True),
        teacher=section,
        distill=terms,
        image_size=32,
    )
    torch.manual_seed(0)
    model = registry.build(config)
    model.init_weights()
    return model.eval()  # batch normalisation by running statistics


def losses_of(model, labels, images=None):
    own, _ = image_batch(len(labels))
    batch = [own if images is None else images, torch.tensor(labels)]
    return model(*model.data_preprocessor(batch, True), mode='loss')


TERMS = dict(
    loss_wkd_l=class_logits_term(separated=False),
    loss_wkd_f=module_term(),
    loss_dkd=dict(tap='logits', loss=dict(type='DKDLoss')),
)


def test_the_task_and_terms_with_classes_see_labelled_images_alone(tmp_path):
    model = build(tmp_path, **TERMS)
    mixed = losses_of(model, [3, -1, 5, -1])
    images, _ = image_batch(4)
    alone = losses_of(model, [3, 5], images[[0, 2]])
    every = losses_of(model, [3, 1, 5, 2])
    for name in ('loss_ce', 'loss_dkd'):
        torch.testing.assert_close(mixed[name], alone[name])
        assert not torch.allclose(mixed[name], every[name])
    for name in ('loss_wkd_l', 'loss_wkd_f'):
        torch.testing.assert_close(mixed[name], every[name])
        assert not torch.allclose(mixed[name], alone[name])


def test_a_batch_without_labels(tmp_path):
    model = build(tmp_path, **TERMS)
    losses = losses_of(model, [-1] * 4)
    assert losses['loss_ce'] == losses['loss_dkd'] == 0
    assert losses['loss_wkd_l'] > 0
    model.parse_losses(losses)[0].backward()
    parameters = dict(model.named_parameters())
    assert [name for name, one in parameters.items() if one.grad is None] == []
    assert all(one.grad.isfinite().all() for one in parameters.values())
    assert parameters['network.conv1.weight'].grad.abs().sum() > 0


def tiny_run(folder, alternate=False):
    config = Config.fromfile(ROOT / 'configs/classification/digits/wkd-lf_digits_unlabelled.py')
    section = save_classifier(classifier_config('resnet14'), folder / 'teacher.pth')
    torch.save(dict(state_dict=torch.load(section['checkpoint'])['state_dict']), folder / 't.pth')
    config.model.teacher = dict(section, checkpoint=str(folder / 't.pth'))
    config.merge_from_dict(
        {
            'train_cfg.max_iters': 4,
            'train_cfg.val_interval': 4,
            'train_dataloader.batch_size': 4,
            'train_dataloader.sampler.batch_size': 4,
            'train_dataloader.sampler.alternate': alternate,
            'custom_hooks': [dict(type='EMAHook')],
            'default_hooks.checkpoint.interval': 2,
            'default_hooks.checkpoint.max_keep_ckpts': -1,
            'default_hooks.logger.interval': 1,
            'env_cfg.dist_cfg.backend': 'gloo',
        }
    )
    return config


@pytest.mark.parametrize('alternate', [False, True], ids=['mixed', 'alternating'])
def test_a_run_on_the_digits_goes_on_exactly(tmp_path, alternate):
    init_default_scope('mmdet')
    config = tiny_run(tmp_path, alternate)
    whole = train(config, tmp_path / f'whole_{alternate}')
    first = str(tmp_path / f'whole_{alternate}/iter_2.pth')
    resumed = train(config, tmp_path / f'resumed_{alternate}', resume=True, load_from=first)
    values = resumed.model.state_dict()
    assert all(torch.equal(value, values[key]) for key, value in whole.model.state_dict().items())
    ce = whole.message_hub.get_scalar('train/loss_ce').data[0]
    assert len(ce) == 4
    assert (ce == 0).tolist() == ([False, True] * 2 if alternate else [False] * 4)
    assert whole.message_hub.get_scalar('val/accuracy/top1').current() > 0
    assert whole.train_loop.dataloader.dataset.metainfo['classes'][3] == '3'
