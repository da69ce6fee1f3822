"""A trained detector, plain or distilled, to look into."""

from __future__ import annotations

import os

from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import init_default_scope

from wkd_det.detection.export import plain_config
from wkd_det.distillation import Teacher, TeacherSource


def open_detector(config: str | Config, checkpoint: str | os.PathLike) -> Teacher:
    """Load a detector strictly; of a distilled one the student alone, so no teacher is needed.

    Args:
        config: Path, ``mmdet::`` name or config.
        checkpoint: Path or http(s) address of its weights.

    Returns:
        The frozen network and the names of its classes.

    Raises:
        FileNotFoundError, KeyError, ValueError: If they do not fit together.
    """
    if isinstance(config, str):
        config = get_config(config) if '::' in config else Config.fromfile(config)
    init_default_scope(config.get('default_scope') or 'mmdet')
    if 'model' not in config:
        raise KeyError('the config has no model section')
    model = plain_config(config).model
    return TeacherSource(config=dict(model=model), checkpoint=str(checkpoint)).load()
