"""Export of a student: from a distilled checkpoint to files that need MMDetection alone."""

from __future__ import annotations

import ast
import inspect
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from wkd_det import registry
from wkd_det.detection.detectors import DistilledMixin
from wkd_det.detection.unlabelled_data import labelled_alone
from wkd_det.runtime.checkpoints import read_checkpoint
from wkd_det.runtime.config import keyword_names, read_config
from wkd_det.runtime.files import write_together
from wkd_det.runtime.state import load_strictly, unwrapped_key, weights_of

CONFIG_NAME, CHECKPOINT_NAME = 'student.py', 'student.pth'
WEIGHTS = ('averaged', 'last')

_KEPT_META = ('dataset_meta', 'CLASSES', 'epoch', 'iter')
_OF_THE_RUN = ('launcher', 'load_from', 'resume', 'work_dir')
_OF_THE_TRAINING = ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')
_PACKAGE = 'wkd_det'


def export_student(
    checkpoint: str | os.PathLike,
    output: str | os.PathLike,
    *,
    config: str | os.PathLike | None = None,
    ema: str | None = None,
    force: bool = False,
) -> tuple[Path, Path]:
    """Write the student of a distilled checkpoint as plain MMDetection files.

    The config that a checkpoint holds is read, not run. Both files are complete before the first
    takes its name.

    Args:
        checkpoint: Written by the training of a distilled model.
        output: Folder of the two files, ``student.py`` and ``student.pth``.
        config: Config of the distilled model, in place of the one in the checkpoint.
        ema: Which weights of a training with ``EMAHook``: ``'averaged'`` or ``'last'``, those of
            the optimizer. None: ``state_dict``, where that hook has put the averaged ones.
        force: Replace the two files.

    Returns:
        Paths of config and checkpoint.

    Raises:
        FileExistsError: If one of the files is there and ``force`` is not set.
        FileNotFoundError: If checkpoint or config is not there.
        ValueError: If the checkpoint is damaged, holds no config, is plain already, or does not
            fit the config; if the student uses a type that only this package has; or if it is a
            classifier, which :func:`wkd_det.classification.network_weights` makes plain.
    """
    paths = Path(output) / CONFIG_NAME, Path(output) / CHECKPOINT_NAME
    for path in paths:
        if path.exists() and not force:
            raise FileExistsError(f'{path} exists already: --force replaces it')
    content = read_checkpoint(checkpoint)
    source = _config_in(content, checkpoint) if config is None else read_config(config)
    init_default_scope(source.get('default_scope') or 'mmdet')
    if _kind(source) in ('Classifier', 'DistilledClassifier'):
        raise ValueError(
            f'{checkpoint} is a classifier, whose plain form is its bare network: '
            f'wkd_det.classification.network_weights({str(checkpoint)!r}) returns its weights alone'
        )
    if not _is_distilled(source) and not _has_distiller(content):
        raise ValueError(
            f'{checkpoint} is plain already, there is nothing to export: its model is a '
            f'{source["model"]["type"]}'
        )
    plain = plain_config(source)
    if not plain.get('default_scope'):  # configs in Python name classes and need none
        plain.default_scope = 'mmdet'
    student = registry.build(plain.model)
    load_strictly(student, _weights(content, ema, checkpoint), str(checkpoint))
    meta = {key: value for key, value in _meta(content).items() if key in _KEPT_META}
    meta['cfg'] = plain.pretty_text
    weights = io.BytesIO()
    torch.save(dict(meta=meta, state_dict=student.state_dict()), weights)
    write_together({paths[1]: weights.getvalue(), paths[0]: plain.pretty_text})
    return paths


def plain_config(config: Mapping[str, Any]) -> Config:
    """Return the config of the student alone.

    A type of this package becomes the first registered type that it extends and loses its own
    options. Left out are hooks of this package that extend none, data sets without labels, for
    which the plain student has no use (with no others, the sections of the training),
    ``custom_imports`` of this package, and the settings of one run (``work_dir``, ``load_from``,
    ``resume``, ``launcher``). Where data sets were joined by a sampler of this package, they are
    shuffled together.

    Raises:
        ValueError: If another section uses a type that only this package has.
    """
    plain = config.to_dict() if isinstance(config, Config) else dict(config)
    for key in _OF_THE_RUN:
        plain.pop(key, None)
    imports = dict(plain.pop('custom_imports', None) or {})
    if isinstance(plain.get('train_dataloader'), Mapping):
        loader = labelled_alone(plain['train_dataloader'])
        if loader is None:
            plain = {key: item for key, item in plain.items() if key not in _OF_THE_TRAINING}
        else:
            plain['train_dataloader'] = loader
    if others := [name for name in _imports(imports) if name.split('.')[0] != _PACKAGE]:
        plain['custom_imports'] = dict(imports, imports=others)
    hooks = plain.pop('custom_hooks', None) or []
    if kept := [hook for hook in hooks if not _is_extra_hook(hook)]:
        plain['custom_hooks'] = kept
    if isinstance(named := plain.get('default_hooks'), Mapping):
        plain['default_hooks'] = {
            name: hook for name, hook in named.items() if not _is_extra_hook(hook)
        }
    return Config(_plain(plain, ''))


