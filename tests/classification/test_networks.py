"""The CIFAR networks against the recorded reference, and MobileNetV1 against timm."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from mmdet.registry import MODELS
from torch import Tensor, nn

from wkd_det.classification.networks.layers import channel_shuffle, convolution, stage
from wkd_det.classification.networks.mobilenets import MobileNetV1, MobileNetV2
from wkd_det.classification.networks.resnets import CifarResNet, FourStageResNet, WideResNet
from wkd_det.classification.networks.vgg import VGG
from wkd_det.classification.networks.zoo import (
    CIFAR_NETWORKS,
    CifarModel,
    TimmModel,
    TorchvisionModel,
)

DATA = Path(__file__).parents[1] / 'data'
ZOO = json.loads((DATA / 'cifar_zoo.json').read_text())
ONE_PER_FAMILY = (
    'resnet8',
    'ResNet18',
    'wrn_16_2',
    'vgg8',
    'MobileNetV2',
    'ShuffleV1',
    'ShuffleV2',
)
# Float32 sums in another order differ by up to 5e-7 of the largest value. Taking out a single
# ReLU moves the logits by 2e-5 (MobileNetV2) to 1e-1 (resnet8), so 1e-3 would be too coarse.
RELATIVE = 1e-5


def filled_tensor(key: str, shape: Iterable[int]) -> Tensor:
    """Value that the recorded reference had under this state_dict key."""
    shape = tuple(shape)
    if key.endswith('num_batches_tracked'):
        return torch.zeros(shape, dtype=torch.int64)
    noise = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape)
    if key.endswith('running_var'):
        value = 0.7 + 0.1 * np.abs(noise)
    elif key.endswith('running_mean'):
        value = 0.05 * noise
    elif len(shape) >= 2:
        value = noise * np.sqrt(1 / np.prod(shape[1:]))
    elif key.endswith('weight'):
        value = 0.7 + 0.1 * noise
    else:
        value = 0.1 * noise
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


def fill(network: nn.Module) -> nn.Module:
    state = {key: filled_tensor(key, value.shape) for key, value in network.state_dict().items()}
    network.load_state_dict(state)
    return network.eval()


def run_with_hooks(
    network: nn.Module, images: Tensor, names: Iterable[str]
) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
    """Logits, and input and output of the named modules, each of which must run just once."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def record(name: str):
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            assert name not in seen, f'{name} ran twice'
            seen[name] = (inputs[0], output)

        return hook

    handles = [network.get_submodule(name).register_forward_hook(record(name)) for name in names]
    with torch.no_grad():
        logits = network(images)
    for handle in handles:
        handle.remove()
    return logits, seen


def assert_close_to_reference(actual: Tensor, expected: np.ndarray) -> None:
    assert actual.shape == expected.shape
    error = np.abs(actual.numpy() - expected).max()
    assert error <= RELATIVE * np.abs(expected).max()


@pytest.fixture(scope='module')
def reference() -> dict[str, np.ndarray]:
    with np.load(DATA / 'cifar_zoo_outputs.npz') as archive:
        return dict(archive)


@pytest.fixture(scope='module')
def images() -> Tensor:
    pixels = np.random.default_rng(0).standard_normal((2, 3, 32, 32))
    return torch.from_numpy(pixels.astype(np.float32))


# All 23 CIFAR networks


def test_names_are_those_of_the_reference() -> None:
    assert len(CIFAR_NETWORKS) == 23
    assert set(CIFAR_NETWORKS) == set(ZOO)


@pytest.mark.parametrize('name', CIFAR_NETWORKS)
def test_state_dict_has_the_keys_and_shapes_of_the_checkpoints(name: str) -> None:
    with torch.device('meta'):  # no memory, no initialisation
        network = CifarModel(name)
    shapes = {key: list(value.shape) for key, value in network.state_dict().items()}
    assert shapes == ZOO[name]['keys']
    assert list(shapes) == list(ZOO[name]['keys'])  # optimizer states go by order
    assert sum(parameter.numel() for parameter in network.parameters()) == ZOO[name]['params']


@pytest.mark.parametrize('name', CIFAR_NETWORKS)
def test_logits_and_features_equal_the_reference(
    name: str, reference: dict[str, np.ndarray], images: Tensor
) -> None:
    network = fill(CifarModel(name))
    features = network.feature_modules
    assert len(features) == len(ZOO[name]['feature_shapes'])

    logits, seen = run_with_hooks(network, images, (*features, 'pool'))

    assert_close_to_reference(logits, reference[f'{name}/logits'])
    assert_close_to_reference(seen['pool'][1], reference[f'{name}/pooled'])
    for index, (module, shape) in enumerate(zip(features, ZOO[name]['feature_shapes'])):
        output = seen[module][1]
        assert list(output.shape) == shape, module
        mean, std = reference[f'{name}/feat{index}_mean_std']
        # The mean may nearly cancel, so the spread sets the scale of both.
        assert abs(output.mean() - mean) <= RELATIVE * std, module
        assert abs(output.std() - std) <= RELATIVE * std, module


