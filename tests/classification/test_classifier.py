"""The plain classifier: losses, predictions, weights from everywhere, its last layer, accuracy."""

import copy
import re

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from mmdet.registry import MODELS
from mmengine.runner.checkpoint import load_state_dict
from torch import nn

from wkd_det.classification.classifier import (
    class_rows,
    last_layer,
    network_keys,
    network_of,
    network_weights,
    split_auxiliary,
)
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


def test_channels_last_changes_the_order_in_memory_alone():
    plain, other = (build(classifier_config(channels_last=last)) for last in (False, True))
    order = torch.channels_last
    seen = []
    other.network.layer3.register_forward_hook(lambda *call: seen.append(call[2]))
    images, labels = plain.data_preprocessor(image_batch(), True)
    losses = [model(images, labels, mode='loss')['loss_ce'] for model in (plain, other)]
    # float32 sums in another order
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=0)
    assert seen[0].is_contiguous(memory_format=order)
    assert other.network.conv1.weight.is_contiguous(memory_format=order)
    plain.load_state_dict(other.state_dict(), strict=True)
    strong = image_batch(seed=1)[0].float()
    torch.testing.assert_close(
        other.strong_output(strong), plain.strong_output(strong), rtol=1e-4, atol=1e-4
    )


# The weight of the cross entropy


@pytest.mark.parametrize('weight', [1.0, 0.25, 0])
def test_weight_of_the_cross_entropy(weight):
    model = build(classifier_config(ce_weight=weight)).eval()
    images, labels = model.data_preprocessor(image_batch(), True)
    expected = F.cross_entropy(model(images), labels)
    loss = model.loss(images, labels)['loss_ce']
    assert torch.equal(loss, weight * expected)
    total, log = model.parse_losses(dict(loss_ce=loss))
    assert log['loss_ce'] == loss
    total.backward()
    assert all(p.grad is not None for p in model.parameters())  # DDP waits for each
    with_heads = with_auxiliary(ce_weight=weight).train()
    batch = with_heads.data_preprocessor(image_batch(), True)
    losses, full = with_heads.loss(*batch), with_auxiliary().train().loss(*batch)
    assert all(torch.allclose(losses[name], weight * full[name]) for name in full)


# Labels that are soft or missing


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_soft_labels_are_smoothed_once(smoothing):
    model = build(classifier_config(label_smoothing=smoothing)).eval()
    images, labels = model.data_preprocessor(image_batch(), True)
    logits = model(images)
    soft = 0.7 * F.one_hot(labels, 10) + 0.3 * F.one_hot(labels.flip(0), 10)
    parts = [
        F.cross_entropy(logits, one, label_smoothing=smoothing) for one in (labels, labels.flip(0))
    ]
    loss = model.loss(images, soft.float())['loss_ce']
    assert torch.allclose(loss, 0.7 * parts[0] + 0.3 * parts[1])
    hard = model.loss(images, F.one_hot(labels, 10).float())['loss_ce']
    assert torch.allclose(hard, parts[0])


def test_mixup_reaches_the_loss_in_training():
    mixup = dict(mixup_alpha=1.0)
    section = dict(type='ImagePreprocessor', mixup=mixup)
    model = build(classifier_config(data_preprocessor=section)).eval()
    images, soft = model.data_preprocessor(image_batch(), True)
    assert soft.shape == (4, 10)
    expected = -(soft * model(images).log_softmax(dim=1)).sum(dim=1).mean()
    assert torch.allclose(model.loss(images, soft)['loss_ce'], expected)
    assert len(model.val_step(image_batch())) == 4


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_images_without_a_label_are_left_out_of_the_cross_entropy(smoothing):
    section = dict(type='ImagePreprocessor', allow_unlabelled=True)
    config = classifier_config(data_preprocessor=section, label_smoothing=smoothing)
    model = build(config).eval()
    images, labels = image_batch()
    labels[[0, 2]] = -1
    inputs, targets = model.data_preprocessor([images, labels], True)
    expected = F.cross_entropy(model(inputs[1::2]), labels[1::2], label_smoothing=smoothing)
    assert torch.allclose(model.loss(inputs, targets)['loss_ce'], expected)
    _, targets = model.data_preprocessor([images, torch.full((4,), -1)], True)
    loss = model.loss(inputs, targets)['loss_ce']
    assert loss == 0
    loss.backward()
    assert all((parameter.grad == 0).all() for parameter in model.parameters())
    found = model.val_step([images, labels])
    assert [int(one['gt_label']) for one in found] == labels.tolist()


