"""Grad-CAM by its formula, the layers that it refuses, and its picture."""

from pathlib import Path

import matplotlib as mpl
import mmdet
import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch.testing import assert_close

from precision import UINT16, needs_uint16
from wkd_det.inspection.attention import (
    Scene,
    _DenseScores,
    activation_map,
    attention_grid,
    shown_image,
)
from wkd_det.testing import tiny_detector

LAYER = 'neck.fpn_convs.0'
MIM = Path(mmdet.__file__).parent / '.mim/configs'


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


# One-stage detectors


def one_stage(kind):
    config = tiny_detector(kind, num_classes=10)
    torch.manual_seed(0)
    model = MODELS.build(config)
    model.init_weights()
    return model.eval()


def by_hand(model, inputs, boxes, labels):
    """Largest logit of each box's class at a location inside the box, or at the nearest one."""
    maps = model.bbox_head(model.extract_feat(inputs))[0]
    scores = []
    for (left, top, right, bottom), label in zip(boxes.tolist(), labels.tolist()):
        inside, nearest = [], []
        for level in maps:
            _, channels, rows, columns = level.shape
            height, width = inputs.shape[2] / rows, inputs.shape[3] / columns
            for row in range(rows):
                for column in range(columns):
                    x, y = (column + 0.5) * width, (row + 0.5) * height
                    own = level[0, label::10, row, column].max()  # of all anchors
                    if left <= x <= right and top <= y <= bottom:
                        inside.append(own)
                    far = (x - (left + right) / 2) ** 2 + (y - (top + bottom) / 2) ** 2
                    nearest.append((far, own))
        scores.append(torch.stack(inside).max() if inside else min(nearest, key=lambda n: n[0])[1])
    return torch.stack(scores)


@pytest.mark.parametrize('kind', ['RetinaNet', 'FCOS', 'ATSS', 'GFL'])
def test_scores_of_a_dense_head(kind):
    model = one_stage(kind)
    inputs = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(1))
    boxes = torch.tensor([[5.0, 8.0, 70.0, 80.0], [1.0, 1.0, 3.0, 3.0], [90.0, 0.0, 120.0, 96.0]])
    labels = torch.tensor([3, 0, 9])
    logits = _DenseScores(model, boxes)(inputs)
    assert logits.shape == (1, 3, 10)
    found = logits[0].gather(1, labels[:, None])[:, 0]
    assert_close(found, by_hand(model, inputs, boxes, labels))


@pytest.mark.parametrize(
    'kind', ['RetinaNet', 'FCOS', 'ATSS', 'GFL', 'yolox/yolox_tiny_8xb8-300e_coco.py']
)
def test_activation_map_of_one_stage_detectors(kind, dataset):
    if kind.startswith('yolox'):
        model = Config.fromfile(MIM / kind).model
        model.backbone.update(widen_factor=0.125)
        model.neck.update(in_channels=[32, 64, 128], out_channels=32, num_csp_blocks=1)
        model.bbox_head.update(num_classes=10, in_channels=32, feat_channels=32)
        model.data_preprocessor.pop('batch_augments')
        detector, layer = MODELS.build(model).eval(), 'backbone.stage4'
    else:
        detector, layer = one_stage(kind), 'neck.fpn_convs.0'
    cam = activation_map(detector, pseudo_collate([dataset[0]]), layer)
    assert cam.shape == dataset[0]['inputs'].shape[1:]
    assert float(cam.min()) >= 0
    assert cam.isfinite().all()


def test_detectors_without_class_logits_per_location(dataset):
    detector = MODELS.build(Config.fromfile(MIM / 'yolo/yolov3_d53_8xb8-320-273e_coco.py').model)
    message = (
        'YOLOV3 has neither a RoI head nor a head of class logits per location: there is nothing '
        'to show its attention by'
    )
    with pytest.raises(ValueError, match=f'^{message}$'):
        activation_map(detector.eval(), pseudo_collate([dataset[0]]), 'neck.detect1.conv5')


@pytest.mark.parametrize(
    ('pixels', 'expected'),
    [
        ([0, 51, 255], [1.0, 0.2, 0.0]),  # BGR
        ([51], [0.2] * 3),
        ([51, 0, 102, 51, 51], [0.2] * 3),
        pytest.param([0, 13_107, 65_535], [1.0, 0.2, 0.0], marks=needs_uint16),
    ],
)
def test_images_as_they_are_drawn(pixels, expected):
    dtype = torch.uint8 if max(pixels) < 256 else UINT16
    image = torch.tensor(pixels).view(-1, 1, 1).expand(-1, 4, 5).to(dtype)
    shown = shown_image(image)
    assert shown.shape == (4, 5, 3)
    assert_close(shown[1, 1], torch.tensor(expected))


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
