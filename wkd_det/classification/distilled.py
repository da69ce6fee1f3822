"""The distilled classifier: its taps, its places and its model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from wkd_det import registry
from wkd_det.classification.classifier import Classifier, last_layer, network_of
from wkd_det.classification.places import places_of
from wkd_det.classification.stored import StoredUse
from wkd_det.classification.targets import Targets
from wkd_det.classification.teacher_images import TeacherImages
from wkd_det.classification.views import (
    ClassifierStudentView,
    ClassifierTeacherView,
    head_of,
    outputs_of,
    run_network,
)
from wkd_det.distillation.extras import EXTRAS
from wkd_det.distillation.model import DistilledModel
from wkd_det.distillation.module_tap import ModuleTap
from wkd_det.distillation.places import Place, Places, check_module, check_names
from wkd_det.distillation.recording import INPUT, recording
from wkd_det.distillation.tap import Tap, known_tap
from wkd_det.distillation.teacher import Teacher, one_of
from wkd_det.ops.checks import check_integers


class DistilledClassifier(DistilledModel, Classifier):
    """Classifier with the sections ``teacher`` and ``distill``.

    The tap of a term is one of ``registry.CLASSIFIER_TAPS``, or a module of the student's network
    by its name or by that of a place (:func:`~wkd_det.classification.places.places_of`), whose
    options :class:`~wkd_det.distillation.module_tap.ModuleTap` lists. The teacher is a
    classifier or a bare network; where its preprocessor differs from the student's, the batch
    is renormalised for it.

    Args:
        *args: Arguments of :class:`~wkd_det.classification.classifier.Classifier`.
        image_size: Side of the images, for which the shapes of features are found out.
        places: Modules by names of one's own or in place of the usual ones: name to a pair of
            student and teacher, each a module or a list of them, e.g.
            ``dict(last=('layer3', 'layer4'))``. None for the teacher where no term needs it. Of
            several teachers all have the same; a term names other modules itself.
        stored_of: Name of the teacher whose stored outputs the data set carries, where there are
            several; the others run.
        **kwargs: Arguments of the classifier, and ``teacher``, ``teachers``, ``distill`` and
            ``on_non_finite`` of :class:`~wkd_det.distillation.model.DistilledModel`.

    Raises:
        KeyError: If there is no teacher of the name ``stored_of``.
        TypeError: If ``places`` is no dict.
        ValueError: If ``image_size`` is no integer from 1 on, or a place is no pair or has the name
            of a module of the student.
    """

    extras: ClassVar[tuple[str, ...]] = tuple(EXTRAS)

    def __init__(
        self,
        *args: Any,
        image_size: int = 224,
        places: Mapping[str, tuple[Place, Place | None]] | None = None,
        stored_of: str | None = None,
        **kwargs: Any,
    ) -> None:
        check_integers(image_size=image_size)
        if places is not None and not isinstance(places, Mapping):
            raise TypeError(
                'places must be a dict from names to pairs of modules of student and teacher, got '
                f'{places!r}'
            )
        self.image_size = int(image_size)
        self.places = dict(places or {})
        self.stored_of = stored_of
        self._teacher_images: dict[str, TeacherImages] = {}
        self._stored = StoredUse()
        super().__init__(*args, **kwargs)
        if stored_of is not None and stored_of not in self._teacher_sources:
            raise KeyError(
                f'stored_of must name a teacher, one of {[*self._teacher_sources]}, got '
                f'{stored_of!r}'
            )

    def find_tap(self, section: str, name: Any) -> Callable[..., Tap]:
        self._check_places()
        if not isinstance(name, str):
            raise KeyError(
                f'{section}.tap must be one of {sorted(registry.CLASSIFIER_TAPS)}, a place or the '
                f'name of a module, got {name!r}'
            )
        tap = known_tap(name, registry.CLASSIFIER_TAPS)
        if tap is not None:
            return tap
        places = self.places_of('student', self.network)
        try:
            if name not in places.names():
                check_module('student', self.network, name, places.names())
        except KeyError as error:
            names = sorted(registry.CLASSIFIER_TAPS)
            raise KeyError(f'{section}.tap is none of {names}, and {error.args[0]}') from None
        return partial(ModuleTap, name)

    def _check_places(self) -> None:
        usual = places_of(self.network, self.num_classes)
        for name, pair in self.places.items():
            sides = list(pair) if isinstance(pair, (list, tuple)) else []
            if len(sides) != 2 or sides[0] is None:
                raise ValueError(
                    f'places.{name} must be a pair of student and teacher, each the name of a '
                    f'module or a list of such, got {pair!r}'
                )
            for owner, names in zip(('student', 'teacher'), sides):
                check_names(**{f'places.{name} ({owner})': names})
            if name not in usual and any(name == own for own, _ in self.network.named_modules()):
                raise ValueError(
                    f'places.{name}: the student has a module of that name; choose another'
                )

    def places_of(self, owner: str, network: nn.Module) -> Places:
        side = ('student', 'teacher').index(owner)
        chosen = {name: pair[side] for name, pair in self.places.items() if pair[side] is not None}
        return Places(chosen, places_of(network, getattr(network, 'num_classes', self.num_classes)))

    def trunk_end(self) -> str:
        with suppress(ValueError):  # no single last layer: the logits
            return f'{last_layer(self.network, self.num_classes)[0]}{INPUT}'
        return ''

    def check_head(self, model: nn.Module) -> int:
        return head_of(model).weight.shape[1]

    def num_classes_of(self, model: nn.Module) -> int | None:
        return getattr(model, 'num_classes', None)

    def network_of(self, model: nn.Module) -> nn.Module:
        return network_of(model)

    @property
    def probe_size(self) -> int:
        return self.image_size

    def run_probe(self, network: nn.Module, image: Tensor) -> None:
        network(image)

    def probe(self, network: nn.Module, modules: Sequence[str]) -> dict[str, tuple[int, ...]]:
        network.eval()
        image = self.probe_image(network)
        with torch.no_grad(), recording(network, modules) as recorded:
            run_network('network', network, image)
        return {name: tuple(recorded[name].shape) for name in modules if name in recorded}

    def probe_parts(self, network: nn.Module, image: Tensor) -> list[Callable[[], Any]]:
        return [partial(network, image)]

    def _views(
        self, inputs: Tensor, targets: Tensor | Targets
    ) -> tuple[ClassifierStudentView, dict[str, ClassifierTeacherView]]:
        distiller = self.distiller
        student = ClassifierStudentView(self, inputs, targets, distiller.student_modules)
        stored = None
        if student.targets.stored is not None and distiller.teachers:
            stored = self.teacher_named(None)
        return student, {
            name: ClassifierTeacherView(
                distiller.teachers[name],
                self._teacher_images[name],
                student,
                distiller.teacher_modules(name),
                stored=self._stored if name == stored else None,
            )
            for name in distiller.live_teachers
        }

    def teacher_named(self, name: str | None) -> str:
        """Return the name itself, else that of the stored teacher, else that of the only one.

        Raises:
            KeyError: If no term reads a teacher of that name.
            ValueError: If there are several and none is named.
        """
        names = {known: known for known in self.distiller.teachers}
        how = 'set stored_of of the model to the one whose outputs are stored, or name it'
        return one_of(names, name or self.stored_of, how)

    def teacher_outputs(
        self, images: Tensor, modules: Sequence[str], teacher: str | None = None
    ) -> dict[str, Tensor]:
        """Return outputs of modules of a teacher, float32, by name.

        Args:
            images: Normalised for the student, shape ``(N, C, H, W)``.
            modules: Names of modules of the teacher's network, with ``:input`` for what a module
                is given; ``''`` stands for its logits, in its own classes.
            teacher: Name of the teacher; by default that of ``stored_of``, or the only one.

        Raises:
            KeyError: If it has no such module; near ones are listed. If there is no such teacher.
            ValueError: If no term needs a teacher, or there are several and none is named.
        """
        self._fetch_teachers(images)
        if self.distiller is None or not self.distiller.teachers:
            raise ValueError('no term of the model needs a teacher')
        name = self.teacher_named(teacher)
        network = network_of(self.distiller.teachers[name].module)
        for module in modules:
            if module:
                check_module('teacher', network, module, ())
        images = self._teacher_images[name](images)
        return outputs_of(self.distiller.teachers[name], images, modules)

    def _load_teacher(self, name: str) -> Teacher:
        teacher = super()._load_teacher(name)
        own = self.data_preprocessor
        # A bare network takes what the student takes.
        plain = not isinstance(teacher.module, Classifier)
        other = own if plain else teacher.module.data_preprocessor
        repeats = self.repeats_grey_for(teacher)
        self._teacher_images[name] = TeacherImages(own, other, repeats=repeats)
        return teacher
