"""One step of a family: plain, and then distilled by a teacher of the same config."""

from __future__ import annotations

import copy
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from mmdet.models.backbones.trident_resnet import TridentConv
from mmdet.models.detectors import SemiBaseDetector
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from family_sweep.batches import batch_of
from family_sweep.configs import FAMILIES, model_of
from wkd_det.detection.detectors import distilled
from wkd_det.detection.geometry import num_classes

_CONNECTOR = dict(type='ConvConnector', kernel_size=1)
_FEATURES = dict(type='WKDFeatureLoss', grid=2, loss_weight=1e-2)
_LOGITS = dict(type='WKDLogitLoss', cost=dict(type='ClassifierCost'), sharpness=2.0)
_TOO_SURE = {'detectors'}
"""Families whose maps grow in the neck, so that with random weights two networks are sure of one
class alike and have nothing to teach."""
KINDS = ('maps', 'roi_logits', 'roi_feats')


def run_family(family: str) -> dict[str, Any]:
    """Result of a family, as plain data.

    Returns:
        ``config`` and ``detector``; ``plain``: ``'ok'`` or why it takes no step; and then
        ``place``, ``unchanged`` (whether its own losses are, bit for bit, those of the plain step)
        and for each of ``KINDS`` ``'ok'``, the sentence that refuses it, or None without RoIs.
    """
    start = time.process_time()
    result: dict[str, Any] = dict(config=FAMILIES[family], detector=None)
    try:
        config = model_of(family)
        result['detector'] = str(config.type)
        if issubclass(MODELS.get(config.type), SemiBaseDetector):
            raise TypeError('it holds a student and a teacher itself and trains on two branches')
        losses, state, classes = _plain_step(family, config)
    except Exception as error:  # whatever stands in its way on this machine
        return dict(result, plain=_reason(error))
    result['plain'] = 'ok'
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'teacher.pth'
        torch.save(dict(state_dict=_moved(state), meta={}), path)
        result.update(_distilled_step(family, config, str(path), state, losses, classes))
    return dict(result, seconds=round(time.process_time() - start, 1))


def _plain_step(family: str, config: ConfigDict) -> tuple[dict[str, Any], dict[str, Tensor], int]:
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(config))
    model.init_weights()
    for module in model.modules():
        if isinstance(module, TridentConv):  # mmdet leaves it to a checkpoint
            nn.init.kaiming_normal_(module.weight)
    classes = _classes(model)
    _measure_statistics(model, batch_of(family, config, classes))
    if family in _TOO_SURE:
        for name, value in model.named_parameters():
            if name.endswith('fc_cls.weight'):
                value.data.mul_(1e-4)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    losses = _step(model, batch_of(family, config, classes))
    return losses, state, classes


def _measure_statistics(model: nn.Module, batch: dict[str, Any]) -> None:
    """Give the batch normalisations of the backbone the statistics of this batch.

    Many stay as they are in training, and without their checkpoint maps grow from layer to layer.
    """
    # An eps of 0, as caffe's networks have it, is for those that stay as they are.
    norms = [one for one in model.backbone.modules() if isinstance(one, _BatchNorm) and one.eps]
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    with torch.no_grad():
        model.backbone(model.data_preprocessor(batch, True)['inputs'])
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum


def _classes(model: nn.Module) -> int:
    """Number of classes of things in a batch."""
    head = getattr(model, 'panoptic_head', None)
    if head is not None:
        return head.num_things_classes
    found = num_classes(model)
    if found is None:
        heads = (getattr(model, name, None) for name in ('mask_head', 'bbox_head'))
        found = next((one.num_classes for one in heads if hasattr(one, 'num_classes')), 1)
    return min(found, 20)


def _step(model: nn.Module, batch: dict[str, Any]) -> dict[str, Any]:
    """Losses of a step, with gradients.

    Raises:
        FloatingPointError: If their sum is not finite.
        RuntimeError: If no gradient reaches the backbone.
    """
    model.train()  # of some wrappers it returns nothing
    MessageHub.get_current_instance().update_info('epoch', 0)  # as the runner
    data = model.data_preprocessor(batch, True)
    torch.manual_seed(3)
    losses = model.loss(data['inputs'], data['data_samples'])
    total, _ = model.parse_losses(losses)
    if not total.isfinite():
        raise FloatingPointError('the sum of the losses is not finite')
    total.backward()
    reached = [one.grad is not None and one.grad.any() for one in model.backbone.parameters()]
    if not any(reached):
        raise RuntimeError('no gradient reaches the backbone')
    return losses


def _moved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a teacher that is not its student: layers larger by a tenth, biases moved."""
    moved = {}
    for key, value in state.items():
        if value.is_floating_point() and value.dim() > 1:
            value = value * 1.1
        elif key.endswith('.bias'):  # alone it tells what nearly empty features do not
            value = value + torch.linspace(-0.1, 0.1, len(value))
        moved[key] = value
    return moved


def _distilled_step(
    family: str,
    config: ConfigDict,
    checkpoint: str,
    state: dict[str, Tensor],
    plain: dict[str, Any],
    classes: int,
) -> dict[str, Any]:
    place = 'neck' if config.get('neck') is not None else 'backbone'
    terms = dict(loss_maps=dict(tap=place, levels=[0], connector=_CONNECTOR, loss=_FEATURES))
    if config.get('roi_head') is not None:
        stages = config.roi_head.get('num_stages')
        chosen = {} if stages is None else dict(stage=list(range(stages)))
        terms['loss_roi_logits'] = dict(tap='roi_logits', loss=_LOGITS, **chosen)
        terms['loss_roi_feats'] = dict(
            tap='roi_feats', connector=_CONNECTOR, loss=_FEATURES, **chosen
        )
    result: dict[str, Any] = dict(place=place)
    for kind in KINDS:
        result[kind] = 'ok' if f'loss_{kind}' in terms else None
    try:
        distilled(MODELS.get(config.type))
    except TypeError as error:
        return dict(result, **{kind: str(error) for kind in KINDS if result[kind]})
    teacher = dict(config=config, checkpoint=checkpoint)
    while terms:
        try:
            torch.manual_seed(0)
            kind = f'Distilled{config.type}'
            model = MODELS.build(
                ConfigDict(copy.deepcopy(config), type=kind, teacher=teacher, distill=terms)
            )
            break
        except (KeyError, TypeError, ValueError) as error:
            named = [name for name in terms if f'distill.{name}:' in str(error)]
            if not named:
                raise
            said = str(error).partition(f'distill.{named[0]}: ')[2]
            result[named[0].removeprefix('loss_')] = said
            terms.pop(named[0])
    if not terms:
        return result
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or any(not key.startswith('distiller.') for key in missing):
        raise RuntimeError(f'the plain weights do not fit: {unexpected}, {missing}')
    losses = _step(model, batch_of(family, config, classes))
    for name in terms:
        if not losses[name] > 0:
            raise RuntimeError(f'{name} is {losses[name].item()}')
    result['unchanged'] = all(_same(losses[name], value) for name, value in plain.items())
    return result


def _same(own: Any, other: Any) -> bool:
    if isinstance(own, (list, tuple)):
        return all(_same(*pair) for pair in zip(own, other))
    return torch.equal(own, other)


def _reason(error: Exception) -> str:
    said = ' '.join(str(error).strip().partition('\n')[0].split())
    return f'{type(error).__name__}: {said}'[:300]
