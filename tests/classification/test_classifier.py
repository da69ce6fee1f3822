"""The plain classifier: losses, predictions, weights from everywhere, labels that are wrong."""

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from mmdet.registry import MODELS
from mmengine.runner.checkpoint import load_state_dict

from wkd_det.classification.classifier import network_weights
from wkd_det.classification.networks.zoo import CifarModel
from wkd_det.testing import classifier_config, image_batch


def build(config, seed=0):
    torch.manual_seed(seed)
    return MODELS.build(copy.deepcopy(config))


def test_loss_is_the_cross_entropy_and_predictions_are_the_softmax():
    model = build(classifier_config(label_smoothing=0.1)).eval()
    images, labels = model.data_preprocessor(image_batch(), False)
    logits = model(images)
    loss = model(images, labels, mode='loss')
    assert list(loss) == ['loss_ce']
    assert torch.equal(loss['loss_ce'], F.cross_entropy(logits, labels, label_smoothing=0.1))
    found = model.val_step(image_batch())
    assert torch.equal(torch.stack([one['pred_score'] for one in found]), logits.softmax(dim=1))
    assert torch.equal(torch.stack([one['gt_label'] for one in found]), labels)


def test_calling_it_gives_the_logits_of_the_network():
    torch.manual_seed(0)
    network = CifarModel('resnet8', 10).eval()
    model = build(classifier_config()).eval()
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(model(images), network(images))


def test_images_are_normalised_in_units_of_the_pixels():
    section = dict(type='ImagePreprocessor', mean=[0, 51, 102], std=[255, 51, 1])
    model = build(classifier_config(data_preprocessor=section))
    images = torch.full((1, 3, 2, 2), 102, dtype=torch.uint8)
    normalised, _ = model.data_preprocessor([images, torch.tensor([3])])
    assert torch.allclose(normalised[0, :, 0, 0], torch.tensor([0.4, 1.0, 0.0]))
    assert not any('preprocessor' in key for key in model.state_dict())


@pytest.mark.parametrize('label', [-1, 10])
def test_label_outside_the_classes(label):
    model = build(classifier_config())
    images, labels = image_batch()
    labels[2] = label
    message = rf'labels must lie in \[0, 10\).*got {label} \(image 2 of the batch\)'
    with pytest.raises(ValueError, match=message):
        model.val_step([images, labels])


# Weights


@pytest.mark.parametrize(
    'plain',
    [
        lambda: CifarModel('resnet8', 10),
        lambda: torchvision.models.mobilenet_v2(num_classes=10),
        lambda: timm.create_model('vit_tiny_patch16_224', num_classes=10, depth=2, embed_dim=24),
    ],
    ids=['cifar', 'torchvision', 'timm'],
)
def test_checkpoint_loads_strictly_in_the_plain_network(plain, tmp_path):
    torch.manual_seed(1)
    network = plain()
    model = build(classifier_config())
    model.network = network
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'epoch_1.pth')
    torch.manual_seed(2)
    other = plain()
    other.load_state_dict(network_weights(tmp_path / 'epoch_1.pth'), strict=True)
    values = network.state_dict()
    assert all(torch.equal(value, values[key]) for key, value in other.state_dict().items())


@pytest.mark.parametrize('holder', [None, 'model', 'state_dict'])
def test_weights_of_a_bare_network(holder, tmp_path):
    torch.manual_seed(3)
    state = CifarModel('resnet8', 10).state_dict()
    torch.save(state if holder is None else {holder: state}, tmp_path / 'bare.pth')
    model = build(classifier_config(weights=str(tmp_path / 'bare.pth')))
    assert not torch.equal(model.network.fc.weight, state['fc.weight'])
    model.init_weights()
    assert torch.equal(model.network.fc.weight, state['fc.weight'])


def test_load_from_of_a_bare_network_is_not_ignored():
    torch.manual_seed(3)
    state = CifarModel('resnet8', 10).state_dict()
    model = build(classifier_config())
    load_state_dict(model, state, strict=True)  # of mmengine, as load_from uses it
    assert torch.equal(model.network.fc.weight, state['fc.weight'])
    assert model.load_state_dict(state).missing_keys == []


def test_init_weights_leaves_a_network_without_weights_alone():
    config = classifier_config()
    config['network'] = dict(type='TimmModel', name='vit_tiny_patch16_224', depth=1, num_classes=10)
    model = build(config)
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    model.init_weights()  # timm's own init_weights would draw anew
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_new_classifier_keeps_its_random_rows(tmp_path):
    torch.manual_seed(3)
    state = CifarModel('resnet8', 7).state_dict()
    torch.save(state, tmp_path / 'seven.pth')
    config = classifier_config(weights=str(tmp_path / 'seven.pth'))
    with pytest.raises(ValueError, match=r'fc.weight \(7, 64\) instead of \(10, 64\)'):
        build(config).init_weights()
    model = build(dict(config, new_classifier=True))
    own = model.network.fc.weight.clone()
    model.init_weights()
    assert torch.equal(model.network.fc.weight, own)
    assert torch.equal(model.network.conv1.weight, state['conv1.weight'])
    del state['conv1.weight']
    torch.save(state, tmp_path / 'seven.pth')
    with pytest.raises(ValueError, match='missing keys: conv1.weight'):
        model.init_weights()


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(label_smoothing=1.0), r'label_smoothing must lie in \[0, 1\), got 1.0'),
        (dict(data_preprocessor=dict(type='ImagePreprocessor', std=[1, 0, 1])), 'std positive'),
        (dict(data_preprocessor=dict(type='ImagePreprocessor', mean=[1])), 'one value a channel'),
    ],
)
def test_wrong_options(changes, message):
    with pytest.raises(ValueError, match=message):
        build(classifier_config(**changes))


def test_unknown_mode():
    with pytest.raises(ValueError, match="'tensor', 'loss' or 'predict', got 'train'"):
        build(classifier_config())(torch.rand(1, 3, 32, 32), mode='train')
