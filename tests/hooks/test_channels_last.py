"""Channels last in training: weights and maps of the model, with the same results."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmcv.ops import ModulatedDeformConv2dPack
from mmdet.registry import HOOKS, MODELS
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODEL_WRAPPERS
from torch import distributed, nn

from wkd_det.hooks.channels_last import ChannelsLastHook
from wkd_det.testing import (
    distilled_config,
    random_batch,
    tiny_detector,
    wkd_f_term,
    wkd_l_term,
)


def is_channels_last(module):
    weights = [w for w in module.parameters() if w.dim() == 4]
    return all(w.stride() == w.to(memory_format=torch.channels_last).stride() for w in weights)


def losses_of(model, hook=None):
    """Losses of a step, and its gradients, of a copy of the model."""
    model = copy.deepcopy(model)
    if hook is not None:
        hook.before_train(SimpleNamespace(model=model))
    torch.manual_seed(0)
    batch = model.data_preprocessor(random_batch([(96, 96), (96, 96)]), training=True)
    losses = model.loss(batch['inputs'], batch['data_samples'])
    total, _ = model.parse_losses(losses)
    total.backward()
    grads = {name: w.grad for name, w in model.named_parameters() if w.grad is not None}
    return total.detach(), grads, model


@pytest.fixture
def distilled(teacher_section):
    torch.manual_seed(0)
    terms = dict(loss_wkd_l=wkd_l_term(), loss_wkd_f=wkd_f_term())
    model = MODELS.build(distilled_config(teacher_section, terms))
    model.init_weights()
    return model.train()


def test_the_hook_is_found_by_its_name():
    assert isinstance(HOOKS.build(dict(type='ChannelsLastHook')), ChannelsLastHook)


def test_weights_and_maps_lie_so(distilled):
    seen = []
    ChannelsLastHook().before_train(SimpleNamespace(model=distilled))
    assert is_channels_last(distilled)
    assert not is_channels_last(distilled.distiller.teacher.module)  # has an option of its own
    distilled.backbone.register_forward_hook(lambda *args: seen.extend(args[-1]))
    losses_of(distilled)
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in seen)


def test_losses_and_gradients_stay(distilled):
    plain, plain_grads, _ = losses_of(distilled)
    found, grads, model = losses_of(distilled, ChannelsLastHook())
    assert is_channels_last(model)
    # Float32 sums in another order.
    torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-5)
    for name, grad in grads.items():
        scale = plain_grads[name].abs().max()
        assert (grad - plain_grads[name]).abs().max() <= 1e-3 * scale + 1e-6, name


def test_operators_of_mmcv_get_maps_in_the_usual_layout(distilled):
    """A compiled RoIAlign reads any tensor as if it lay so."""
    distilled.deform = ModulatedDeformConv2dPack(8, 8, 3, padding=1)
    ChannelsLastHook().before_train(SimpleNamespace(model=distilled))
    seen = []
    for layer in distilled.roi_head.bbox_roi_extractor.roi_layers:
        layer.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    batch = distilled.data_preprocessor(random_batch([(96, 96), (96, 96)]), training=True)
    distilled.loss(batch['inputs'], batch['data_samples'])
    assert seen
    assert all(maps.is_contiguous() for maps in seen)
    assert all(weight.is_contiguous() for weight in distilled.deform.parameters())


@pytest.fixture
def one_process(tmp_path):
    init = f'file://{tmp_path}/meeting'
    distributed.init_process_group('gloo', init_method=init, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize('unused', [False, True])
def test_gradients_of_a_model_in_a_wrapper(one_process, unused):
    """The wrapper gathers them in buckets, which it made for weights in the usual layout."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3))
    model = copy.deepcopy(plain)
    wrapper = MMDistributedDataParallel(model, find_unused_parameters=unused)
    ChannelsLastHook().before_train(SimpleNamespace(model=wrapper))
    assert is_channels_last(model)
    for _ in range(3):  # the buckets are arranged anew after the first step
        images = torch.rand(2, 3, 9, 9)
        for network, forward in ((plain, plain), (model, wrapper)):
            network.zero_grad()
            forward(images).square().sum().backward()
        for found, expected in zip(model.parameters(), plain.parameters()):
            torch.testing.assert_close(found.grad, expected.grad, rtol=1e-4, atol=1e-4)


def test_a_wrapper_that_takes_weights_apart_is_refused(monkeypatch):
    class Sharded(nn.Module):
        pass

    monkeypatch.setitem(MODEL_WRAPPERS.module_dict, 'Sharded', Sharded)
    with pytest.raises(ValueError, match='must be DistributedDataParallel, got Sharded'):
        ChannelsLastHook().before_train(SimpleNamespace(model=Sharded()))


def test_a_plain_model():
    model = MODELS.build(tiny_detector('FasterRCNN'))
    ChannelsLastHook().before_train(SimpleNamespace(model=model))
    assert is_channels_last(model)


def test_weights_are_read_by_models_without_it(distilled):
    other = copy.deepcopy(distilled)
    ChannelsLastHook().before_train(SimpleNamespace(model=distilled))
    other.load_state_dict(distilled.state_dict(), strict=True)
    assert not is_channels_last(other)
    for name, value in distilled.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)
