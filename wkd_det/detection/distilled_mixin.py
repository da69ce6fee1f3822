"""What turns a detector of MMDetection into its distilled form."""

from __future__ import annotations

from typing import Any

from mmengine.config import ConfigDict
from torch import Tensor, nn

from wkd_det.detection.num_classes import num_classes
from wkd_det.detection.record import Record, recording
from wkd_det.detection.teacher_input import TeacherInput
from wkd_det.detection.teacher_pass import TeacherPass
from wkd_det.distillation import DistilledModel


class DistilledMixin(DistilledModel):
    """Adds distillation losses to the detector's own.

    :func:`~wkd_det.detection.distilled.distilled` puts it before a detector class. Options,
    teacher and checkpoints: :class:`~wkd_det.distillation.distilled_model.DistilledModel`.

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
