"""Reading configs, and sections of them in which a misspelt key is an error."""

from __future__ import annotations

import copy
import difflib
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

from wkd_det import registry
from wkd_det.ops.checks import listed


def read_config(
    source: str | os.PathLike | Mapping[str, Any] | Config, *, section: str | None = None
) -> Config:
    """Return the config that a path, a name, a dict or a config stands for.

    Nothing is installed, unlike by ``mmengine.hub.get_config``.

    Args:
        source: Path of a config file; a name in an installed package, such as
            ``'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'`` or
            ``'wkd_det::mini/wkd-lf.py'``; the content as a dict; or a config, which is copied.
        section: Place in another config where ``source`` stands, for messages.

    Returns:
        The caller's own: changes do not reach ``source``.

    Raises:
        FileNotFoundError: If there is no such file.
        ModuleNotFoundError: If the package of a name is not installed.
        TypeError: If ``source`` is something else.
        ValueError: If a name is that of no package with configs.

    Example:
        >>> read_config(dict(model=dict(type='FasterRCNN'))).model.type
        'FasterRCNN'
    """
    if isinstance(source, Config):
        return copy.deepcopy(source)
    if isinstance(source, Mapping):
        return Config(copy.deepcopy(dict(source)))
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f'a config must be a path, a name, a dict or a Config, got {source!r}')
    path = os.fspath(source)
    return Config.fromfile(_named_file(path, section) if '::' in path else path)


def config_file(name: str) -> str:
    """Return the path behind the name of a config in an installed package.

    Args:
        name: Such as ``'wkd_det::mini/wkd-lf.py'``; text that is no such name is returned as it is.

    Raises:
        FileNotFoundError: If the package has no such config.
        ModuleNotFoundError: If the package is not installed.
    """
    module, _, path = name.partition('::')
    if module not in MODULE2PACKAGE or not path.endswith('.py'):
        return name
    return _named_file(name)


def _named_file(name: str, section: str | None = None) -> str:
    """Return the path behind a name; what is not there is an error, and is not fetched."""
    where = '' if section is None else f'{section}: '
    module, _, path = name.partition('::')
    if module not in MODULE2PACKAGE:
        raise ValueError(
            f'{where}{name!r} names no package that has configs: '
            f'{near_matches(module, MODULE2PACKAGE)}'
        )
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            f'{where}{name!r} is a config of {MODULE2PACKAGE[module]}, which is not installed',
            name=module,
        )
    folder = Path(spec.origin).parent / '.mim/configs'
    file = folder / path
    if not file.is_file():
        by_name = {one.name: one.relative_to(folder) for one in folder.rglob('*.py')}
        near = by_name.get(file.name)
        hint = '' if near is None else f", '{module}::{near.as_posix()}' is"
        raise FileNotFoundError(
            f'{where}{module} has no config {path!r}: {file} is not there{hint}'
        )
    return str(file)


def check_keys(section: str, given: Iterable[str], valid: Iterable[str]) -> None:
    """Refuse keys that nobody reads.

    Raises:
        KeyError: With the section, the unknown keys and the valid ones.
    """
    unknown = sorted(set(given) - set(valid))
    if unknown:
        raise KeyError(f'{section} has unknown keys {unknown}; valid keys are {sorted(valid)}')


def near_matches(given: Any, valid: Iterable[str]) -> str:
    """Return the end of a message on an invalid name: the name, and valid ones that are similar.

    >>> near_matches('resnet23', ['resnet20', 'resnet32', 'vgg8'])
    "got 'resnet23'; near matches are resnet32, resnet20"
    >>> near_matches('x', ['vgg8', 'vgg11'])
    "got 'x'; valid names are vgg8, vgg11"
    """
    by_lower = {}
    for name in valid:
        by_lower.setdefault(name.lower(), []).append(name)
    near = difflib.get_close_matches(str(given).lower(), by_lower, n=5, cutoff=0.6)
    names = [name for key in near for name in by_lower[key]]
    if names:
        return f'got {given!r}; near matches are {", ".join(names)}'
    names = [name for group in by_lower.values() for name in group]
    return f'got {given!r}; valid names are {listed(names, 20)}'


def keyword_names(function: Callable) -> list[str]:
    """Return the names of the parameters that a config may set."""
    return [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and name != 'self'
    ]


def build_strict(
    section: str,
    config: Mapping[str, Any],
    choices: Iterable[str],
    find: Callable[[str], Any] = registry.find,
    **defaults: Any,
) -> Any:
    """Build ``config['type']``, with errors that list what is valid.

    Args:
        section: Place of the config, for messages, e.g. ``'distill.loss_wkd_l.loss'``.
        config: A ``type`` and its arguments.
        choices: Names to list when the look-up fails; a type of the user's own may have others.
        find: Looks a name up; returns None for one that it does not know.
        **defaults: Arguments for what the config leaves open, if the type takes them.

    Raises:
        TypeError: If ``config`` is not a dict or lacks a required argument.
        KeyError: If ``type`` is missing or unknown, or an argument is.
    """
    if not isinstance(config, Mapping):
        raise TypeError(f'{section} must be a dict with a type, got {config!r}')
    arguments = dict(config)
    kind = arguments.pop('type', None)
    cls = find(kind) if isinstance(kind, str) else kind
    if not callable(cls):
        raise KeyError(f'{section}.type must be one of {sorted(choices)}, got {kind!r}')
    valid = keyword_names(cls)
    check_keys(section, arguments, valid)
    for name, value in defaults.items():
        if name in valid:
            arguments.setdefault(name, value)
    try:
        inspect.signature(cls).bind(**arguments)
    except TypeError as error:
        raise TypeError(f'{section} of type {kind!r}: {error}') from None
    return cls(**arguments)
