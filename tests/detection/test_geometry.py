"""Widths that are read from configs are those of the maps that the networks give."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict

from wkd_det.detection.geometry import level_widths

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
