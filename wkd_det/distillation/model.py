"""What a distilled model of any task has beyond the plain one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wkd_det.distillation.classes import NamesInTraining, match_classes
from wkd_det.distillation.distiller import Distiller, check_on_non_finite
from wkd_det.distillation.teacher import TeacherSource


class DistilledModel:
    """Teacher, terms and their place in the losses of an mmengine model.

    A mixin before the class of the plain model. A task adds a ``loss`` that calls
    :meth:`_fetch_teacher` with the batch, records one pass of either network and ends with
    :meth:`_with_terms`, and says by :meth:`_num_classes` how many classes a model has. The model
    *is* the student; training, testing and checkpoints work as for the plain class. A checkpoint
    holds the keys of the plain student, and beside them ``distiller.*``.

    The teacher is built and its weights are read when training starts (``init_weights``, or the
    first loss if that was skipped), so testing needs no file of the teacher's.

    Args:
        teacher: ``config``, ``checkpoint`` and optionally ``overrides`` and ``classes``; see
            :class:`~wkd_det.distillation.teacher.TeacherSource`. Needed with ``distill``.
        distill: Terms by name, each a ``tap``, a ``loss``, perhaps a ``connector``, and the
            options of the tap. None or empty: exactly the plain model.
        on_non_finite: What a term that is NaN or infinite, in any process, does: ``'raise'``
            stops the run with the term's name and input ranges, ``'skip'`` leaves the term out of
            that step, warns and logs the count of such steps.
        *args, **kwargs: Of the plain model.

    Raises:
        TypeError, KeyError, ValueError: If a section is wrong; with the valid choices.
    """

    def __init__(
        self,
        *args: Any,
        teacher: Mapping[str, Any] | None = None,
        distill: Mapping[str, Any] | None = None,
        on_non_finite: str = 'raise',
        **kwargs: Any,
    ) -> None:
        check_on_non_finite(on_non_finite)
        super().__init__(*args, **kwargs)
        self.distiller: Distiller | None = None
        self._teacher_source = None if teacher is None else TeacherSource.from_config(teacher)
        self._missing_teacher: Exception | None = None
        self._names_in_training: NamesInTraining | None = None
        if not distill:
            return
        if self._teacher_source is None:
            raise KeyError('distill needs a teacher: set teacher=dict(config=..., checkpoint=...)')
        try:
            teacher_config = self._teacher_source.model_config()
        except (FileNotFoundError, ImportError) as error:
            # A deployed student is tested where its teacher's config may not exist.
            self._missing_teacher = error
            return
        with torch.random.fork_rng(devices=[]):  # the student's initialisation stays the plain one
            self.distiller = Distiller(distill, self, teacher_config, on_non_finite=on_non_finite)
        if self._teacher_source.classes == 'any':
            self.distiller.refuse_classes("teacher.classes='any' compares no classes")

    def init_weights(self) -> None:
        """Initialise the student, then fetch the teacher: training is about to start."""
        super().init_weights()
        self._fetch_teacher()

    def parse_losses(self, losses: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum the losses; the log gets each term's share of the sum beside its value."""
        total, log = super().parse_losses(losses)
        if self.distiller is not None:
            log.update(self.distiller.log_entries(log, total))
        return total, log

    def _num_classes(self, model: nn.Module) -> int | None:
        """Number of classes of a student or teacher of this task, or None if it does not tell."""
        raise NotImplementedError

    def _with_terms(self, losses: dict[str, Any], student: Any, teacher: Any) -> dict[str, Any]:
        """Add the terms to the losses of the plain model.

        Args:
            losses: Of the plain model.
            student: What the task has recorded of the student's pass.
            teacher: The same of the teacher's.

        Raises:
            KeyError: If a term has the name of a loss of the plain model.
            FloatingPointError: If a term is not finite, unless ``on_non_finite='skip'``.
        """
        for name, value in self.distiller(student, teacher).items():
            if name in losses:
                raise KeyError(f'distill.{name}: {type(self).__name__} has a loss of that name')
            losses[name] = value
        return losses

    def _fetch_teacher(self, inputs: Tensor | None = None) -> None:
        """Load the teacher unless it is there; with a batch, take it where the batch is."""
        if self._missing_teacher is not None:
            raise self._missing_teacher
        if self.distiller is None:
            return
        if self.distiller.teacher is None:
            teacher = self._teacher_source.load()
            own, other = self._num_classes(self), self._num_classes(teacher.module)
            rule = self._teacher_source.classes
            teacher.class_order = match_classes(own, other, teacher.class_names, rule)
            if rule != 'any' and teacher.class_names is not None:
                self._names_in_training = NamesInTraining(own, teacher.class_names)
            self.distiller.attach(self, teacher)
        if inputs is None:
            return
        if self._names_in_training is not None:
            self._names_in_training.check()
            self._names_in_training = None
        self.distiller.teacher.follow(inputs)
