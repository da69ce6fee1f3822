"""What turns a detector of MMDetection into its distilled form."""

from __future__ import annotations

import inspect
from typing import Any

from mmdet.models.detectors import (
    ATSS,
    FCOS,
    GFL,
    BaseDetector,
    CascadeRCNN,
    FasterRCNN,
    MaskRCNN,
    RetinaNet,
    SemiBaseDetector,
)
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from torch import Tensor, nn

from wkd_det.detection.geometry import num_classes
from wkd_det.detection.student_view import Record, recording
from wkd_det.detection.teacher_view import TeacherInput, TeacherPass
from wkd_det.distillation.model import DistilledModel


class DistilledMixin(DistilledModel):
    """Adds distillation losses to the detector's own.

    :func:`~wkd_det.detection.detectors.distilled` puts it before a detector class. Options,
    teacher and checkpoints: :class:`~wkd_det.distillation.model.DistilledModel`.

    Attributes:
        model_config: Model config of the plain detector, as it was given.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Before the detector builds itself: terms are built at its end and read the widths.
        self.model_config = ConfigDict(kwargs, type=type(self).__name__)
        self._teacher_input: TeacherInput | None = None
        super().__init__(*args, **kwargs)

    def loss(self, batch_inputs: Tensor, batch_data_samples: list[Any]) -> dict[str, Any]:
        """Losses of the plain detector and those of the distillation terms.

        Raises:
            KeyError: If a term has the name of a loss of the detector.
            FloatingPointError: If a term is not finite, unless ``on_non_finite='skip'``.
        """
        self._fetch_teacher(batch_inputs)
        if self.distiller is None:
            return super().loss(batch_inputs, batch_data_samples)
        record = Record(inputs=batch_inputs, samples=batch_data_samples)
        teacher = TeacherPass(
            self.distiller.teacher.module, self._teacher_input, batch_inputs, record.image_sizes
        )
        if self.distiller.is_on:
            teacher.run_backbone()
        with recording(self, record):
            losses = super().loss(batch_inputs, batch_data_samples)
        return self._with_terms(losses, record, teacher)

    def _fetch_teacher(self, inputs: Tensor | None = None) -> None:
        super()._fetch_teacher(inputs)
        if self.distiller is not None and self._teacher_input is None:
            teacher = self.distiller.teacher.module
            self._teacher_input = TeacherInput(self.data_preprocessor, teacher.data_preprocessor)

    def _num_classes(self, model: nn.Module) -> int | None:
        return num_classes(model)


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


DistilledFasterRCNN = distilled(FasterRCNN)


DistilledMaskRCNN = distilled(MaskRCNN)


DistilledCascadeRCNN = distilled(CascadeRCNN)


DistilledRetinaNet = distilled(RetinaNet)


DistilledFCOS = distilled(FCOS)


DistilledATSS = distilled(ATSS)


DistilledGFL = distilled(GFL)