# Two views


def test_of_two_views_the_cross_entropies_are_summed():
    model = build(classifier_config(ce_weight=0.1)).eval()
    (images, labels), (strong, _) = image_batch(), image_batch(seed=1)
    batch = dict(images=images, labels=labels, strong=strong)
    inputs, targets = model.data_preprocessor(batch, True)
    each = [
        F.cross_entropy(model(model.data_preprocessor([one, labels])[0]), labels)
        for one in (images, strong)
    ]
    assert torch.allclose(model.loss(inputs, targets)['loss_ce'], 0.1 * sum(each))
    passes = []
    model.network.register_forward_hook(lambda module, args, output: passes.append(args[0]))
    model.loss(inputs, targets)
    assert torch.equal(passes[0], targets.strong)
    assert torch.equal(passes[1], inputs)
    assert len(passes) == 2
    assert len(model.val_step(batch)) == 4
    heads = with_auxiliary().train()
    losses = heads.loss(*heads.data_preprocessor(batch, True))
    one, other = (
        heads.loss(*heads.data_preprocessor([one, labels], True)) for one in (images, strong)
    )
    assert all(torch.allclose(losses[name], one[name] + other[name]) for name in one)


# Networks with auxiliary logits


class Auxiliary(nn.Module):
    """Logits of a linear layer in evaluation; in training a tuple with those of two others."""

    def __init__(self):
        super().__init__()
        self.num_classes = 10
        self.layers = nn.ModuleList(nn.Linear(3 * 32 * 32, 10) for _ in range(3))

    def forward(self, images):
        outputs = [layer(images.flatten(1)) for layer in self.layers]
        return (outputs[0], None, *outputs[1:]) if self.training else outputs[0]


def with_auxiliary(**options):
    return build(classifier_config(network=dict(type=Auxiliary), **options))


def test_auxiliary_logits_have_a_loss_of_their_own():
    model = with_auxiliary(label_smoothing=0.1).train()
    images, labels = model.data_preprocessor(image_batch(), True)
    logits = [layer(images.flatten(1)) for layer in model.network.layers]
    each = [F.cross_entropy(one, labels, label_smoothing=0.1) for one in logits]
    losses = model.loss(images, labels)
    assert list(losses) == ['loss_ce', 'loss_auxiliary']
    assert torch.equal(losses['loss_ce'], each[0])
    assert torch.equal(losses['loss_auxiliary'], 0.3 * (each[1] + each[2]))
    model.auxiliary_weight = 0.5
    assert torch.equal(model.loss(images, labels)['loss_auxiliary'], 0.5 * (each[1] + each[2]))
    assert torch.equal(model(images), logits[0])
    scores = torch.stack([one['pred_score'] for one in model(images, labels, mode='predict')])
    assert torch.equal(scores, logits[0].softmax(dim=1))
    assert list(model.eval().loss(images, labels)) == ['loss_ce']


@pytest.mark.parametrize(
    ('name', 'size', 'heads'), [('googlenet', 64, 2), ('inception_v3', 299, 1)]
)
def test_networks_of_torchvision_with_auxiliary_logits(name, size, heads):
    network = dict(type='TorchvisionModel', name=name, num_classes=4, init_weights=False)
    model = build(dict(type='Classifier', network=network)).train()
    batch = model.data_preprocessor(image_batch(2, size=size, num_classes=4), True)
    with torch.random.fork_rng():  # dropout
        torch.manual_seed(0)
        logits, *auxiliary = model.network(batch[0])
        torch.manual_seed(0)
        losses = model.loss(*batch)
    assert len(auxiliary) == heads
    own = F.cross_entropy(logits, batch[1])
    rest = sum(F.cross_entropy(one, batch[1]) for one in auxiliary)
    assert torch.allclose(losses['loss_ce'], own)
    assert torch.allclose(losses['loss_auxiliary'], 0.3 * rest)
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.parameters())  # DDP waits for each
    name, layer = last_layer(model.network, 4)
    assert (name, layer.out_features) == ('fc', 4)
    assert model.eval()(batch[0]).shape == (2, 4)


