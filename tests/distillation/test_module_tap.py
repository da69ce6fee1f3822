"""Outputs of real Transformers and CNNs as maps."""

import pytest
import torch

from wkd_det.classification.networks.zoo import TimmModel, TorchvisionModel
from wkd_det.distillation.layouts import FeatureLayout, layout_of
from wkd_det.distillation.recording import recording


def probed(network, name, size):
    network.eval()
    with torch.no_grad(), recording(network, [name]) as recorded:
        network(torch.zeros(1, 3, size, size, device='meta'))
    return layout_of(name, tuple(recorded[name].shape), network)


@pytest.mark.parametrize(
    ('build', 'module', 'expected'),
    [
        (lambda: TimmModel('vit_small_patch16_224'), 'blocks.11', ('tokens', 384, 14, 14, 1)),
        (lambda: TimmModel('deit_tiny_patch16_224'), 'norm', ('tokens', 192, 14, 14, 1)),
        (
            lambda: TimmModel('deit_tiny_distilled_patch16_224'),
            'blocks.3',
            ('tokens', 192, 14, 14, 2),
        ),
        (
            lambda: TimmModel('vit_tiny_patch16_224', reg_tokens=4, depth=1),
            'blocks.0',
            ('tokens', 192, 14, 14, 5),
        ),
        (lambda: TimmModel('mixer_b16_224'), 'blocks.11', ('tokens', 768, 14, 14, 0)),
        (
            lambda: TimmModel('swin_tiny_patch4_window7_224'),
            'layers.3',
            ('NHWC', 768, 7, 7, 0),
        ),
        (lambda: TimmModel('convnext_tiny'), 'stages.3', ('NCHW', 768, 7, 7, 0)),
        (lambda: TimmModel('resnet18'), 'layer4', ('NCHW', 512, 7, 7, 0)),
        (lambda: TimmModel('mobilenetv2_100'), 'blocks.6', ('NCHW', 320, 7, 7, 0)),
        (
            lambda: TorchvisionModel('vit_b_32'),
            'encoder.layers.encoder_layer_11',
            ('tokens', 768, 7, 7, 1),
        ),
        (lambda: TorchvisionModel('swin_t'), 'features.3', ('NHWC', 192, 28, 28, 0)),
        (lambda: TorchvisionModel('resnet18'), 'avgpool', ('NCHW', 512, 1, 1, 0)),
        (lambda: TorchvisionModel('resnet18'), 'fc', ('vector', 1000, 1, 1, 0)),
    ],
)
def test_probing_on_the_meta_device(build, module, expected):
    with torch.device('meta'):
        network = build()
    state = torch.get_rng_state()
    found = probed(network, module, 224)
    assert found == FeatureLayout(*expected)
    assert torch.equal(torch.get_rng_state(), state)


def test_tokens_become_the_map_of_their_patches():
    rows = torch.arange(9.0)
    tokens = torch.cat([torch.full((1, 2, 1), -1.0), rows.view(1, 9, 1)], dim=1)
    layout = FeatureLayout('tokens', 1, 3, 3, prefix=2)
    assert torch.equal(layout.to_map(tokens), rows.view(1, 1, 3, 3))
    with pytest.raises(ValueError, match='10 patch tokens make no square map'):
        layout.to_map(torch.cat([tokens, tokens[:, :1]], dim=1))


def test_channels_go_first_and_a_vector_is_one_pixel():
    features = torch.rand(2, 3, 4, 5)
    last = features.permute(0, 2, 3, 1)
    assert torch.equal(FeatureLayout('NHWC', 3, 4, 5).to_map(last), features)
    assert torch.equal(FeatureLayout('NCHW', 3, 4, 5).to_map(features), features)
    assert FeatureLayout('vector', 7, 1, 1).to_map(torch.rand(2, 7)).shape == (2, 7, 1, 1)


def test_equal_lengths_are_channels_first_unless_the_network_says_otherwise():
    network = torch.nn.Conv2d(3, 7, 1).to('meta')
    assert probed(network, '', 7).kind == 'NCHW'
    network.output_fmt = 'NHWC'
    assert probed(network, '', 7).kind == 'NHWC'


def test_a_shape_that_says_nothing_is_refused():
    network = torch.nn.Conv2d(3, 5, 1, stride=(1, 2)).to('meta')
    with pytest.raises(ValueError, match=r"'' has the shape \(1, 5, 8, 4\), which is not clearly"):
        probed(network, '', 8)
