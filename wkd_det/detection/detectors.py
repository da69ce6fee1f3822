"""Distilled detectors: the mixin, nine classes, and ``distilled`` for any other detector."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from mmdet.models.detectors import (
    ATSS,
    DINO,
    FCOS,
    GFL,
    BaseDetector,
    CascadeRCNN,
    FasterRCNN,
    MaskRCNN,
    RetinaNet,
    RTMDet,
    SemiBaseDetector,
)
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from torch import Tensor, nn

from wkd_det.detection.dry_run import SIZE, DryRun, detector_parts, dry_run
from wkd_det.detection.geometry import PLACES, num_classes
from wkd_det.detection.mixed_views import MixedStudentView, MixedTeacherView
from wkd_det.detection.student_view import DetectorStudentView
from wkd_det.detection.teacher_input import TeacherInput
from wkd_det.detection.teacher_view import DetectorTeacherView
from wkd_det.detection.transformers import is_query_detector
from wkd_det.detection.unlabelled import Unlabelled, is_labelled
from wkd_det.distillation.model import DistilledModel
from wkd_det.distillation.module_tap import ModuleTap
from wkd_det.distillation.recording import module_of
from wkd_det.distillation.tap import Tap, find_tap, tap_names
from wkd_det.distillation.teacher import Teacher
from wkd_det.runtime.config import near_matches


class DistilledMixin(DistilledModel):
    """Adds distillation losses to the detector's own.

    :func:`~wkd_det.detection.detectors.distilled` puts it before a detector class. Options,
    teacher and checkpoints: :class:`~wkd_det.distillation.model.DistilledModel`.

    Args:
        *args, **kwargs: Arguments of the detector, and ``teacher``, ``distill`` and
            ``on_non_finite`` of :class:`~wkd_det.distillation.model.DistilledModel`.
        unlabelled: Let batches hold images without labels, on which only the terms count; options
            of :class:`~wkd_det.detection.unlabelled.Unlabelled`. None refuses such images.

    Attributes:
        model_config: Model config of the plain detector, as it was given.

    Raises:
        TypeError, KeyError, ValueError: If a section is wrong, or no term counts images without
            labels.
    """

    def __init__(
        self, *args: Any, unlabelled: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        # Before the detector builds itself: terms are built at its end and read the widths.
        self.model_config = ConfigDict(kwargs, type=type(self).__name__)
        self._teacher_inputs: dict[str, TeacherInput] = {}
        self._dry_runs: list[tuple[Mapping[str, Any] | None, DryRun]] = []
        self.unlabelled = None if unlabelled is None else Unlabelled.from_config(unlabelled)
        super().__init__(*args, **kwargs)
        self._dry_runs.clear()  # for who copies the model
        if self.unlabelled is not None and self._missing_teacher is None:
            self.unlabelled.check_terms(
                self, {} if self.distiller is None else self.distiller.terms
            )

    def loss(self, inputs: Tensor, targets: Sequence[Any]) -> dict[str, Any]:
        """Losses of the detector, of labelled images alone, and those of the terms.

        Args:
            inputs: The batch, shape ``(N, C, H, W)``.
            targets: The data sample of each image; ``labelled=False`` in its metainfo says that it
                has no labels.

        Raises:
            ValueError: If an image has no labels, and ``unlabelled`` is not set.
        """
        if self.unlabelled is None and not all(map(is_labelled, targets)):
            raise ValueError(
                'an image of the batch has no labels: set unlabelled=dict() in the model, and '
                'terms that count such images in distill'
            )
        return super().loss(inputs, targets)

    def find_tap(self, section: str, name: Any) -> Callable[..., Tap]:
        modules = [known for known, _ in self.named_modules() if known]
        if isinstance(name, str) and module_of(name) in modules and name not in tap_names():
            return partial(ModuleTap, name)
        try:
            return find_tap(section, name)
        except KeyError as error:
            near = near_matches(name, modules)
            raise KeyError(f'{error.args[0]}, and no module has that name: {near}') from None

    def num_classes_of(self, model: nn.Module) -> int | None:
        return num_classes(model)

    def lacks_classes(self, teacher: Mapping[str, Any]) -> bool:
        return num_classes(self.dry_run(teacher).network) == 0

    def dry_run(self, teacher: Mapping[str, Any] | None = None) -> DryRun:
        """Dry run of the student, or of a teacher; one for all terms while they are built.

        Args:
            teacher: Model config of the teacher.
        """
        for model, run in self._dry_runs:
            if model is teacher:
                return run
        run = dry_run(self if teacher is None else teacher)
        self._dry_runs.append((teacher, run))
        return run

    def empty_copy(self, teacher: Mapping[str, Any] | None = None) -> nn.Module:
        return self.dry_run(teacher).network

    def meeting_places(self, tap: Tap) -> tuple[str, ...]:
        read = tuple(one for one in tap.student_modules if module_of(one).split('.')[0] in PLACES)
        place = getattr(tap, 'place', None)  # of taps on whole maps
        return read or ((place,) if place in PLACES else (self.trunk_end(),))

    def trunk_end(self) -> str:
        return 'neck' if self.with_neck else 'backbone'

    @property
    def probe_size(self) -> int:
        return SIZE

    def probe(self, network: nn.Module, modules: Sequence[str]) -> dict[str, tuple[int, ...]]:
        for name in modules if is_query_detector(network) else ():
            if module_of(name).split('.')[0] not in PLACES:
                raise ValueError(
                    f'the module {name!r} is behind the maps of the {type(network).__name__}, '
                    'where tokens have no rows and columns: use the tap memory, query_logits or '
                    'query_boxes'
                )
        known = (run for _, run in self._dry_runs if run.network is network)
        run = next(known, None) or dry_run(network)
        shapes = {name: run.shape(name) for name in modules}
        return {name: shape for name, shape in shapes.items() if shape is not None}

    def run_probe(self, network: nn.Module, image: Tensor) -> None:
        network.extract_feat(image)

    def probe_parts(self, network: nn.Module, image: Tensor) -> Iterator[Callable[[], Any]]:
        return (run for _, run in detector_parts(network, image))

    def _views(
        self, inputs: Tensor, targets: Sequence[Any]
    ) -> tuple[DetectorStudentView, dict[str, DetectorTeacherView]]:
        distiller = self.distiller
        mixed = not all(map(is_labelled, targets))
        student: DetectorStudentView
        if mixed:
            student = MixedStudentView(
                self, inputs, targets, distiller.student_modules, section=self.unlabelled
            )
        else:
            student = DetectorStudentView(self, inputs, targets, distiller.student_modules)
        kind = MixedTeacherView if mixed else DetectorTeacherView
        teachers = {
            name: kind(
                distiller.teachers[name],
                self._teacher_inputs[name],
                student,
                distiller.teacher_modules(name),
            )
            for name in distiller.live_teachers
        }
        if mixed:
            student.proposer = teachers.get(self.unlabelled.proposer(distiller.terms))
        return student, teachers

    def _load_teacher(self, name: str) -> Teacher:
        teacher = super()._load_teacher(name)
        self._teacher_inputs[name] = TeacherInput(
            self.data_preprocessor,
            teacher.module.data_preprocessor,
            repeats=self.repeats_grey_for(teacher),
        )
        if self.unlabelled is not None:
            terms = {key: one for key, one in self.distiller.terms.items() if one.teacher == name}
            self.unlabelled.check_networks(self, teacher.module, terms)
        return teacher


def distilled(detector: type[BaseDetector]) -> type[BaseDetector]:
    """Make and register ``Distilled<Name>``, the detector with ``teacher`` and ``distill``.

    Args:
        detector: A detector class, MMDetection's or your own.

    Returns:
        The class; its options are those of ``detector`` and of :class:`DistilledMixin`. A second
        call returns that of the first.

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
    known = MODELS.module_dict.get(name)
    if known is not None and known.__bases__ == (DistilledMixin, detector):
        return known
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


DistilledRTMDet = distilled(RTMDet)


DistilledDINO = distilled(DINO)