@pytest.mark.parametrize(
    ('output', 'found'),
    [
        (dict(logits=torch.zeros(2, 3)), 'got a dict with a dict()'),
        ([torch.zeros(2, 3)], 'got a list with a list()'),
        ((torch.zeros(2, 3), torch.zeros(2, 5)), 'got a tuple with a Tensor(2, 5)'),
        ((torch.zeros(2, 3), dict()), 'got a tuple with a dict()'),
        (None, 'got a NoneType with a NoneType()'),
    ],
)
def test_networks_that_return_something_else(output, found):
    message = (
        'the network must return logits (N, C), or a tuple of them and of auxiliary logits of the '
        f'same shape, {found}'
    )
    with pytest.raises(TypeError, match=f'^{re.escape(message)}$'):
        split_auxiliary(output)


def test_weight_that_is_negative():
    with pytest.raises(ValueError, match='^ce_weight must not be negative, got -0.1$'):
        build(classifier_config(ce_weight=-0.1))


def test_weight_of_auxiliary_logits():
    with pytest.raises(ValueError, match='^auxiliary_weight must not be negative, got -1$'):
        build(classifier_config(auxiliary_weight=-1))


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


def test_keys_of_the_network_with_and_without_its_classifier():
    bare = dict(weight=torch.ones(1), bias=torch.zeros(1))
    model = build(classifier_config())
    own = model.own_keys(bare)
    assert list(own) == ['network.weight', 'network.bias']
    assert model.own_keys(own) == own
    assert network_keys(bare) == bare
    # A distilled classifier has more than its network.
    assert network_keys({**own, 'distiller.weight': torch.ones(1)}) == bare


def test_the_network_of_a_classifier_and_of_itself():
    model = build(classifier_config())
    assert network_of(model) is model.network
    assert network_of(model.network) is model.network


# The last layer


def test_last_layer_is_the_last_linear_one_with_an_output_per_class():
    network = nn.Sequential(nn.Linear(2, 5), nn.Linear(5, 5), nn.Conv2d(5, 5, 1), nn.Linear(5, 3))
    assert last_layer(network, 5) == ('1', network[1])
    assert torch.equal(class_rows(network, 5), network[1].weight)


def test_last_layer_is_a_convolution_where_no_linear_one_fits():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 7, 1), nn.Linear(7, 2))
    assert last_layer(network, 7) == ('1', network[1])
    assert torch.equal(class_rows(network, 7), network[1].weight[:, :, 0, 0])


# Errors


@pytest.mark.parametrize('smoothing', [1.0, -0.1, 'a', None, float('nan')])
def test_label_smoothing_outside_its_range(smoothing):
    message = f'label_smoothing must lie in [0, 1), got {smoothing!r}'
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        build(classifier_config(label_smoothing=smoothing))


def test_a_network_is_a_dict():
    message = "^network must be a dict with a type, got 'resnet8'$"
    with pytest.raises(TypeError, match=message):
        build(classifier_config(network='resnet8'))


def test_unknown_mode():
    message = "^mode must be 'tensor', 'loss' or 'predict', got 'train'$"
    with pytest.raises(ValueError, match=message):
        build(classifier_config())(torch.rand(1, 3, 32, 32), mode='train')


def test_network_without_a_layer_that_has_an_output_per_class():
    message = '^Sequential has no layer with 4 outputs, one per class$'
    with pytest.raises(ValueError, match=message):
        last_layer(nn.Sequential(nn.Linear(4, 3)), 4)
