"""Networks of timm as teachers of maps: what they give, their input, their weights."""

from __future__ import annotations

import copy
import sys

import numpy as np
import pytest
import timm
import torch
from mmdet.registry import MODELS
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from timm.layers import resample_abs_pos_embed
from torch.testing import assert_close

from wkd_det.detection.dry_run import dry_run
from wkd_det.detection.teacher_input import TeacherInput
from wkd_det.detection.timm_maps import TimmMaps
from wkd_det.distillation.teacher import TeacherSource
from wkd_det.testing import random_batch, tiny_detector

SMALL = dict(embed_dim=32, num_heads=2, depth=3)
NETWORKS = {
    'vit': dict(name='vit_small_patch14_reg4_dinov2.lvd142m', img_size=98, **SMALL),
    'dinov3': dict(name='vit_small_patch16_dinov3', **SMALL),
    'convnext': dict(name='test_convnext'),
    'swin': dict(
        name='swin_tiny_patch4_window7_224',
        embed_dim=16,
        depths=(1, 1, 2, 1),
        num_heads=(1, 2, 2, 4),
    ),
    'resnet': dict(name='test_resnet', levels=[1, 2, 3, 4]),
}
STRIDES = {
    'vit': (14,),
    'dinov3': (16,),
    'convnext': (4, 8, 16, 32),
    'swin': (4, 8, 16, 32),
    'resnet': (4, 8, 16, 32),
}
each_network = pytest.mark.parametrize('kind', NETWORKS)


def build(kind='vit', **options):
    torch.manual_seed(0)
    return TimmMaps(**{**NETWORKS[kind], **options}).eval()


def maps_of(model, images):
    with torch.no_grad():
        return model.extract_feat(images)


# Maps


