"""Grad-CAM by its formula, the layers that it refuses, and its picture."""

import matplotlib as mpl
import pytest
import torch
import torch.nn.functional as F
from mmdet.structures.bbox import bbox2roi
from mmengine.dataset import pseudo_collate
from torch.testing import assert_close

from wkd_det.inspection.attention import Scene, activation_map, attention_grid

LAYER = 'neck.fpn_convs.0'


def test_activation_map(detectors, dataset):
    data = pseudo_collate([dataset[0]])
    detector = detectors['plain']
    flags = [parameter.requires_grad for parameter in detector.parameters()]
    cam = activation_map(detector, data, LAYER)
    assert cam.shape == dataset[0]['inputs'].shape[1:]
    assert float(cam.min()) >= 0
    assert float(cam.max()) == pytest.approx(1, abs=1e-3)  # the library's guard of a division
    assert [parameter.requires_grad for parameter in detector.parameters()] == flags
    assert all(parameter.grad is None for parameter in detector.parameters())
    assert_close(activation_map(detector, data, LAYER), cam)


def test_activation_map_is_gradient_times_activation(detectors, dataset):
    """By the formula: channels weighted by the mean gradient, summed, cut at 0."""
    detector = detectors['plain']
    raw = pseudo_collate([dataset[1]])
    data = detector.data_preprocessor(pseudo_collate([dataset[1]]), False)
    truth = data['data_samples'][0].gt_instances
    maps = [level.detach() for level in detector.extract_feat(data['inputs'])]
    maps[0].requires_grad_(True)
    result = detector.roi_head._bbox_forward(tuple(maps), bbox2roi([truth.bboxes]))
    result['cls_score'].gather(1, truth.labels[:, None]).sum().backward()
    weights = maps[0].grad.mean((2, 3), keepdim=True)
    expected = (weights * maps[0]).sum(1, keepdim=True).clamp(min=0).detach()
    size = data['inputs'].shape[2:]
    expected = expected - expected.min()
    expected = F.interpolate(expected / expected.max(), size, mode='bilinear')[0, 0]
    height, width = dataset[1]['inputs'].shape[1:]
    found = activation_map(detector, raw, LAYER)
    # The library resizes by OpenCV and scales once more: equal but for the borders.
    assert_close(found, expected[:height, :width], rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ('layer', 'message'),
    [
        ('neck.fpn_conv.0', r"has no module 'neck.fpn_conv.0'; near are \['neck.fpn_convs.0'"),
        ('backbone', r'output of backbone is no map \(N, C, H, W\)'),
        ('roi_head.bbox_head.fc_cls', 'is no map'),
        ('neck.fpn_convs.3', 'do not depend on neck.fpn_convs.3'),
    ],
)
def test_layers_without_a_map(detectors, dataset, layer, message):
    with pytest.raises(ValueError, match=message):
        activation_map(detectors['plain'], pseudo_collate([dataset[0]]), layer)


def test_grid(tmp_path):
    scene = Scene(
        torch.rand(16, 24, 3),
        torch.tensor([[2.0, 3.0, 10.0, 12.0]]),
        ['ant'],
        {'teacher': torch.rand(16, 24), 'plain': torch.rand(16, 24)},
    )
    figure = attention_grid([scene, scene])
    figure.savefig(tmp_path / 'figure.png', dpi=40)
    assert mpl.image.imread(tmp_path / 'figure.png').std() > 0.01  # not of one colour
    assert len(figure.axes) == 6
    assert [axis.get_title() for axis in figure.axes[:3]] == ['ground truth', 'teacher', 'plain']
    with pytest.raises(ValueError, match='scenes must not be empty'):
        attention_grid([])