@pytest.mark.parametrize('name', CIFAR_NETWORKS)
def test_number_of_classes_changes_the_classifier_only(name: str) -> None:
    with torch.device('meta'):
        network = CifarModel(name, num_classes=7)
    shapes = {key: list(value.shape) for key, value in network.state_dict().items()}
    expected = ZOO[name]['keys']
    changed = [key for key in expected if shapes[key] != expected[key]]
    classifier = list(expected)[-2:]
    assert shapes.keys() == expected.keys()
    assert changed == classifier
    assert [shapes[key][0] for key in classifier] == [7, 7]


# One per family


@pytest.mark.parametrize('name', ONE_PER_FAMILY)
def test_gradients_reach_every_parameter(name: str, images: Tensor) -> None:
    torch.manual_seed(0)
    network = CifarModel(name, num_classes=5).train()
    network(images).square().sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@pytest.mark.parametrize('name', ONE_PER_FAMILY)
def test_no_activation_works_in_place(name: str) -> None:
    in_place = [
        key for key, module in CifarModel(name).named_modules() if getattr(module, 'inplace', False)
    ]
    assert in_place == []


@pytest.mark.parametrize(
    ('name', 'before', 'side', 'after'),
    [
        ('resnet14', 'layer3.1.relu2', 'input', 'layer3'),
        ('ResNet18', 'layer4.1.relu2', 'input', 'layer4'),
        ('ResNet50', 'layer2.3.relu3', 'input', 'layer2'),
        ('wrn_16_2', 'bn1', 'output', 'relu'),
        ('vgg13', 'block3.4', 'output', 'block3'),
        ('ShuffleV1', 'layer2.7.relu3', 'input', 'layer2'),
    ],
)
def test_documented_map_before_the_relu(
    name: str, before: str, side: str, after: str, images: Tensor
) -> None:
    _, seen = run_with_hooks(fill(CifarModel(name)), images, (before, after))
    raw = seen[before][0 if side == 'input' else 1]
    assert (raw < 0).any()
    torch.testing.assert_close(raw.relu(), seen[after][1], rtol=0, atol=0)  # the same numbers


@pytest.mark.parametrize('name', ONE_PER_FAMILY)
def test_initialisation(name: str) -> None:
    torch.manual_seed(0)
    network = CifarModel(name)
    for key, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all(), key
            assert (module.bias == 0).all(), key
        if isinstance(module, nn.Conv2d):
            fan_out = module.weight.size(0) * module.weight[0, 0].numel()
            count = module.weight.numel()
            # Five standard errors of a sample standard deviation, for about 100 layers.
            tolerance = 5 / (2 * count) ** 0.5
            spread = module.weight.std() * (fan_out / 2) ** 0.5
            assert abs(spread - 1) < tolerance, key
            assert module.bias is None or (module.bias == 0).all(), key


# What the reference cannot show


def test_mobilenet_v2_activations_are_not_cut_at_six(images: Tensor) -> None:
    # The recorded activations stay below 4, so ReLU6 would have passed there. The filled
    # weights damp the signal from block to block, hence the huge images.
    network = fill(CifarModel('MobileNetV2'))
    relus = [name for name, module in network.named_modules() if isinstance(module, nn.ReLU)]
    assert len(relus) == 36  # two in each of 17 blocks, the first and the last convolution
    _, seen = run_with_hooks(network, 1e9 * images, relus)
    for name in relus:
        assert seen[name][1].max() > 6, name


def test_cifar_resnet_with_bottlenecks(images: Tensor) -> None:
    network = fill(CifarResNet(20, num_classes=10, bottleneck=True))
    names = network.feature_modules
    logits, seen = run_with_hooks(network, images, (*names, 'layer3.1.relu3'))
    assert logits.shape == (2, 10)
    assert [tuple(seen[name][1].shape[1:]) for name in names] == [
        (16, 32, 32),
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
    ]
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    convolutions = [key for key, shape in shapes.items() if len(shape) == 4]
    shortcuts = [key for key in convolutions if '.downsample.' in key]
    assert shortcuts == [f'layer{stage}.0.downsample.0.weight' for stage in (1, 2, 3)]
    assert len(convolutions) - len(shortcuts) + 1 == 20  # and the linear layer
    assert shapes['layer2.0.conv2.weight'] == (32, 32, 3, 3)
    assert shapes['layer2.1.conv3.weight'] == (128, 32, 1, 1)
    assert shapes['fc.weight'] == (10, 256)


