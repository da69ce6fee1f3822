"""What turns a detector of MMDetection into its distilled form."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from wkd_det.detection.num_classes import num_classes
from wkd_det.detection.record import Record, recording
from wkd_det.detection.teacher_pass import TeacherPass
from wkd_det.distillation import DistilledModel


class DistilledMixin(DistilledModel):
    """Adds distillation losses to the detector's own.

    Put it before a detector class: ``class DistilledX(DistilledMixin, X)``. Options, teacher and
    checkpoints: :class:`~wkd_det.distillation.distilled_model.DistilledModel`.
    """

    def loss(self, batch_inputs: Tensor, batch_data_samples: list[Any]) -> dict[str, Any]:
        """Losses of the plain detector and those of the distillation terms.

        Raises:
            KeyError: If a term has the name of a loss of the detector.
            FloatingPointError: If a term is not finite, unless ``on_non_finite='skip'``.
        """
        self._fetch_teacher(batch_inputs)
        if self.distiller is None:
            return super().loss(batch_inputs, batch_data_samples)
        sizes = [tuple(sample.img_shape[:2]) for sample in batch_data_samples]
        record = Record(inputs=batch_inputs, image_sizes=sizes)
        with recording(self, record):
            losses = super().loss(batch_inputs, batch_data_samples)
        teacher = TeacherPass(
            self.distiller.teacher.module, self.data_preprocessor, batch_inputs, sizes
        )
        return self._with_terms(losses, record, teacher)

    def _num_classes(self, model: nn.Module) -> int | None:
        return num_classes(model)
