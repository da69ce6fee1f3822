"""Augmentations of torchvision, from a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

import torchvision.transforms as transforms
from mmengine.registry import Registry
from PIL import Image
from torch import Tensor

from wkd_det.distillation.strict import build_strict

TORCHVISION_TRANSFORMS = Registry('torchvision transform')
for _name, _value in vars(transforms).items():
    if isinstance(_value, type) and not issubclass(_value, Enum):
        TORCHVISION_TRANSFORMS.register_module(_name, module=_value)


def build_transform(configs: Sequence[Mapping[str, Any]]) -> Callable[[Image.Image], Tensor]:
    """Chain transforms of torchvision; images come out as bytes, shape ``(3, H, W)``.

    Args:
        configs: Each a ``type``, a class of ``torchvision.transforms``, and its arguments. An
            ``interpolation`` is given by name, e.g. ``'bicubic'``.

    Raises:
        TypeError, KeyError: If a section is wrong; with the valid names.
    """
    steps = []
    for index, config in enumerate(configs):
        config = dict(config)
        if isinstance(config.get('interpolation'), str):
            config['interpolation'] = transforms.InterpolationMode(config['interpolation'])
        section = f'transforms[{index}]'
        names = TORCHVISION_TRANSFORMS.module_dict
        steps.append(build_strict(section, config, TORCHVISION_TRANSFORMS, names))
    return transforms.Compose([*steps, transforms.PILToTensor()])
