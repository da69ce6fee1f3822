"""A student and a teacher by their configs: what they are, and the distilled model of both."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope

from wkd_det import registry
from wkd_det.classification.classifier import Classifier
from wkd_det.distillation.model import DistilledModel
from wkd_det.runtime.config import near_matches, read_config

DETECTION = 'detection'
CLASSIFICATION = 'classification'
OTHERS = 'wkd_det.detection.others'
"""Module whose import registers the distilled form of detectors that have none yet."""


@dataclass(frozen=True)
class Pair:
    """A student's config and the section ``teacher`` that goes with it."""

    name: str
    """The student's config as the user names it."""
    config: Config
    """All of it."""
    kind: str
    """``'detection'`` or ``'classification'``."""
    type: str
    """Type of the distilled model."""
    teacher: dict[str, Any] | None
    """The section ``teacher``; None without a teacher."""
    imports: tuple[str, ...] = ()
    """Modules that the config must import for this type, in addition to its own."""
    configured: Mapping[str, Any] = field(default_factory=dict)
    """The section ``distill`` of a config that is distilled already."""

    @property
    def is_detection(self) -> bool:
        """Whether both are detectors."""
        return self.kind == DETECTION

    @property
    def is_distilled(self) -> bool:
        """Whether the student's config has a teacher and terms of its own."""
        return bool(self.configured)

    def model(self, **options: Any) -> ConfigDict:
        """Return the config of the distilled model, without terms.

        Args:
            **options: Options of the model to add or replace.
        """
        section = copy.deepcopy(self.config.model)
        for name in ('distill', 'unlabelled'):  # which without terms serves nothing
            section.pop(name, None)
        section.update(type=self.type, **options)
        if self.teacher is not None:
            section['teacher'] = copy.deepcopy(self.teacher)
        return section

    def teacher_config(self) -> Config | None:
        """Return the whole config of the teacher; None without one.

        Raises:
            FileNotFoundError: If it is not there.
        """
        if self.teacher is None:
            return None
        source = self.teacher['config']
        config = read_config(source, section='teacher.config')
        if 'model' not in config and isinstance(source, (Mapping, Config)):
            return Config(dict(model=config.to_dict()))
        return config

    def with_teacher(self, **changes: Any) -> Pair:
        """Return the pair with changes of its section ``teacher``."""
        return replace(self, teacher=dict(self.teacher or {}, **changes))


def open_pair(student: str, teacher: str | None = None, checkpoint: str | None = None) -> Pair:
    """Read the configs of student and teacher, and find the type of the distilled model.

    Args:
        student: Path or name of the student's config. One that is distilled already brings its
            own teacher.
        teacher: Path or name of the teacher's config.
        checkpoint: Path or address of the teacher's weights.

    Raises:
        FileNotFoundError: If a config is not there.
        KeyError: If it has no model, or a model of an unknown type.
        TypeError, ValueError: If the model cannot be distilled; with the reason.
    """
    config = read_config(student)
    if 'model' not in config:
        raise KeyError(f'{student} has no model section')
    model = config.model
    cls = _class_of(student, model)
    init_default_scope(config.get('default_scope') or _default_scope(cls))
    kind = _kind(cls)
    if model.get('teachers'):
        raise ValueError(
            f'{student} has several teachers, and a pair has one: give the config of the plain '
            'student, and one of them as --teacher'
        )
    section = model.get('teacher')
    configured = model.get('distill') or {}
    if teacher is not None:
        section = dict(section or {}, config=teacher)
    if checkpoint is not None:
        if section is None:
            raise ValueError('--checkpoint holds the weights of a teacher: give its --teacher too')
        section = dict(section, checkpoint=checkpoint)
    name, imports = _distilled_type(cls, kind)
    pair = Pair(
        name=str(student),
        config=config,
        kind=kind,
        type=name,
        teacher=None if section is None else dict(section),
        imports=imports,
        configured=configured,
    )
    if pair.teacher is not None:
        if 'config' not in pair.teacher:
            raise KeyError('teacher.config is missing: a config path, an mmdet:: name or a dict')
        _check_kinds(pair)
    return pair


def _class_of(name: str, model: Mapping[str, Any]) -> Any:
    """The class of a model section; detectors are looked up when MMDetection is there.

    Raises:
        KeyError: If its type is missing or unknown; with near matches.
    """
    if 'type' not in model:
        raise KeyError(f'{name}: the model section has no type')
    kind = model['type']
    if not isinstance(kind, str):
        return kind
    if find_spec('mmdet') is not None:
        import_module('wkd_det.detection')
        import_module('mmdet.models')
    found = registry.find(kind.rpartition('.')[2])
    if found is None:
        near = near_matches(kind, registry.known())
        raise KeyError(f'{name}: model.type must be a registered name, {near}')
    return found


def _default_scope(cls: Any) -> str:
    return 'mmengine' if cls.__module__.startswith('wkd_det.classification') else 'mmdet'


def _kind(cls: Any) -> str:
    """Which task a class belongs to.

    Raises:
        ValueError: If it is neither a classifier of this package nor a detector of MMDetection.
    """
    if isinstance(cls, type) and issubclass(cls, Classifier):
        return CLASSIFICATION
    if _is_for_detection(cls):
        return DETECTION
    raise ValueError(
        f'{cls.__name__} is neither a detector of MMDetection nor a Classifier of this package'
    )


def _distilled_type(cls: type, kind: str) -> tuple[str, tuple[str, ...]]:
    """Name of the distilled form of a class, and the modules that register it.

    Raises:
        TypeError: If it has none; with the reason.
    """
    if issubclass(cls, DistilledModel):
        return cls.__name__, ()
    if kind == CLASSIFICATION:
        return 'DistilledClassifier', ()
    name = f'Distilled{cls.__name__}'
    if registry.find(name) is not None:
        return name, ()
    others = import_module(OTHERS)
    others.register_others()
    if registry.find(name) is None:
        from wkd_det.detection.detectors import distilled

        distilled(cls)  # raises: it would be there otherwise
    return name, (OTHERS,)


def _check_kinds(pair: Pair) -> None:
    """Refuse a teacher of another task.

    Raises:
        ValueError: Naming both.
    """
    config = pair.teacher_config()
    if 'model' not in config:
        raise KeyError(f'teacher.config {pair.teacher["config"]} has no model section')
    cls = _class_of(f'the teacher {pair.teacher["config"]}', config.model)
    bare = not (isinstance(cls, type) and issubclass(cls, Classifier))
    if not pair.is_detection and bare and not _is_for_detection(cls):
        return  # a bare network may teach a classifier
    if _kind(cls) != pair.kind:
        raise ValueError(
            f'the student is for {pair.kind} and the teacher {cls.__name__} for {_kind(cls)}: '
            'they have no place in common'
        )


def _is_for_detection(cls: Any) -> bool:
    """Whether a class is a detector, or a teacher of maps for detectors."""
    if find_spec('mmdet') is None or not isinstance(cls, type):
        return False
    from mmdet.models.detectors import BaseDetector

    from wkd_det.detection.timm_maps import TimmMaps

    return issubclass(cls, (BaseDetector, TimmMaps))
