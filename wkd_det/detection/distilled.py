"""The distilled form of a detector."""

from __future__ import annotations

import inspect

from mmdet.models.detectors import BaseDetector, SemiBaseDetector
from mmdet.registry import MODELS

from wkd_det.detection.distilled_mixin import DistilledMixin


def distilled(detector: type[BaseDetector]) -> type[BaseDetector]:
    """Make and register ``Distilled<Name>``, the detector with ``teacher`` and ``distill``.

    Args:
        detector: A detector class, MMDetection's or your own.

    Returns:
        The class; its options are those of ``detector`` and of :class:`DistilledMixin`.

    Raises:
        TypeError: If it is no detector class, is distilled already, is a wrapper for
            semi-supervised training, or has a ``loss`` that needs more than images and data
            samples.

    Example:
        >>> from mmdet.models.detectors import TOOD
        >>> distilled(TOOD).__name__
        'DistilledTOOD'
    """
    if not (inspect.isclass(detector) and issubclass(detector, BaseDetector)):
        raise TypeError(f'distilled takes a detector class, got {detector!r}')
    if issubclass(detector, DistilledMixin):
        raise TypeError(f'{detector.__name__} is distilled already')
    if issubclass(detector, SemiBaseDetector):
        raise TypeError(f'{detector.__name__} holds a student and a teacher itself')
    try:
        inspect.signature(detector.loss).bind('self', 'batch_inputs', 'batch_data_samples')
    except TypeError as error:
        raise TypeError(
            f'{detector.__name__}.loss must take images and data samples: {error}'
        ) from None
    name = f'Distilled{detector.__name__}'
    doc = f'{detector.__name__} with ``teacher`` and ``distill``; see :class:`DistilledMixin`.'
    # As if the class stood where it is made: configs in Python and pickles name it so.
    module = inspect.currentframe().f_back.f_globals['__name__']
    made = type(name, (DistilledMixin, detector), dict(__doc__=doc, __module__=module))
    return MODELS.register_module(module=made)
