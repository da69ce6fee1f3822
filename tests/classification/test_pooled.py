"""A detector's backbone as a classification network, and what a detector takes from it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from torch import nn

from wkd_det import registry
from wkd_det.classification.networks.pooled import PooledBackbone

RESNET = dict(type='mmdet.ResNet', depth=18, base_channels=8)


def test_logits_are_the_linear_layer_of_the_mean_of_the_last_map() -> None:
    network = PooledBackbone(RESNET, num_classes=5).eval()
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        last = network.backbone(images)[-1]
        expected = network.fc(last.mean(dim=(2, 3)))
        found = network(images)
    assert last.shape == (2, 64, 2, 3)
    torch.testing.assert_close(found, expected)
    assert (network.num_classes, network.fc.in_features) == (5, 64)


def test_it_begins_as_its_own_config_says() -> None:
    config = dict(RESNET, init_cfg=dict(type='Constant', layer='Conv2d', val=0.5))
    network = PooledBackbone(config, num_classes=5)
    assert (network.backbone.conv1.weight == 0.5).all()
    with torch.device('meta'):
        assert PooledBackbone(RESNET, num_classes=5).fc.weight.is_meta


def test_batch_normalisation_learns_unless_the_config_says_no() -> None:
    """MMDetection's ResNet holds it still by default, which trains nothing of its statistics."""
    images = torch.randn(4, 3, 64, 64)
    for config, moves in ((RESNET, True), (dict(RESNET, norm_eval=True), False)):
        network = PooledBackbone(config, num_classes=5).train()
        network(images)
        norms = [one for one in network.modules() if isinstance(one, nn.BatchNorm2d)]
        assert len(norms) == 20
        for norm in norms:
            assert bool((norm.running_var != 1).any()) == moves


def test_a_detector_begins_with_what_the_classifier_learnt(tmp_path: Path) -> None:
    classifier = registry.build(
        dict(
            type='Classifier',
            network=dict(type='PooledBackbone', backbone=RESNET, num_classes=5),
        )
    )
    for parameter in classifier.parameters():
        nn.init.normal_(parameter)
    path = tmp_path / 'classifier.pth'
    torch.save(dict(state_dict=classifier.state_dict()), path)
    start = dict(type='Pretrained', checkpoint=str(path), prefix='network.backbone.')
    backbone = MODELS.build(dict(RESNET, init_cfg=start))
    backbone.init_weights()
    learnt = classifier.network.backbone.state_dict()
    assert backbone.state_dict().keys() == learnt.keys()
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, learnt[name])


@MODELS.register_module()
class OneMapBackbone(nn.Module):
    """Gives a map and no sequence."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images


def test_an_output_that_is_no_sequence_of_maps() -> None:
    with pytest.raises(TypeError) as error:
        PooledBackbone(dict(type='mmdet.OneMapBackbone'), num_classes=5)
    assert str(error.value) == (
        'the backbone must return a sequence of maps, OneMapBackbone returns a Tensor'
    )


def test_no_classes() -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  the whole message is compared
        PooledBackbone(RESNET, num_classes=0)
    assert str(error.value) == 'num_classes must be at least 1, got 0'
