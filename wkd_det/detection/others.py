"""Distilled forms of all other detectors: importing this module registers them.

For configs whose student is none of the kinds that :mod:`wkd_det.detection.detectors` makes:
``custom_imports = dict(imports=['wkd_det', 'wkd_det.detection.others'])``. Modules of one's own
with detectors are named before it.
"""

from __future__ import annotations

import inspect
from contextlib import suppress

from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS

from wkd_det.detection.detectors import DistilledMixin, distilled


def register_others() -> list[str]:
    """Register ``Distilled<Name>`` of each registered detector that has none and can have one.

    Returns:
        Their names. Wrappers that hold a student and a teacher themselves, and detectors whose
        ``loss`` needs more than images and data samples, are left out.
    """
    MODELS.import_from_location()
    made = []
    for cls in list(MODELS.module_dict.values()):
        if not (inspect.isclass(cls) and issubclass(cls, BaseDetector)):
            continue
        if issubclass(cls, DistilledMixin) or f'Distilled{cls.__name__}' in MODELS.module_dict:
            continue
        with suppress(TypeError):
            own = distilled(cls)
            globals()[own.__name__] = own  # where pickles look for it
            made.append(own.__name__)
    return made


register_others()
