"""Widths as configs state them, and sizes of maps in batches of other sizes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.registry import MODELS
from mmengine.config import ConfigDict

from wkd_det.detection.geometry import fitted_maps, level_widths

BACKBONE = [8, 16, 32, 64]
FPN = dict(type='FPN', in_channels=BACKBONE, out_channels=12, num_outs=5)
NECKS = {
    'FPN': FPN,
    'FPN from P3': dict(FPN, start_level=1, add_extra_convs='on_output'),
    'PAFPN': dict(FPN, type='PAFPN', num_outs=4),
    'HRFPN, default number of levels': dict(type='HRFPN', in_channels=BACKBONE, out_channels=12),
    'ChannelMapper, one level for each input': dict(
        type='ChannelMapper', in_channels=BACKBONE, out_channels=12
    ),
    'ChannelMapper with one more': dict(
        type='ChannelMapper', in_channels=BACKBONE, out_channels=12, num_outs=5
    ),
    'YOLOX': dict(type='YOLOXPAFPN', in_channels=BACKBONE[:3], out_channels=12),
    'BFP behind FPN': [FPN, dict(type='BFP', in_channels=12, num_levels=5, refine_level=2)],
}


@pytest.mark.parametrize('name', NECKS)
def test_widths_are_those_of_the_maps(name):
    neck = NECKS[name]
    module = MODELS.build(neck).eval()
    with torch.no_grad():
        count = len((neck[0] if isinstance(neck, list) else neck)['in_channels'])
        maps = module([torch.zeros(1, BACKBONE[i], 64 >> i, 64 >> i) for i in range(count)])
    model = ConfigDict(type='Detector', neck=neck)
    assert level_widths(model, 'neck') == [features.shape[1] for features in maps]
    assert level_widths(model, 'backbone') == BACKBONE[:count]


def test_single_map_of_yolof():
    neck = dict(
        type='DilatedEncoder', in_channels=64, out_channels=12, block_mid_channels=8,
        num_residual_blocks=1, block_dilations=[2],
    )  # fmt: skip
    model = ConfigDict(type='YOLOF', neck=neck)
    assert level_widths(model, 'neck') == [12]
    assert level_widths(model, 'backbone') == [64]


@pytest.mark.parametrize(
    ('model', 'message'),
    [
        (dict(type='DETR'), 'DETR has no neck, from which the widths are read'),
        (
            dict(type='CenterNet', neck=dict(type='CTResNetNeck', num_deconv_filters=(8,))),
            'neck widths of CenterNet cannot be read from its CTResNetNeck',
        ),
    ],
)
def test_widths_that_are_not_to_be_read(model, message):
    with pytest.raises(ValueError, match=message):
        level_widths(ConfigDict(model), 'neck')


# Maps of a batch of another size


STRIDES = [4, 8, 16, 32, 64]


def rounded(size, stride, down):
    return max(size // stride, 1) if down else -(-size // stride)


def maps_of(sizes, rounds_down):
    """A map per level, numbered by rows and columns; some levels are rounded down."""
    maps = []
    for stride, down in zip(STRIDES, rounds_down):
        height, width = (rounded(size, stride, down) for size in sizes)
        rows = torch.arange(height, dtype=torch.float32)[:, None] + 1
        maps.append((1000 * rows + torch.arange(width) + 1)[None, None])
    return maps


side = st.integers(33, 300)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    own=st.tuples(side, side),
    other=st.tuples(side, side),
    rounds_down=st.sampled_from(
        [[False] * 5, [False] * 4 + [True], [False, False, True, True, True]]
    ),
    known=st.booleans(),
)
def test_maps_are_those_of_a_batch_of_the_other_size(own, other, rounds_down, known):
    expected = maps_of(own, rounds_down)
    found = fitted_maps(maps_of(other, rounds_down), own, other, STRIDES if known else None)
    for map_, want, stride in zip(found, expected, STRIDES):
        # Where the stride divides the size or is larger, one cannot see which way it is rounded.
        slack = 1 if any(size % stride == 0 or size < stride for size in other) else 0
        if not known:
            slack = max(slack, *(2 if size < 2 * stride else slack for size in other))
        assert all(abs(a - b) <= slack for a, b in zip(map_.shape[-2:], want.shape[-2:])), (
            map_.shape,
            want.shape,
            stride,
        )
        height, width = (min(a, b) for a, b in zip(map_.shape[-2:], want.shape[-2:]))
        got, want = map_[..., :height, :width], want[..., :height, :width]
        assert ((got == want) | (got == 0)).all()  # 0 behind what was there


def test_the_same_size_returns_the_maps():
    maps = maps_of((96, 96), [False] * 5)
    found = fitted_maps(maps, (96, 96), (96, 96))
    assert all(a is b for a, b in zip(found, maps))


@pytest.mark.parametrize('known', [True, False])
def test_the_top_of_a_pyramid_that_rounds_down(known):
    """On 96 pixels a map of one pixel is of stride 64, rounded down, not of stride 128."""
    down = [False] * 4 + [True]
    found = fitted_maps(maps_of((96, 96), down), (320, 160), (96, 96), STRIDES if known else None)
    assert tuple(found[4].shape[-2:]) == (5, 2)
    up = fitted_maps(maps_of((96, 96), [False] * 5), (320, 160), (96, 96))
    assert tuple(up[4].shape[-2:]) == (5, 3)
