"""Configs of version 0.1: where they are now, or what writes them."""

from __future__ import annotations

import re

from config_catalogue.catalogue import COMMAND, Catalogue
from config_catalogue.headers import ConfigError

_MOVED = {
    'configs/mini/wkd-f_fpn.py': 'configs/mini/wkd-f-fpn.py',
    'configs/classification/imagenet/wkd/born-again_gen0_resnet18.py': (
        'configs/classification/imagenet/baseline/born-again_gen0_resnet18.py'
    ),
    'configs/classification/imagenet/wkd/born-again_gen1_resnet18.py': (
        'configs/classification/imagenet/wkd-l_resnet18-to-resnet18_born-again.py'
    ),
}


def _coco_pair(names: dict[str, str]) -> str:
    student = names['student'].removesuffix('-caffe')
    if names['student_kind'] != names['kind']:
        student = f'{names["student_kind"]}_{student}'
    return f'{names["kind"]}_{names["teacher"]}-to-{student}'


# Names of the configs of 0.1, and the pair that each tells.
_OLD_NAMES = [
    (
        r'configs/detection/[a-z-]+/(?P<method>[a-z-]+)_(?P<kind>[a-z-]+)_(?P<teacher>\w+)'
        r'-to-(?P<student_kind>[a-z-]+)_(?P<student>[\w-]+)_fpn_(?:gn-head_)?'
        r'(?P<schedule>180k|1x)_coco\.py',
        _coco_pair,
    ),
    (
        r'configs/classification/(?P<data>cifar100|imagenet)/wkd/'
        r'(?P<method>[a-z-]+)_(?P<names>\w+-to-\w+)_(?P<schedule>reference|paper|224)\.py',
        lambda names: f'{names["data"]}_{names["names"]}',
    ),
    (r'configs/classification/(?P<data>digits)/wkd/(?P<method>[a-z-]+)\.py', lambda _: 'digits'),
]


def instead_of(catalogue: Catalogue, text: str) -> str | None:
    """A sentence on a config that 0.1 had and that is gone, or None.

    Args:
        catalogue: The configs that there are.
        text: A path, or a message that names one.
    """
    found = re.match(r'configs/[\w./-]+\.py', text[max(text.rfind('configs/'), 0) :])
    if found is None:
        return None
    old = found.group()
    if old in _MOVED:
        return f'{old} is {_MOVED[old]} now'
    if old.startswith('configs/_base_/'):
        return f'{old} is gone: configs/README.md tells how bases are named now'
    for pattern, pair_of in _OLD_NAMES:
        match = re.fullmatch(pattern, old)
        if match:
            names = match.groupdict()
            try:
                method, pair = catalogue.find(
                    names['method'], pair_of(names), names.get('schedule')
                )
            except ConfigError:
                return None
            new = catalogue.place(method, pair)
            if new.is_file():
                return f'{old} is {new.relative_to(catalogue.root).as_posix()} now'
            return (
                f'{old} is no longer among the configs; this writes it: {COMMAND} '
                f'--method {method.name} --pair {pair.name} --schedule {pair.schedule}'
            )
    return None
