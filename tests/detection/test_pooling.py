"""Pooling with shared levels: bit for bit what the extractors of MMDetection give."""

import contextlib
import copy

import pytest
import torch
from mmdet.models.roi_heads.roi_extractors import GenericRoIExtractor, SingleRoIExtractor

from gpu_check.waits import OperatorWatch
from wkd_det.detection.pooling import LevelRows, pooled, shared_levels

LAYER = dict(type='RoIAlign', output_size=3, sampling_ratio=2)


def extractor(kind=SingleRoIExtractor, strides=(4, 8, 16, 32), **layer):
    return kind(roi_layer=dict(LAYER, **layer), out_channels=2, featmap_strides=list(strides))


def pyramid(levels=4, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    sides = [32 // 2**level for level in range(levels)]
    return tuple(
        torch.randn(2, 2, side, side, generator=generator).to(dtype).requires_grad_()
        for side in sides
    )


def boxes(*sizes):
    """RoIs of some sizes in two images of 128 x 128."""
    rois = [[index % 2, 3.0, 2.0, 3.0 + size, 2.0 + size / 2] for index, size in enumerate(sizes)]
    return torch.tensor(rois).view(-1, 5)


ROIS = dict(many=boxes(20, 900, 250, 124, 10, 500, 2000), one_level=boxes(20, 30), none=boxes())


def results(run, maps):
    features = run(maps)
    grad = torch.arange(float(features.numel())).view_as(features).to(features.dtype)
    gradients = torch.autograd.grad(features, maps, grad, allow_unused=True)
    return features.detach(), gradients


@pytest.mark.parametrize('name', ROIS)
@pytest.mark.parametrize('torchvision', [True, False])
def test_bits_and_gradients_of_the_extractor(name, torchvision):
    own, rois, maps = extractor(use_torchvision=torchvision), ROIS[name], pyramid()
    expected, by_map = results(lambda maps: own(maps, rois), maps)
    with shared_levels(own, LevelRows()):
        for run in (
            lambda maps: own(maps, rois),
            lambda maps: pooled(LevelRows(), extractor(use_torchvision=torchvision), maps, rois),
        ):
            features, gradients = results(run, maps)
            assert torch.equal(features, expected)
            for one, other in zip(gradients, by_map):
                assert torch.equal(one, other)  # 0, not None, at levels without a RoI
    assert 'forward' not in vars(own)


@pytest.mark.parametrize('rois', [ROIS['many'], ROIS['none']])
def test_a_single_level_and_other_extractors(rois):
    for own in (extractor(strides=[4]), extractor(GenericRoIExtractor)):
        maps = pyramid(own.num_inputs)
        expected = own(maps, rois)
        assert torch.equal(pooled(LevelRows(), own, maps, rois), expected)
        with shared_levels(own, LevelRows()):
            assert torch.equal(own(maps, rois), expected)


def test_a_scale_factor_is_left_to_the_extractor():
    own, maps = extractor(), pyramid()
    expected = own(maps, ROIS['many'], roi_scale_factor=1.5)
    with shared_levels(own, LevelRows()):
        assert torch.equal(own(maps, ROIS['many'], roi_scale_factor=1.5), expected)


def test_levels_are_found_once_for_all_that_share_them():
    rows, rois = LevelRows(), ROIS['many']
    one, other = extractor(), copy.deepcopy(extractor())
    for layer in other.roi_layers:
        layer.output_size = (5, 5)
    with OperatorWatch() as watch:
        for own in (one, other):
            pooled(rows, own, pyramid(), rois)
    assert sum(watch.readers.values()) == 1
    other.finest_scale = 28
    with OperatorWatch() as watch:
        pooled(rows, other, pyramid(), rois)
        pooled(rows, one, pyramid(), rois.clone())
    assert sum(watch.readers.values()) == 2


@pytest.mark.parametrize('kind', [SingleRoIExtractor, GenericRoIExtractor])
def test_bfloat16_is_pooled_in_float32_and_its_rois_keep_their_places(kind):
    own, rois = extractor(kind), ROIS['many'] + 0.37  # off by up to 4 pixels in bfloat16
    maps = pyramid(dtype=torch.bfloat16)
    features = pooled(LevelRows(), own, maps, rois)
    exact = own(tuple(one.float() for one in maps), rois)
    assert features.dtype == torch.bfloat16
    assert torch.equal(features, exact.bfloat16())


def test_the_extractor_is_itself_again_after_an_error():
    own = extractor()
    with contextlib.suppress(KeyError), shared_levels(own, LevelRows()):
        raise KeyError
    assert 'forward' not in vars(own)
