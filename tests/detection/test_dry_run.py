"""Dry runs: channels, sizes and strides of all places, as real runs have them."""

import copy
from pathlib import Path

import mmdet
import pytest
import torch
from mmdet.registry import MODELS
from torch import nn

from wkd_det.detection.dry_run import dry_run
from wkd_det.runtime.config import read_config
from wkd_det.testing import tiny_c4, tiny_detector, tiny_faster_rcnn

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
    'no usual keys': dict(
        type='CTResNetNeck', in_channels=64, num_deconv_filters=(32, 16, 12),
        num_deconv_kernels=(4, 4, 4), use_dcn=False,
    ),
    'no neck': None,
}  # fmt: skip


def with_neck(neck):
    """A RetinaNet whose head is not asked for anything."""
    model = tiny_detector('RetinaNet')
    first = neck[0] if isinstance(neck, list) else neck
    if first is not None and first['type'] == 'YOLOXPAFPN':
        model.backbone.out_indices = (0, 1, 2)
    model.neck = neck
    return model


@pytest.mark.parametrize('name', NECKS)
def test_levels_are_those_of_a_real_run(name):
    model = with_neck(NECKS[name])
    network = MODELS.build(copy.deepcopy(model)).eval()
    image = torch.zeros(1, 3, 256, 256)
    with torch.no_grad():
        maps = dict(backbone=network.backbone(image))
        if network.with_neck:
            maps['neck'] = network.neck(maps['backbone'])
    for source in (model, network):
        run = dry_run(source)
        assert run.kind == 'RetinaNet'
        assert run.image == (1, 3, 256, 256)
        assert run.device == 'meta'
        assert run.places.keys() == maps.keys()
        for place, expected in maps.items():
            levels = run.levels(place)
            assert levels.channels == tuple(one.shape[1] for one in expected)
            assert levels.sizes == tuple(tuple(one.shape[-2:]) for one in expected)
            assert levels.strides == tuple(256 // one.shape[-1] for one in expected)


def test_a_config_and_the_random_state_stay_as_they_were():
    model = tiny_faster_rcnn()
    before, state = copy.deepcopy(model), torch.get_rng_state()
    run = dry_run(model)
    assert model == before
    assert torch.equal(torch.get_rng_state(), state)
    assert all(one.is_meta for one in run.network.parameters())


def test_a_network_stays_as_it_was():
    network = MODELS.build(tiny_faster_rcnn()).train()
    before = copy.deepcopy(network.state_dict())
    run = dry_run(network)
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(one.is_meta for one in run.network.state_dict().values())
    assert not [module for module in network.modules() if module._forward_hooks]


def test_modules_that_run_once_have_shapes_and_others_reasons():
    run = dry_run(tiny_faster_rcnn())
    assert run.shape('backbone.layer3') == (1, 32, 16, 16)
    assert run.shape('backbone.layer3:input') == (1, 16, 32, 32)
    assert run.shape('roi_head.bbox_head.fc_cls') == (1, 5)
    assert run.shape('roi_head.bbox_roi_extractor') is None
    with pytest.raises(ValueError, match="'rpn_head.rpn_cls' runs 5 times in a pass"):
        run.shape('rpn_head.rpn_cls')
    with pytest.raises(ValueError, match="module 'neck' returns a tuple, not a tensor"):
        run.shape('neck')


def test_a_box_head_behind_a_shared_head():
    run = dry_run(tiny_c4())
    assert 'roi_head' not in run.stopped
    assert run.shape('roi_head.shared_head') == (1, 512, 4, 4)
    assert run.levels('backbone').strides == (16,)


def test_a_place_that_is_not_there():
    with pytest.raises(
        ValueError,
        match=r'the RetinaNet has no neck: use the tap backbone, or a module by its name, e.g. '
        r"'backbone.layer4'",
    ):
        dry_run(with_neck(None)).levels('neck')


class NoMetaForm(nn.Module):
    """A neck with an operator that is not there on the meta device."""

    def __init__(self, out_channels, fails_on=('meta',)):
        super().__init__()
        self.layer = nn.Conv2d(64, out_channels, 1)
        self.fails_on = fails_on

    def forward(self, maps):
        if maps[-1].device.type in self.fails_on:
            raise NotImplementedError('no such operator here\nand a long explanation')
        return (self.layer(maps[-1]),)


@pytest.fixture
def no_meta_form():
    MODELS.register_module(module=NoMetaForm)
    yield
    MODELS.module_dict.pop('NoMetaForm')


@pytest.mark.parametrize('built', [False, True])
def test_operators_without_a_meta_form_run_once_on_the_cpu(no_meta_form, built):
    model = with_neck(dict(type='NoMetaForm', out_channels=12))
    state = torch.get_rng_state()
    source = MODELS.build(copy.deepcopy(model)) if built else model
    if not built:
        assert torch.equal(torch.get_rng_state(), state)
    run = dry_run(source)
    assert run.device == 'cpu'
    assert run.levels('neck').channels == (12,)
    assert run.levels('neck').strides == (32,)
    assert all(one.is_meta for one in run.network.parameters())


def test_a_network_without_weights_runs_on_the_meta_device_only(no_meta_form):
    with torch.device('meta'):
        network = MODELS.build(with_neck(dict(type='NoMetaForm', out_channels=12)))
    run = dry_run(network)
    assert run.device == 'meta'
    assert run.stopped['neck'] == 'NotImplementedError: no such operator here'


def test_operators_that_run_nowhere_are_named(no_meta_form):
    neck = dict(type='NoMetaForm', out_channels=12, fails_on=('meta', 'cpu', 'cuda'))
    run = dry_run(with_neck(neck))
    assert run.levels('backbone').channels == tuple(BACKBONE)
    with pytest.raises(
        ValueError,
        match=r'the maps of the neck of RetinaNet cannot be found by an empty image '
        r'\(NotImplementedError: no such operator here\): tap a module by its name',
    ):
        run.levels('neck')


def test_numbers_that_a_network_computes_while_it_is_built():
    """A Swin reads the rates of its stochastic depth; on the meta device they have no values."""
    model = with_neck(None)
    model.backbone = dict(type='SwinTransformer', embed_dims=12, depths=(1, 1, 2, 1),
                          num_heads=(1, 2, 2, 2), window_size=4)  # fmt: skip
    run = dry_run(model)
    assert run.levels('backbone').channels == (12, 24, 48, 96)
    assert run.levels('backbone').strides == (4, 8, 16, 32)


def test_images_that_are_too_small_grow():
    """Convolutions without padding leave nothing of 256 pixels."""
    run = dry_run(tiny_ssd())
    assert run.image == (1, 3, 512, 512)
    assert run.levels('neck').channels == (512, 1024, 512, 256, 256, 256)
    assert run.levels('neck').strides[:4] == (8, 16, 32, 64)


def tiny_ssd():
    return read_config(Path(mmdet.__file__).parent / '.mim/configs/ssd/ssd300_coco.py').model