def _plain(value: Any, place: str) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item, f'{place}[{i}]') for i, item in enumerate(value))
    if not isinstance(value, Mapping):
        return value
    section = dict(value)
    found = _ours(section.get('type'))
    if found is not None:
        name, options = _plain_type(*found)
        if name is None:
            raise ValueError(f'{place} is a {section["type"]}, which only {_PACKAGE} has')
        section = {key: item for key, item in section.items() if key not in options}
        section['type'] = name
    return {key: _plain(item, f'{place}.{key}'.lstrip('.')) for key, item in section.items()}


def _plain_type(cls: type, kind: str) -> tuple[str | None, list[str]]:
    """Return the first registered type that a type of ours extends, and the options it lacks."""
    names = {other: name for name, other in registry.known(kind).items()}
    own: set[str] = set()
    for base in inspect.getmro(cls):
        if base in names and not _is_ours(base):
            return names[base], sorted(own - set(keyword_names(base)))
        if _is_ours(base):
            own.update(keyword_names(base))
    return None, []


def _ours(named: Any) -> tuple[type, str] | None:
    """Return the class of this package that a config names, with its registry; None for others."""
    name = named.rsplit('.', 1)[-1] if isinstance(named, str) else getattr(named, '__name__', None)
    for kind in registry.REGISTERED:
        cls = registry.known(kind).get(name)
        # A class that has taken the name of another (AmpOptimWrapper on a CPU) is not named.
        if _is_ours(cls) and cls.__name__ == name:
            return cls, kind
    return None


def _is_ours(cls: Any) -> bool:
    if not isinstance(cls, type):
        return False
    return cls.__module__.split('.')[0] == _PACKAGE or issubclass(cls, DistilledMixin)


def _is_extra_hook(hook: Any) -> bool:
    found = _ours(hook.get('type')) if isinstance(hook, Mapping) else None
    return found is not None and found[1] == 'HOOKS' and _plain_type(*found)[0] is None


def _kind(config: Mapping[str, Any]) -> str:
    kind = config['model']['type']
    return kind if isinstance(kind, str) else kind.__name__


def _is_distilled(config: Mapping[str, Any]) -> bool:
    found = _ours(config['model'].get('type'))
    return found is not None and issubclass(found[0], DistilledMixin)


def _has_distiller(content: dict[str, Any]) -> bool:
    state = content.get('state_dict', content)
    return any(unwrapped_key(key).startswith('distiller.') for key in state)


def _meta(content: dict[str, Any]) -> dict[str, Any]:
    return content.get('meta') or {}


def _imports(section: Mapping[str, Any]) -> list[str]:
    names = section.get('imports') or []
    return [names] if isinstance(names, str) else list(names)


def _weights(
    content: dict[str, Any], ema: str | None, source: str | os.PathLike
) -> dict[str, torch.Tensor]:
    """Return the student's weights; ``EMAHook`` saves the averaged ones as ``state_dict``."""
    if ema not in (None, *WEIGHTS):
        raise ValueError(f'ema must be one of {WEIGHTS}, got {ema!r}')
    if ema is not None and 'ema_state_dict' not in content:
        raise ValueError(f'{source} was not trained with EMAHook: leave out --ema')
    weights = weights_of(content)
    if ema == 'last':
        last = weights_of(dict(state_dict=content['ema_state_dict']))
        weights = {key: last[key] for key in weights}
    return weights


def _config_in(content: dict[str, Any], source: str | os.PathLike) -> dict[str, Any]:
    text = _meta(content).get('cfg')
    if not isinstance(text, str):
        raise ValueError(f'{source} holds no config: name the one it was trained with by --config')
    try:
        config = _literals(text)
        missing = 'model' not in config
    except (SyntaxError, ValueError):
        missing = True
    if missing:
        raise ValueError(f'the config in {source} cannot be read: name it by --config')
    others = [name for name in _imports(config.get('custom_imports') or {}) if name != _PACKAGE]
    if others:  # nobody but the user may decide to run them
        raise ValueError(
            f'the config in {source} imports {", ".join(others)}: name the config by --config to '
            'have them imported'
        )
    return config


def _literals(text: str) -> dict[str, Any]:
    """Read ``name = value`` lines as mmengine writes them, running nothing.

    Raises:
        SyntaxError, ValueError: If there is more than literals and calls of ``dict``.
    """
    values = {}
    for node in ast.parse(text).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            raise ValueError(f'line {node.lineno} is no assignment to a name')
        values[node.targets[0].id] = _literal(node.value)
    return values


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        if node.args or any(keyword.arg is None for keyword in node.keywords):
            raise ValueError(f'line {node.lineno}: dict takes keywords only')
        return {keyword.arg: _literal(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_literal(key): _literal(item) for key, item in zip(node.keys, node.values)}
    if isinstance(node, ast.List):
        return [_literal(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_literal(item) for item in node.elts)
    return ast.literal_eval(node)
