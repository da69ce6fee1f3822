"""Class names of student and teacher: those of the data, and how both compare."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from mmengine.config import Config, ConfigDict
from mmengine.visualization import Visualizer

from wkd_det.distillation.classes import RULES, match_classes
from wkd_det.runtime.class_names import same_names, spelling
from wkd_det.runtime.mistakes import sentence_of

_NAME = 'wkd_det explain'


@contextmanager
def published(names: Sequence[str] | None) -> Iterator[None]:
    """A block in which names are those of the training data, as a runner publishes them."""
    before = dict(Visualizer._instance_dict)
    Visualizer._instance_dict.clear()
    if names is not None:
        Visualizer.get_instance(_NAME).dataset_meta = dict(classes=tuple(names))
    try:
        yield
    finally:
        Visualizer._instance_dict.clear()
        Visualizer._instance_dict.update(before)


def unread_names(config: Config, *, detection: bool) -> list[str] | None:
    """Return the class names of a config's data, which need not be there; None if they are unknown.

    Data sets of MMDetection say them without their files, others where ``classes`` names them.

    Args:
        config: A config with ``val_dataloader`` or others; looked at in the order in which
            training looks at them.
        detection: Whether it is that of a detector.

    Raises:
        ValueError: If joined sets name different classes.
    """
    for split in ('val', 'train', 'test'):
        section = (config.get(f'{split}_dataloader') or {}).get('dataset')
        if not isinstance(section, ConfigDict):
            continue
        names = _detection_names(section) if detection else section.get('classes')
        if names:
            return list(map(str, names))
    return None


def _detection_names(section: ConfigDict) -> list[str] | None:
    from wkd_det.inspection.opening import class_names_of

    with suppress(FileNotFoundError, KeyError, TypeError):
        return class_names_of(section)
    return None


@dataclass(frozen=True)
class Classes:
    """Classes of student and teacher."""

    own: int | None
    other: int | None
    names: list[str] | None
    teacher_names: list[str] | None
    rule: str
    """Value of ``teacher.classes`` that the pair needs."""
    refusals: dict[str, str]
    """Why rules before it are refused."""

    @property
    def spelt_otherwise(self) -> list[tuple[str, str]]:
        """Pairs of names that differ in spelling alone."""
        others = {spelling(name): name for name in self.teacher_names or ()}
        found = [(name, others.get(spelling(name))) for name in self.names or ()]
        return [(name, other) for name, other in found if other not in (None, name)]

    @property
    def shared(self) -> list[str]:
        """The student's names that the teacher has, in any spelling."""
        others = {spelling(name) for name in self.teacher_names or ()}
        return [name for name in self.names or () if spelling(name) in others]

    @property
    def missing(self) -> list[tuple[str, list[str]]]:
        """The student's names that the teacher lacks, each with near ones of the teacher."""
        shared = {spelling(name) for name in self.shared}
        free = [name for name in self.teacher_names or () if spelling(name) not in shared]
        by_lower = {name.lower(): name for name in free}
        return [
            (name, [by_lower[one] for one in difflib.get_close_matches(name.lower(), by_lower)])
            for name in self.names or ()
            if spelling(name) not in shared
        ]

    @property
    def additional(self) -> list[str]:
        """The teacher's names that the student lacks."""
        own = {spelling(name) for name in self.names or ()}
        return [name for name in self.teacher_names or () if spelling(name) not in own]

    @property
    def same_order(self) -> bool:
        """Whether both name the same classes in the same order."""
        return same_names(self.names or [], self.teacher_names or [])


def compare_classes(
    own: int | None,
    other: int | None,
    names: list[str] | None,
    teacher_names: list[str] | None,
    rule: str | None = None,
) -> Classes:
    """Match the classes as training does, by the strictest rule that takes them.

    Args:
        own: Number of the student's classes.
        other: Number of the teacher's.
        names: Names of the student's.
        teacher_names: Names of the teacher's.
        rule: The rule of the config; None for the first of ``same``, ``subset`` and ``any`` that
            is not refused.
    """
    refusals: dict[str, str] = {}
    with published(names):
        for one in RULES if rule is None else (rule,):
            try:
                match_classes(own, other, teacher_names, one)
            except ValueError as error:
                refusals[one] = sentence_of(error)
            else:
                return Classes(own, other, names, teacher_names, one, refusals)
    return Classes(own, other, names, teacher_names, rule or 'any', refusals)