@each_network
@pytest.mark.parametrize('size', [(112, 224), (100, 130)])
def test_maps_tile_images_of_any_size(kind, size):
    maps = maps_of(build(kind), torch.rand(2, 3, *size))
    for features, stride in zip(maps, STRIDES[kind]):
        assert features.shape[0] == 2
        # As a pyramid does of a batch that is padded to what the network needs.
        tile = max(32 if kind in ('convnext', 'swin', 'resnet') else stride, stride)
        padded = [-(-length // tile) * tile for length in size]
        assert list(features.shape[-2:]) == [length // stride for length in padded]
        assert features.isfinite().all()


@each_network
def test_the_dry_run_knows_channels_and_strides(kind):
    run = dry_run(dict(type='TimmMaps', **NETWORKS[kind]))
    assert run.device == 'meta'
    assert run.stopped == {}
    maps = maps_of(build(kind), torch.rand(1, *run.image[1:]))
    for place in ('backbone', 'neck'):
        levels = run.levels(place)
        assert levels.strides == STRIDES[kind]
        assert levels.channels == tuple(one.shape[1] for one in maps)
        assert levels.sizes == tuple(tuple(one.shape[-2:]) for one in maps)


@pytest.mark.parametrize(
    ('kind', 'stride', 'strides'),
    [('vit', 16, (16,)), ('vit', 8, (8,)), ('dinov3', 32, (32,)), ('convnext', 8, (8, 16, 32, 64))],
)
def test_a_stride_resizes_the_images(kind, stride, strides):
    model = build(kind, stride=stride)
    config = dict(type='TimmMaps', **NETWORKS[kind], stride=stride)
    assert dry_run(config).levels('neck').strides == strides
    maps = maps_of(model, torch.rand(1, 3, 128, 192))
    assert [one.shape[-2:] for one in maps] == [(128 // one, 192 // one) for one in strides]


def test_patches_of_14_see_448_pixels_of_512():
    model, seen = build(stride=16), []
    project = model.backbone.network.patch_embed.proj
    project.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape))
    (features,) = maps_of(model, torch.rand(1, 3, 512, 512))
    assert seen == [(1, 3, 448, 448)]
    assert features.shape == (1, 32, 32, 32)


@each_network
@pytest.mark.parametrize('row', [0, 1])
@pytest.mark.parametrize('column', [0, 1])
def test_what_is_in_a_quadrant_of_the_image_is_there_in_the_map(kind, row, column):
    model = build(kind, norm=False, stride=16 if kind == 'vit' else None)
    plain = torch.zeros(1, 3, 128, 192)
    bright = plain.clone()
    bright[..., 64 * row : 64 * row + 64, 96 * column : 96 * column + 96] = 3
    for before, after in zip(maps_of(model, plain), maps_of(model, bright)):
        change = (after - before).abs().sum(dim=1)[0]
        height, width = (length // 2 for length in change.shape)
        parts = change[: 2 * height, : 2 * width].reshape(2, height, 2, width).sum(dim=(1, 3))
        assert divmod(parts.argmax().item(), 2) == (row, column)


def test_a_patch_of_the_image_is_a_pixel_of_the_map():
    """Of a network without attention: nothing else changes, whatever the stride."""
    model = build(stride=16, depth=1, norm=False)
    model.backbone.network.blocks[0] = torch.nn.Identity()
    plain = torch.zeros(1, 3, 64, 96)
    spot = plain.clone()
    spot[..., 20:28, 36:44] = 1  # inside row 1, column 2
    (before,), (after,) = maps_of(model, plain), maps_of(model, spot)
    assert (after - before).abs().sum(dim=1)[0].nonzero().tolist() == [[1, 2]]


@pytest.mark.parametrize('kind', ['vit', 'dinov3'])
@pytest.mark.parametrize('norm', [True, False])
def test_tokens_of_classes_and_registers_are_left_out(kind, norm):
    model, seen = build(kind, norm=norm), []
    network = model.backbone.network
    network.blocks[-1].register_forward_hook(lambda module, args, output: seen.append(output))
    stride = STRIDES[kind][0]
    (features,) = maps_of(model, torch.rand(2, 3, 3 * stride, 5 * stride))
    (tokens,) = seen
    assert network.num_prefix_tokens == 5
    assert tokens.shape == (2, 5 + 15, 32)
    with torch.no_grad():
        expected = (network.norm(tokens) if norm else tokens)[:, 5:]
    assert torch.equal(features, expected.transpose(1, 2).reshape(2, 32, 3, 5))


@pytest.mark.parametrize('kind', ['vit', 'dinov3'])
def test_the_order_of_registers_does_not_matter(kind):
    model, images = build(kind), torch.rand(1, 3, 64, 96)
    (before,) = maps_of(model, images)
    registers = model.backbone.network.reg_token
    assert registers.shape[1] == 4
    registers.data = registers.data.normal_().flip(1)
    (one,) = maps_of(model, images)
    registers.data = registers.data.flip(1)
    (other,) = maps_of(model, images)
    assert not torch.equal(before, one)
    # Sums over keys in another order: float32 round-off.
    assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_levels_are_blocks_or_stages():
    images = torch.rand(1, 3, 64, 64)
    last = maps_of(build('vit'), images)
    first, other = maps_of(build('vit', levels=[0, 2]), images)
    assert torch.equal(other, last[0])
    assert not torch.equal(first, other)
    every = maps_of(build('convnext'), images)
    assert torch.equal(maps_of(build('convnext', levels=[2]), images)[0], every[2])
    assert len(maps_of(build('resnet', levels=None), images)) == 5


def test_later_blocks_do_not_run():
    model, seen = build('vit', levels=[1]), []
    for block in model.backbone.network.blocks:
        block.register_forward_hook(lambda module, args, output: seen.append(module))
    maps_of(model, torch.rand(1, 3, 28, 28))
    assert len(seen) == 2


# Input


@each_network
def test_the_normalisation_is_that_of_timms_own_transform(kind):
    model = build(kind)
    network = model.backbone.network
    data = dict(resolve_model_data_config(network), input_size=(3, 64, 96), crop_pct=1.0)
    transform = create_transform(**data, is_training=False)
    rgb = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    expected = transform(Image.fromarray(rgb))
    assert expected.shape == (3, 64, 96)
    bgr = torch.from_numpy(rgb[..., ::-1].copy()).permute(2, 0, 1)
    given = model.data_preprocessor(dict(inputs=[bgr]))['inputs']
    # Two roundings of float32 on either side, of values up to 3.
    assert_close(given[0, :, :64, :96], expected, rtol=0, atol=1e-6)


def test_the_batch_of_a_student_is_brought_to_it():
    student = MODELS.build(tiny_detector('FasterRCNN')).data_preprocessor
    teacher = build(stride=16).data_preprocessor
    sizes = [(70, 96), (96, 50)]
    batch = random_batch(sizes)
    expected = teacher(copy.deepcopy(batch))['inputs']
    inputs = student(copy.deepcopy(batch), True)['inputs']
    assert_close(TeacherInput(student, teacher)(inputs, sizes), expected, rtol=0, atol=1e-5)


def test_mean_and_std_of_the_user():
    preprocessor = build(mean=[1, 2, 3], std=[4, 5, 6]).data_preprocessor
    assert preprocessor.mean.flatten().tolist() == [1, 2, 3]
    assert preprocessor.std.flatten().tolist() == [4, 5, 6]


@pytest.mark.parametrize(
    ('kind', 'stride', 'divisor'), [('vit', None, 14), ('vit', 16, 32), ('convnext', 3, 24)]
)
def test_batches_are_padded_to_whole_tiles(kind, stride, divisor):
    assert build(kind, stride=stride).data_preprocessor.pad_size_divisor == divisor


# Weights


def saved(kind, path, **options):
    """A file of timm's, of a network with a classifier."""
    torch.manual_seed(5)
    wanted = {key: value for key, value in NETWORKS[kind].items() if key != 'levels'}
    network = timm.create_model(wanted.pop('name'), num_classes=7, **wanted, **options)
    torch.save(network.state_dict(), path)
    return network.eval()


def loaded(kind, checkpoint, **options):
    config = dict(type='TimmMaps', **{**NETWORKS[kind], **options})
    return TeacherSource(config, checkpoint).load()


def same_weights(model, network):
    state = network.state_dict()
    own = model.backbone.network.state_dict()
    assert own
    return all(torch.equal(value, state[key]) for key, value in own.items())


@each_network
def test_weights_from_a_file_of_timms(kind, tmp_path):
    network = saved(kind, tmp_path / 'timm.pth')
    model = loaded(kind, tmp_path / 'timm.pth').module
    assert same_weights(model, network)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    torch.save(model.state_dict(), tmp_path / 'own.pth')  # its own keys
    assert same_weights(loaded(kind, tmp_path / 'own.pth').module, network)


def test_weights_by_timms_own_loader(tmp_path, monkeypatch):
    network = saved('vit', tmp_path / 'timm.pth')
    plain = timm.create_model

    def create(name, pretrained=False, **options):
        return network if pretrained else plain(name, **options)

    monkeypatch.setattr(timm, 'create_model', create)
    teacher = loaded('vit', 'timm://vit_small_patch14_reg4_dinov2.lvd142m')
    assert same_weights(teacher.module, network)


def test_position_embeddings_of_another_grid_are_resampled_by_timm(tmp_path):
    network = saved('vit', tmp_path / 'timm.pth')
    model = loaded('vit', tmp_path / 'timm.pth', img_size=70).module
    before, after = (one.pos_embed for one in (network, model.backbone.network))
    assert before.shape == (1, 49, 32)
    assert after.shape == (1, 25, 32)
    assert_close(after, resample_abs_pos_embed(before, [5, 5], num_prefix_tokens=0))


def test_files_in_the_form_of_dinov2(tmp_path):
    """They hold a mask token, and timm's own loader renames what is called otherwise."""
    network = saved('vit', tmp_path / 'timm.pth')
    published = dict(network.state_dict(), mask_token=torch.zeros(1, 32))
    published['register_tokens'] = published.pop('reg_token')
    of_class = torch.rand(1, 1, 32)  # a position that timm adds to the token
    published['cls_token'] = published['cls_token'] - of_class
    published['pos_embed'] = torch.cat([of_class, published['pos_embed']], dim=1)
    torch.save(published, tmp_path / 'dinov2.pth')
    own = loaded('vit', tmp_path / 'dinov2.pth').module.backbone.network.state_dict()
    state = network.state_dict()
    for key, value in own.items():
        assert_close(value, state[key], rtol=0, atol=1e-6)  # one difference and one sum in float32


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda state: state.pop('blocks.0.attn.qkv.bias'), 'missing keys: .*blocks.0.attn.qkv.b'),
        (lambda state: state.update(neck=torch.ones(1)), 'unexpected keys: backbone.network.neck'),
        (
            lambda state: state.update({'patch_embed.proj.weight': torch.ones(32, 3, 16, 16)}),
            r'patch_embed.proj.weight \(32, 3, 16, 16\) instead of \(32, 3, 14, 14\)',
        ),
        (
            lambda state: state.update({'norm.weight': torch.ones(33)}),
            r'norm.weight \(33,\) instead of \(32,\)',
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(change, message, tmp_path):
    state = dict(saved('vit', tmp_path / 'timm.pth').state_dict())
    change(state)
    torch.save(state, tmp_path / 'changed.pth')
    with pytest.raises(ValueError, match=f'changed.pth does not fit TimmMaps: .*{message}'):
        loaded('vit', tmp_path / 'changed.pth')


def test_weights_of_another_network_are_named(tmp_path):
    saved('convnext', tmp_path / 'timm.pth')
    with pytest.raises(ValueError, match='does not fit TimmMaps: missing keys: .*cls_token'):
        loaded('vit', tmp_path / 'timm.pth')


# What is refused


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(name='vit_tinny_patch16_224'), 'name is no network of timm: .*vit_tiny_patch16_224'),
        (
            dict(name='vit_small_patch14_dinov2.lvd'),
            'name has a tag that timm does not know: .*vit_small_patch14_dinov2.lvd142m',
        ),
        (
            dict(name='beit_base_patch16_224', depth=1),
            'beit_base_patch16_224 of timm cannot teach maps: of an image of 64 x 96 pixels it '
            'gives none .AssertionError: Input height',
        ),
        (dict(name='maxvit_tiny_tf_224'), 'maxvit_tiny_tf_224 of timm cannot teach maps: of an im'),
        (dict(name='visformer_tiny', stride=0), 'stride must be a whole number of pixels, got 0'),
        (dict(name='test_vit', stride=16.0), 'stride must be a whole number of pixels, got 16.0'),
        (dict(name='test_vit', num_classes=3), 'TimmMaps sets num_classes itself, got 3'),
        (dict(name='test_vit', pretrained=True), 'TimmMaps sets pretrained itself, got True'),
        *(
            (dict(name='test_vit', levels=levels), r'levels must be a list of ascending indices in')
            for levels in ([], [6], [-1], [2, 1], [1, 1], 'a', [1.0], 3)
        ),
    ],
)
def test_networks_and_options_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        TimmMaps(**options)


@pytest.mark.parametrize('lacking', ['forward_intermediates', 'feature_info'])
def test_networks_that_give_no_maps(lacking, monkeypatch):
    class Bare(torch.nn.Module):
        pretrained_cfg = {}

    bare = Bare()
    other = {'forward_intermediates', 'feature_info'} - {lacking}
    setattr(bare, other.pop(), [])
    monkeypatch.setattr(timm, 'create_model', lambda *args, **options: bare)
    message = f'test_vit of timm cannot teach maps: Bare has no {lacking}'
    with pytest.raises(ValueError, match=message):
        TimmMaps('test_vit')


def test_unknown_options_are_those_of_timm():
    with pytest.raises(TypeError, match="unexpected keyword argument 'strid'"):
        build(strid=16)


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(mean=[1, 2]), ValueError, r'mean must be three numbers in \[0, 255\], got \[1, 2\]'),
        (dict(std=[1, 2, 0]), ValueError, r'std must be three numbers'),
        (dict(std=[1, 2, 256]), ValueError, r'std must be three numbers'),
        (dict(mean='abc'), TypeError, "mean must be three numbers .*got 'abc'"),
        (dict(norm='layer'), ValueError, "norm must be True or False, got 'layer'"),
    ],
)
def test_other_options_that_cannot_be(options, error, message):
    with pytest.raises(error, match=message):
        build(**options)


def test_statistics_that_timm_does_not_know(monkeypatch):
    plain = timm.create_model

    def create(*args, **options):
        network = plain(*args, **options)
        network.pretrained_cfg = dict(network.pretrained_cfg, std=None)
        return network

    monkeypatch.setattr(timm, 'create_model', create)
    with pytest.raises(ValueError, match=r'timm knows no std of the pixels of .*: set std=\[...\]'):
        build()
    assert build(std=[1, 1, 1]).data_preprocessor.std.flatten().tolist() == [1, 1, 1]


def test_without_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(ImportError, match='TimmMaps needs timm: pip install timm'):
        TimmMaps('test_vit')
