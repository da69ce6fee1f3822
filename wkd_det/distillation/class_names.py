"""Classes of student and teacher, compared by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log
from mmengine.visualization import Visualizer

from wkd_det.distillation.teacher import Teacher


def check_same_classes(own: int | None, other: int | None, teacher: Teacher) -> None:
    """Refuse a teacher of other classes.

    Names are compared where both are known: the teacher's from its checkpoint, the student's
    from the data set that the runner trains on.

    Args:
        own: Number of the student's classes, or None where it does not tell.
        other: Number of the teacher's.
        teacher: Tells the names of its classes.

    Raises:
        ValueError: With the numbers or the first names that differ.
    """
    if own != other:
        raise ValueError(f'the student has {own} classes and the teacher {other}')
    names = training_class_names()
    if names is None or teacher.class_names is None or len(names) != own:
        print_log(
            'class names of student or teacher are unknown: only their number is compared',
            logger='current',
        )
        return
    for index, (name, teacher_name) in enumerate(zip(names, teacher.class_names)):
        if name != teacher_name:
            raise ValueError(
                f'class {index} is {name!r} for the student and {teacher_name!r} for the teacher'
            )
    if len(teacher.class_names) != own:
        raise ValueError(
            f'the teacher has {other} classes, its checkpoint names {len(teacher.class_names)}'
        )


def checkpoint_class_names(checkpoint: dict[str, Any]) -> list[str] | None:
    """Class names that a checkpoint of MMDetection (2.x or 3.x) carries, or None."""
    meta = checkpoint.get('meta') or {}
    data = meta.get('dataset_meta') or meta
    return _names(data.get('classes') or data.get('CLASSES'))


def training_class_names() -> list[str] | None:
    """Class names of the data set that the current runner trains on, or None.

    The training loop of mmengine hands them to the visualizer when it is built, which is before
    weights are initialised.
    """
    if not Visualizer._instance_dict:
        return None
    meta = Visualizer.get_current_instance().dataset_meta or {}
    return _names(meta.get('classes'))


def _names(classes: Any) -> list[str] | None:
    if isinstance(classes, str):
        return [classes]
    if isinstance(classes, Sequence) and classes:
        return [str(name) for name in classes]
    return None