def test_a_convolution_has_a_norm_and_a_relu_and_padding_keeps_the_size() -> None:
    layers = convolution(4, 8, 3, 2, groups=2, bias=True)
    assert [type(layer) for layer in layers] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert layers[0].weight.shape == (8, 2, 3, 3)
    assert layers[0].bias.shape == (8,)
    assert layers[0](torch.zeros(1, 4, 6, 10)).shape == (1, 8, 3, 5)
    plain = convolution(4, 8, 1, activate=False)
    assert [type(layer) for layer in plain] == [nn.Conv2d, nn.BatchNorm2d]
    assert plain[0].bias is None


def test_a_stage_is_its_first_block_and_others() -> None:
    first = nn.ReLU()
    blocks = stage(first, nn.Identity, 3)
    assert blocks[0] is first
    assert [type(block) for block in blocks[1:]] == [nn.Identity] * 2
    assert blocks[1] is not blocks[2]


def test_channel_shuffle_by_hand() -> None:
    channels = torch.arange(6.0).view(1, 6, 1, 1)
    assert channel_shuffle(channels, 3).flatten().tolist() == [0, 2, 4, 1, 3, 5]
    assert channel_shuffle(channels, 2).flatten().tolist() == [0, 3, 1, 4, 2, 5]


# MobileNetV1


def test_mobilenet_v1_keys() -> None:
    with torch.device('meta'):
        network = MobileNetV1()
    statistics = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')
    expected = ['model.0.0.weight', *(f'model.0.1.{key}' for key in statistics)]
    for block in range(1, 14):
        for position in (0, 3):
            expected.append(f'model.{block}.{position}.weight')
            expected += [f'model.{block}.{position + 1}.{key}' for key in statistics]
    expected += ['fc.weight', 'fc.bias']
    state = network.state_dict()
    assert list(state) == expected
    assert state['model.6.0.weight'].shape == (256, 1, 3, 3)
    assert state['model.6.3.weight'].shape == (512, 256, 1, 1)
    assert state['fc.weight'].shape == (1000, 1024)
    # 4.2 million in table 8 of the paper; timm's mobilenetv1_100 has this very number.
    assert sum(parameter.numel() for parameter in network.parameters()) == 4_231_976


def test_mobilenet_v1_equals_timm() -> None:
    network = fill(MobileNetV1(num_classes=12))
    oracle = timm.create_model('mobilenetv1_100', num_classes=12).eval()
    # The same tensors in the same order under other names.
    tensors = network.state_dict().values()
    oracle.load_state_dict(dict(zip(oracle.state_dict(), tensors)))
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 224, 224, generator=generator)

    relus = [name for name, module in network.named_modules() if isinstance(module, nn.ReLU)]
    features = network.feature_modules
    logits, seen = run_with_hooks(network, images, (*features, *relus))
    with torch.no_grad():
        expected = oracle(images)

    assert max(seen[name][1].max() for name in relus) < 6  # timm's ReLU6 cuts nothing here
    assert_close_to_reference(logits, expected.numpy())
    assert [tuple(seen[name][1].shape[1:]) for name in features] == [
        (128, 56, 56),
        (256, 28, 28),
        (512, 14, 14),
        (1024, 7, 7),
    ]


def test_mobilenet_v1_map_before_the_relu() -> None:
    network = fill(MobileNetV1(num_classes=2))
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, 3, 64, 64, generator=generator)
    names = network.feature_modules
    _, seen = run_with_hooks(network, images, (*names, *(f'{name}.4' for name in names)))
    for name in names:
        raw, rectified = seen[f'{name}.4'][1], seen[name][1]
        assert (raw < 0).any()
        torch.testing.assert_close(raw.relu(), rectified, rtol=0, atol=0)


# Errors


@pytest.mark.parametrize(
    ('build', 'name', 'near'),
    [
        (CifarModel, 'resnet9', 'resnet8'),
        (CifarModel, 'shufflev2', 'ShuffleV2'),
        (TorchvisionModel, 'resnet19', 'resnet18'),
        (TimmModel, 'swin_tiny_patch4_224', 'swin_tiny_patch4_window7_224'),
    ],
)
def test_unknown_name_lists_near_matches(build, name: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"got '{name}'; near matches are .*{near}"):
        build(name)


