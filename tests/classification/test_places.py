"""Places of networks: their modules exist and run, and are what their names say."""

from __future__ import annotations

import pytest
import torch
import torchvision

from wkd_det.classification.networks.mobilenets import MobileNetV1
from wkd_det.classification.networks.zoo import CifarModel
from wkd_det.classification.places import places_of

ALL = {
    'stages',
    'stages_before',
    'norms_before',
    'last',
    'last_before',
    'middle',
    'second_last',
    'pooled_map',
    'pool',
}


def build(name):
    """A network of the zoo, of torchvision (``tv:``) or of timm (``timm:``) without values."""
    kind, _, own = name.rpartition(':')
    with torch.device('meta'):
        if kind == 'tv':
            return torchvision.models.get_model(own, num_classes=100)
        if kind == 'timm':
            timm = pytest.importorskip('timm')
            return timm.create_model(own, num_classes=100)
        return MobileNetV1(100) if own == 'MobileNetV1' else CifarModel(own)


def values(network, places):
    """Shape of what each named module returns or, with ``:input``, is given."""
    shapes = {}
    for place in places:
        name, _, part = place.partition(':')

        def note(module, inputs, output, place=place, part=part):
            shapes[place] = tuple((inputs[0] if part else output).shape)

        network.get_submodule(name).register_forward_hook(note)
    size = 32 if network.__module__.startswith('wkd_det') else 224
    network.eval()(torch.zeros(2, 3, size, size, device='meta'))
    return shapes


BEFORE = {'stages_before', 'norms_before', 'last_before'}


@pytest.mark.parametrize(
    ('name', 'missing'),
    [
        ('resnet8', set()),
        ('resnet32x4', set()),
        ('ResNet50', set()),
        ('wrn_16_2', set()),
        ('vgg13', set()),
        ('MobileNetV1', set()),
        ('MobileNetV2', set()),
        ('ShuffleV1', set()),
        ('ShuffleV2', BEFORE),
        ('tv:resnet18', set()),
        ('tv:resnet50', set()),
        ('tv:mobilenet_v2', ALL - {'pool'}),
        ('timm:resnet18', set()),
        ('timm:swin_tiny_patch4_window7_224', BEFORE),
        ('timm:mobilenetv2_100', BEFORE),
        (
            'timm:vit_tiny_patch16_224',
            BEFORE | {'pooled_map'},
        ),
    ],
)
def test_places_are_modules_that_run(name, missing):
    network = build(name)
    places = places_of(network, 100)
    assert set(places) == ALL - missing
    names = {
        place
        for found in places.values()
        for place in ([found] if isinstance(found, str) else found)
    }
    shapes = values(network, names)
    assert set(shapes) == names
    assert len(shapes[places['pool']]) == 2
    if 'pooled_map' in places:
        width = shapes[places['pooled_map']]
        assert shapes[places['pool']][1] in (width[1], width[-1])  # channels may be last
    if 'stages' in places:
        assert places['last'] == places['stages'][-1]
    if 'stages_before' in places and not name.startswith('wrn'):
        for after, before in zip(places['stages'], places['stages_before']):
            assert shapes[after] == shapes[before]
    for norm, before in zip(places.get('norms_before', []), places.get('stages_before', [])):
        module = network.get_submodule(norm)
        assert isinstance(module, torch.nn.BatchNorm2d)
        assert module.num_features == shapes[before][1]


@pytest.mark.parametrize('name', ['resnet8', 'ResNet18', 'vgg8', 'ShuffleV1', 'MobileNetV1'])
def test_the_map_before_the_activation_becomes_the_one_after_it(name):
    network = CifarModel(name) if name != 'MobileNetV1' else MobileNetV1(100)
    places = places_of(network, 100)
    seen = {}
    module = network.get_submodule(places['last_before'].partition(':')[0])
    module.register_forward_hook(lambda _, inputs, output: seen.update(before=inputs[0]))
    network.get_submodule(places['last']).register_forward_hook(
        lambda _, inputs, output: seen.update(after=output)
    )
    network(torch.rand(2, 3, 32, 32))
    assert seen['before'].min() < 0
    torch.testing.assert_close(seen['before'].relu(), seen['after'], rtol=0, atol=0)


@pytest.mark.parametrize(
    ('name', 'norms'),
    [
        ('resnet8', ['layer1.0.bn2', 'layer2.0.bn2', 'layer3.0.bn2']),
        ('resnet14', ['layer1.1.bn2', 'layer2.1.bn2', 'layer3.1.bn2']),
        ('wrn_16_2', ['block2.layer.0.bn1', 'block3.layer.0.bn1', 'bn1']),
        ('tv:resnet50', [f'layer{i}.{last}.bn3' for i, last in enumerate((2, 3, 5, 2), 1)]),
    ],
)
def test_normalisations_before_the_activations(name, norms):
    assert places_of(build(name), 100)['norms_before'] == norms


def test_a_network_of_no_known_kind_has_what_its_layers_say():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5))
    assert places_of(network, 5) == {'pool': '1:input'}
    assert places_of(network, 7) == {}
