"""Places of a classification network by common names: its stages, its last map, what is pooled."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from torch import nn

from wkd_det.classification.classifier import last_layer
from wkd_det.classification.networks.mobilenets import MobileNetV2
from wkd_det.classification.networks.resnets import WideResNet
from wkd_det.classification.networks.shufflenets import ShuffleNetV2
from wkd_det.distillation.places import Place

_POOLS = ('pool', 'avgpool', 'global_pool', 'head.global_pool')


def places_of(network: nn.Module, num_classes: int | None) -> dict[str, Place]:
    """Places that a network has, by the names that methods use.

    ===================  =====================================================================
    ``stages``           outputs of its stages from fine to coarse, without the stem; of a network
                         of equal blocks (ViT) those after each quarter
    ``stages_before``    the same before their last activation
    ``norms_before``     the batch normalisations right before these activations
    ``last``             the last of the stages
    ``last_before``      the same before its last activation
    ``middle``           the second stage: where FitNet compares
    ``second_last``      the stage before the last
    ``pooled_map``       the map that is pooled
    ``pool``             the vector that the last layer is given
    ===================  =====================================================================

    The stages of this package's CIFAR networks are those of the CRD benchmark. Those of networks
    of timm are what its ``feature_info`` says, of torchvision only those of residual networks are
    known.

    Args:
        network: A bare network.
        num_classes: Number of its logits.
    """
    places: dict[str, Place] = {}
    stages = _stages(network)
    if stages:
        places.update(stages=stages, last=stages[-1], middle=stages[min(1, len(stages) - 1)])
        if len(stages) > 1:
            places['second_last'] = stages[-2]
        before = _before_activation(network, stages)
        if before:
            places.update(stages_before=before, last_before=before[-1])
            norms = [_norm_before(network, name.removesuffix(':input')) for name in before]
            if None not in norms:
                places['norms_before'] = norms
    for name in _POOLS:
        if any(name == known for known, _ in network.named_modules()):
            places['pooled_map'] = f'{name}:input'
    with suppress(ValueError):  # without a layer of one output per class no vector goes into it
        places['pool'] = f'{last_layer(network, num_classes)[0]}:input'
    return places


def _stages(network: nn.Module) -> list[str]:
    own = getattr(network, 'feature_modules', None)
    if own is not None:
        return [name for index, name in enumerate(own) if index or '.' in name]
    if _is_residual(network):
        return ['layer1', 'layer2', 'layer3', 'layer4']
    blocks = [entry['module'] for entry in _entries(getattr(network, 'feature_info', None))]
    if len(blocks) > 5:
        return [blocks[quarter * len(blocks) // 4 - 1] for quarter in (1, 2, 3, 4)]
    return blocks[-4:]


def _entries(info: Any) -> list[dict[str, Any]]:
    # timm keeps a list of dicts or an object that holds one.
    return list(getattr(info, 'info', info) or [])


def _is_residual(network: nn.Module) -> bool:
    return all(
        isinstance(getattr(network, f'layer{index}', None), nn.Sequential) for index in (1, 2, 3, 4)
    )


def _before_activation(network: nn.Module, stages: list[str]) -> list[str]:
    special: dict[type, Callable[[], list[str]]] = {
        # The sums of a pre-activation network meet their normalisation in the next stage.
        WideResNet: lambda: ['block2.layer.0.bn1', 'block3.layer.0.bn1', 'bn1'],
        MobileNetV2: lambda: stages,  # linear bottlenecks
        ShuffleNetV2: lambda: [],  # halves that are rectified apart
    }
    if type(network) in special:
        return special[type(network)]()
    if not (_is_residual(network) or hasattr(network, 'feature_modules')):
        return []
    last = [_last_activation(network.get_submodule(stage), stage) for stage in stages]
    return [] if None in last else [f'{name}:input' for name in last]


def _last_activation(stage: nn.Module, name: str) -> str | None:
    found = [part for part, module in stage.named_modules() if isinstance(module, nn.ReLU)]
    return f'{name}.{found[-1]}' if found else None


def _norm_before(network: nn.Module, name: str) -> str | None:
    """The normalisation that ends in a module: itself, or the last one in the block around it."""
    module = network.get_submodule(name)
    if isinstance(module, nn.ReLU):
        name = name.rpartition('.')[0]
        children = network.get_submodule(name).named_children()
    else:
        children = module.named_modules()  # with itself
    found = [part for part, child in children if isinstance(child, nn.BatchNorm2d)]
    return '.'.join(part for part in (name, found[-1]) if part) if found else None
