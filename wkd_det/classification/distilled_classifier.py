"""A classifier that learns from a teacher."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from mmdet.registry import MODELS
from torch import Tensor, nn

from wkd_det.classification.classifier import Classifier
from wkd_det.classification.logits_tap import LogitsTap
from wkd_det.classification.module_tap import ModuleTap, check_module
from wkd_det.classification.recording import recording
from wkd_det.classification.student_pass import StudentPass
from wkd_det.classification.teacher_pass import TeacherPass
from wkd_det.distillation import DistilledModel, Tap


@MODELS.register_module()
class DistilledClassifier(DistilledModel, Classifier):
    """Classifier with the sections ``teacher`` and ``distill``; see :class:`DistilledModel`.

    The tap of a term is ``'logits'`` or the name of a module of the student's network, whose
    options :class:`~wkd_det.classification.module_tap.ModuleTap` lists. The teacher is a
    classifier or a bare network; where its preprocessor differs from the student's, the batch
    is renormalised for it.

    Args:
        *args: Of :class:`~wkd_det.classification.classifier.Classifier`.
        image_size: Side of the images, for which the shapes of features are found out.
        **kwargs: Of the classifier, and ``teacher``, ``distill`` and ``on_non_finite``.
    """

    def __init__(self, *args: Any, image_size: int = 224, **kwargs: Any) -> None:
        self.image_size = image_size
        super().__init__(*args, **kwargs)

    def find_tap(self, section: str, name: Any) -> Callable[..., Tap]:
        if name == 'logits':
            return LogitsTap
        if not isinstance(name, str):
            raise KeyError(f"{section}.tap must be 'logits' or a module's name, got {name!r}")
        try:
            check_module('student', self.network, name)
        except KeyError as error:
            raise KeyError(f"{section}.tap is not 'logits', and {error.args[0]}") from None
        return partial(ModuleTap, name)

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Any]:
        """Cross entropy and the distillation terms.

        Raises:
            KeyError: If a term has the name of a loss of the classifier.
            FloatingPointError: If a term is not finite, unless ``on_non_finite='skip'``.
        """
        self._fetch_teacher(images)
        if self.distiller is None:
            return super().loss(images, labels)
        taps = [term.tap for term in self.distiller.terms.values()]
        teacher = TeacherPass(
            self.distiller.teacher.module,
            {tap.teacher_module for tap in taps},
            images,
            self.data_preprocessor,
        )
        if self.distiller.is_on:
            teacher.run()
        with recording(self.network, {tap.module for tap in taps}) as outputs:
            losses = super().loss(images, labels)
        return self._with_terms(losses, StudentPass(outputs, labels), teacher)

    def _num_classes(self, model: nn.Module) -> int | None:
        return getattr(model, 'num_classes', None)
