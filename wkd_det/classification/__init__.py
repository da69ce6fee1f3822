"""Image classification: networks, plain and distilled classifiers, data and metrics."""

from __future__ import annotations

from typing import Any

from wkd_det import registry
from wkd_det.runtime.found import require

require('mmengine')

_HOMES = {
    **registry.CLASSIFIERS,
    **registry.REGISTERED['DATASETS'],
    **registry.REGISTERED['FUNCTIONS'],
    **registry.REGISTERED['METRICS'],
    'CIFAR_NETWORKS': 'classification.networks.zoo',
    'LogitsTap': 'classification.taps.logits',
    'ModuleTap': 'distillation.module_tap',
    'last_layer': 'classification.classifier',
    'network_keys': 'classification.classifier',
    'network_of': 'classification.classifier',
    'network_weights': 'classification.classifier',
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return registry.load(name, _HOMES[name])
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