@pytest.mark.parametrize('kind', ['CifarModel', 'TorchvisionModel', 'TimmModel', 'MobileNetV1'])
def test_registered_and_calling_gives_logits(kind: str) -> None:
    name = dict(CifarModel=dict(name='resnet8'), MobileNetV1={}).get(kind, dict(name='resnet18'))
    with torch.device('meta'):
        network = MODELS.build(dict(type=kind, num_classes=7, **name)).eval()
        assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 7)
    assert network.num_classes == 7


def test_networks_of_libraries_are_untouched() -> None:
    with torch.device('meta'):
        ours = TorchvisionModel('mobilenet_v2', 5), TimmModel('mobilenetv2_100', 5)
        theirs = (
            torchvision.models.mobilenet_v2(num_classes=5),
            timm.create_model('mobilenetv2_100', num_classes=5),
        )
    for network, other in zip(ours, theirs):
        assert list(network.state_dict()) == list(other.state_dict())


def test_options_reach_the_library() -> None:
    with torch.device('meta'):
        network = TimmModel('swin_tiny_patch4_window7_224', embed_dim=48)
    assert network.num_features == 48 * 8


@pytest.mark.parametrize('name', ONE_PER_FAMILY)
def test_number_of_classes_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match='^num_classes must be at least 1, got 0$'):
        CifarModel(name, num_classes=0)


def test_mobilenet_v1_number_of_classes_must_be_positive() -> None:
    with pytest.raises(ValueError, match='^num_classes must be at least 1, got -3$'):
        MobileNetV1(num_classes=-3)


@pytest.mark.parametrize(
    ('family', 'arguments', 'options', 'message'),
    [
        (CifarResNet, (21,), {}, 'depth must be 6 n + 2 with n >= 1 (bottleneck=False), got 21'),
        (CifarResNet, (2,), {}, 'depth must be 6 n + 2 with n >= 1 (bottleneck=False), got 2'),
        (
            CifarResNet,
            (14,),
            {'bottleneck': True},
            'depth must be 9 n + 2 with n >= 1 (bottleneck=True), got 14',
        ),
        (
            CifarResNet,
            (8,),
            {'widths': (16, 32)},
            'widths must be 4 positive numbers (stem, 3 stages), got (16, 32)',
        ),
        (
            CifarResNet,
            (8,),
            {'widths': (16, 0, 32, 64)},
            'widths must be 4 positive numbers (stem, 3 stages), got (16, 0, 32, 64)',
        ),
        (FourStageResNet, ((2, 2),), {}, 'num_blocks must be 4 positive numbers, got (2, 2)'),
        (
            FourStageResNet,
            ((2, 0, 2, 2),),
            {},
            'num_blocks must be 4 positive numbers, got (2, 0, 2, 2)',
        ),
        (WideResNet, (14,), {}, 'depth must be 6 n + 4 with n >= 1, got 14'),
        (WideResNet, (16, 0), {}, 'widen_factor must be at least 1, got 0'),
        (WideResNet, (16,), {'stem_stride': 3}, 'stem_stride must be one of (1, 2), got 3'),
        (VGG, (12,), {}, 'depth must be one of (8, 11, 13, 16, 19), got 12'),
        (MobileNetV2, (), {'width': 0.0}, 'width must be at least 1/16, got 0.0'),
        (MobileNetV2, (), {'expansion': 0}, 'expansion must be at least 1, got 0'),
    ],
)
def test_wrong_arguments(family: type, arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        family(*arguments, **options)


def test_a_stem_of_stride_2_halves_every_map_of_a_wide_network(images: Tensor) -> None:
    names = WideResNet.feature_modules
    plain = fill(WideResNet(10, 2, 7))
    section = dict(type='WideResNet', depth=10, widen_factor=2, num_classes=7, stem_stride=2)
    halved = MODELS.build(section)
    assert halved.num_classes == 7
    halved.load_state_dict(plain.state_dict(), strict=True)
    logits, maps = run_with_hooks(halved.eval(), images, names)
    _, large = run_with_hooks(plain, images, names)
    assert logits.shape == (2, 7)
    assert torch.equal(maps['conv1'][1], large['conv1'][1][:, :, ::2, ::2])
    assert [maps[name][1].shape[-1] for name in names] == [16, 16, 8, 4]


@pytest.mark.parametrize('groups', [0, 4])
def test_channel_shuffle_needs_a_divisor(groups: int) -> None:
    with pytest.raises(
        ValueError, match=f'^groups must divide the number of channels, got {groups} and 6$'
    ):
        channel_shuffle(torch.zeros(1, 6, 1, 1), groups)
