"""The distilled model: teachers and terms around a plain model, and its one training pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from wkd_det.distillation.classes import NamesInTraining, match_classes
from wkd_det.distillation.distiller import ON_NON_FINITE, Distiller
from wkd_det.distillation.empty import LacksPartsError, empty_copy, empty_network
from wkd_det.distillation.gradients import trunk_of
from wkd_det.distillation.images import first_convolution, image_channels, repeats_grey
from wkd_det.distillation.places import Places
from wkd_det.distillation.tap import Tap
from wkd_det.distillation.teacher import Teacher, TeacherSource, teacher_sources
from wkd_det.distillation.view import StudentView, TeacherView
from wkd_det.ops.checks import check_choice


class DistilledModel:
    """Mixin that adds a teacher and distillation terms to a model of mmengine.

    A mixin before the class of the plain model. A task adds the views of both networks on a
    batch (:meth:`_views`), its taps (:meth:`find_tap`), and says how many classes a model has
    (:meth:`num_classes_of`). The model *is* the student; training, testing and checkpoints work
    as for the plain class. A checkpoint holds the keys of the plain student and, in addition,
    ``distiller.*``.

    A teacher is built and its weights are read when training starts (``init_weights``, or the
    first loss if that was skipped), so testing needs no file of a teacher's, and no package or
    type of one: what is missing is said when training starts.

    Args:
        teacher: ``config``, ``checkpoint`` and optionally ``overrides`` and ``classes``; see
            :class:`~wkd_det.distillation.teacher.TeacherSource`. Needed by terms that compare with
            a teacher.
        teachers: In its place several such sections by name; a term says which it reads:
            ``teacher='NAME'``.
        distill: Terms by name, each a ``tap``, a ``loss``, perhaps a ``connector``, and the
            options of the tap. None or empty: exactly the plain model.
        on_non_finite: Reaction to a term that is NaN or infinite in any process: ``'raise'``
            stops the run with the term's name and input ranges, ``'skip'`` leaves the term out of
            that step, warns and logs the number of such steps.
        *args, **kwargs: Arguments of the plain model.

    Raises:
        TypeError, KeyError, ValueError: If a section is wrong; with the valid choices.
    """

    extras: ClassVar[tuple[str, ...]] = ()
    """Extras that the views of this task give to any term; see ``distillation/extras.py``."""

    def __init__(
        self,
        *args: Any,
        teacher: Mapping[str, Any] | None = None,
        teachers: Mapping[str, Any] | None = None,
        distill: Mapping[str, Any] | None = None,
        on_non_finite: str = 'raise',
        **kwargs: Any,
    ) -> None:
        check_choice(ON_NON_FINITE, on_non_finite=on_non_finite)
        super().__init__(*args, **kwargs)
        self.distiller: Distiller | None = None
        self._on_non_finite = on_non_finite
        self._teacher_sources = teacher_sources(teacher, teachers)
        self._missing_teacher: Exception | None = None
        self._names_in_training: list[NamesInTraining] = []
        try:
            self.set_terms(distill)
        except LacksPartsError as error:
            # Nor may the packages and types of its teacher be there where it is tested.
            self._missing_teacher = error

    @property
    def teacher_sources(self) -> Mapping[str, TeacherSource]:
        """Where teachers come from when training starts, by name; empty without one."""
        return self._teacher_sources

    def set_terms(self, distill: Mapping[str, Any] | None) -> None:
        """Build the terms of a section ``distill`` in place of those there are.

        The constructor does so once. Before training, others may be tried on the same student.

        Args:
            distill: Terms by name; None or empty for none.

        Raises:
            LacksPartsError: If the network of a teacher cannot be built on this machine.
            TypeError, KeyError, ValueError: If a term is wrong, or the networks do not fit it.
                There are no terms then.
        """
        self.distiller = None
        self._names_in_training = []
        if not distill:
            return
        sources = self._teacher_sources
        try:
            configs = {name: source.model_config() for name, source in sources.items()}
        except (FileNotFoundError, ImportError) as error:
            # A deployed student is tested where its teacher's config may not exist.
            self._missing_teacher = error
            return
        with torch.random.fork_rng(devices=[]):  # the student's initialisation stays the plain one
            distiller = Distiller(distill, self, configs, on_non_finite=self._on_non_finite)
        for name, source in sources.items():
            if source.classes == 'any':
                reason = f"{source.section}.classes='any' compares no classes"
                distiller.refuse_classes(name, reason)
            if distiller.compares_classes(name) and self.lacks_classes(configs[name]):
                distiller.refuse_classes(name, f'the network of {source.section} has no classes')
        self.distiller = distiller

    def init_weights(self) -> None:
        """Initialise the student, then load the teachers: training is about to start."""
        super().init_weights()
        self._fetch_teachers()

    def parse_losses(self, losses: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum the losses; the log gets each term's value and its share of the sum."""
        total, log = super().parse_losses(losses)
        if self.distiller is not None:
            log.update(self.distiller.log_entries(log, total))
        return total, log

    def loss(self, inputs: Tensor, targets: Any) -> dict[str, Any]:
        """Losses of the plain model and those of the distillation terms.

        Args:
            inputs: The batch, shape ``(N, C, H, W)``.
            targets: Labels or data samples, as the plain model takes them.

        Raises:
            KeyError: If a term has the name of a loss of the plain model.
            FloatingPointError: If a term is not finite, unless ``on_non_finite='skip'``.
        """
        self._fetch_teachers(inputs)
        if self.distiller is None:
            return super().loss(inputs, targets)
        student, teachers = self._views(inputs, targets)
        for teacher in teachers.values():
            teacher.start()
        meetings = self.distiller.begin(self)
        with trunk_of(self.network_of(self), meetings) as trunk:
            losses = student.run(super().loss, targets)
        if meetings:
            # A batch without labels has no losses of the task.
            trunk.task = super().parse_losses(losses)[0] if losses else inputs.new_zeros(())
        terms = self.distiller(student, teachers, trunk if meetings else None)
        for name, value in terms.items():
            if name in losses:
                raise KeyError(f'distill.{name}: {type(self).__name__} has a loss of that name')
            losses[name] = value
        if student.passed_by is not None:
            last = next(reversed(terms))
            losses[last] = losses[last] + student.passed_by
        return losses

    def find_tap(self, section: str, name: Any) -> Callable[..., Tap]:
        """The class of the tap that a term names; its keyword arguments are options of the term.

        A name is looked up among the taps of the task, those of the user, and the modules of the
        network.

        Args:
            section: Where the term stands in the config.
            name: As in the config.

        Raises:
            KeyError: With the valid names.
        """
        raise NotImplementedError

    def num_classes_of(self, model: nn.Module) -> int | None:
        """Number of classes of a student or teacher of this task, or None if it is unknown."""
        raise NotImplementedError

    def lacks_classes(self, teacher: Mapping[str, Any]) -> bool:
        """Whether a teacher of this task has no classes at all, as far as its config says.

        Args:
            teacher: Model config of the teacher.
        """
        return False

    def network_of(self, model: nn.Module) -> nn.Module:
        """The network whose modules a tap names, of a student or teacher of this task."""
        return model

    def places_of(self, owner: str, network: nn.Module) -> Places:
        """Common names of modules of a network of this task, for taps that go by them.

        Args:
            owner: ``'student'`` or ``'teacher'``.
            network: The network; it may be on the meta device.
        """
        return Places()

    def meeting_places(self, tap: Tap) -> tuple[str, ...]:
        """Modules of the student where the gradient of a term is compared with that of the task.

        There the term meets the trunk, which it shares with the task: the modules that its tap
        reads, or where it reads none of the trunk, its end.
        """
        return tuple(filter(None, tap.student_modules)) or (self.trunk_end(),)

    def trunk_end(self) -> str:
        """The module behind which only heads are, with ``:input`` what it is given."""
        return ''

    def check_head(self, model: nn.Module) -> int:
        """Width of the vectors that the last layer of a student or teacher takes.

        Raises:
            ValueError: If its view cannot call a last layer; with the reason.
        """
        raise ValueError('it has no single last layer')

    def empty_copy(self, teacher: Mapping[str, Any] | None = None) -> nn.Module:
        """The network of the student, or of a teacher, on the meta device.

        Args:
            teacher: Model config of the teacher.
        """
        if teacher is None:
            return empty_copy(self.network_of(self))
        return self.network_of(empty_network(teacher))

    @property
    def probe_size(self) -> int:
        """Side of the images with which networks are probed, in pixels."""
        raise NotImplementedError

    def probe_image(self, network: nn.Module) -> Tensor:
        """An image, on the meta device, as a network of this task takes it."""
        channels = image_channels(network, partial(self.run_probe, network), self.probe_size)
        return torch.zeros(1, channels, self.probe_size, self.probe_size, device='meta')

    def run_probe(self, network: nn.Module, image: Tensor) -> None:
        """Run a network on an image; both are on the meta device."""
        raise NotImplementedError

    def probe(self, network: nn.Module, modules: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """Shapes of the outputs of modules, for one image.

        Args:
            network: On the meta device, so that nothing is computed.
            modules: Names of modules that exist; those that do not run are left out.

        Raises:
            ValueError: If an output is no tensor.
        """
        raise NotImplementedError

    def probe_parts(self, network: nn.Module, image: Tensor) -> Iterable[Callable[[], Any]]:
        """Functions that run parts of a network, one after the other, and return their outputs.

        Args:
            network: On the device of the image.
            image: As :meth:`probe_image` makes it.
        """
        raise NotImplementedError

    def _views(self, inputs: Tensor, targets: Any) -> tuple[StudentView, dict[str, TeacherView]]:
        """Views of the student and of each live teacher, by name, on a batch."""
        raise NotImplementedError

    def _fetch_teachers(self, inputs: Tensor | None = None) -> None:
        """Load the teachers unless they are there; with a batch, move them to its device."""
        if self._missing_teacher is not None:
            raise self._missing_teacher
        if self.distiller is None:
            return
        if not self.distiller.is_attached:
            teachers = {name: self._load_teacher(name) for name in self.distiller.needed_teachers}
            self.distiller.attach(self, teachers)
            for name, teacher in teachers.items():
                self._prepare(name, teacher)
        if inputs is None:
            return
        for names in self._names_in_training:
            names.check()
        self._names_in_training.clear()
        for teacher in self.distiller.teachers.values():
            teacher.follow(inputs)

    def _load_teacher(self, name: str) -> Teacher:
        """Load the teacher of a name, and match its classes with the student's."""
        source = self._teacher_sources[name]
        teacher = source.load()
        own, other = self.num_classes_of(self), self.num_classes_of(teacher.module)
        teacher.order = match_classes(
            own, other, teacher.class_names, source.classes, section=source.section
        )
        if other == 0:
            self.distiller.refuse_classes(name, f'the network of {source.section} has no classes')
        elif source.classes != 'any' and teacher.class_names is not None:
            self._names_in_training.append(NamesInTraining(own, teacher.class_names))
        return teacher

    def _prepare(self, name: str, teacher: Teacher) -> None:
        """Bring a teacher into the form of its section ``inference``."""
        network = self.network_of(teacher.module)

        def parts() -> Iterable[Callable[[], Any]]:
            image = self.probe_image(empty_copy(network))
            like = next(network.parameters())
            return self.probe_parts(network, torch.zeros(image.shape).to(like))

        with torch.random.fork_rng(devices=[]):
            teacher.prepare(network, parts, self.distiller.teacher_modules(name))

    def repeats_grey_for(self, teacher: Teacher) -> bool:
        """Whether the teacher gets each grey image of the student three times.

        Raises:
            ValueError: If the networks take other numbers of channels.
        """
        own, other = self.network_of(self), self.network_of(teacher.module)
        first = [first_convolution(network) for network in (own, other)]
        if None in first or first[0][1].in_channels == first[1][1].in_channels:
            return False  # as good as always; the way below copies both networks
        channels = []
        for network in (own, other):
            channels.append(self.probe_image(empty_copy(network)).shape[1])
        return repeats_grey(*channels)
