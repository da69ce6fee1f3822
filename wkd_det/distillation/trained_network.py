"""A trained network from its config and checkpoint, to be measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.device import get_device
from torch import nn

from wkd_det.checkpoint import weights_hash
from wkd_det.distillation.teacher_source import TeacherSource


def trained_network(
    config: Config, checkpoint: str, class_names: Sequence[str]
) -> tuple[nn.Module, dict[str, Any]]:
    """Build the network of a config and load its weights, strictly.

    Args:
        config: With the section ``model``.
        checkpoint: As in a ``teacher`` section.
        class_names: Of the data.

    Returns:
        The network, frozen, in eval mode, on the device of this process; and what it was loaded
        from, for metadata.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        ValueError: If the weights do not fit, or the checkpoint names other classes than the
            data.
    """
    teacher = TeacherSource(config=dict(model=config.model), checkpoint=checkpoint).load()
    known = teacher.class_names
    if known is not None and list(known) != list(class_names):
        raise ValueError(
            f'the data have the classes {list(class_names)[:8]} and the checkpoint {known[:8]}'
            ' (the first 8 each): they must be the same, in the same order'
        )
    account = dict(checkpoint=Path(checkpoint).name, weights_sha256=weights_hash(teacher.module))
    return teacher.module.to(get_device()), account


def check_plain(config: Config) -> None:
    """Refuse configs whose network is not trained by itself.

    Raises:
        KeyError: If the config has no model.
        ValueError: If the model is distilled.
    """
    if 'model' not in config:
        raise KeyError('the config has no model section')
    if config.model.get('teacher') or config.model.get('distill'):
        raise ValueError(
            f'{config.model.type} is a student with its teacher: give the config and the '
            'checkpoint of the teacher (model.teacher.config)'
        )
