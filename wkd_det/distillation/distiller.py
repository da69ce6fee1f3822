"""The sum of all distillation terms: what is added to the losses of the plain model."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from wkd_det.distillation.building import build_terms
from wkd_det.distillation.finite import (
    FiniteFlags,
    LateLook,
    at_iteration,
    compared,
    is_waited_for,
    parts_of,
    raise_not_finite,
    what_is_wrong,
)
from wkd_det.distillation.gradients import Trunk
from wkd_det.distillation.reach import reaches
from wkd_det.distillation.teacher import Teacher, one_of
from wkd_det.distillation.term import Term
from wkd_det.distillation.term_watch import TermWatch
from wkd_det.distillation.view import Pair, StudentView, TeacherView
from wkd_det.ops.checks import check_choice
from wkd_det.runtime.state import unwrapped

ON_NON_FINITE = ('raise', 'skip')
"""Ways to treat a term that is not finite: stop, or leave it out of the step."""


class Distiller(nn.Module):
    """The part of a distilled model that a plain one lacks.

    Its state (connectors, class costs) is what a distilled checkpoint holds beyond the student.

    Args:
        config: The section ``distill``: a dict of terms by name.
        student: The network that is trained.
        teachers: Model configs of the teachers by name; empty without one.
        on_non_finite: ``'raise'`` or ``'skip'``: stop at a term that is NaN or infinite, or leave
            it out of the step.

    Raises:
        ValueError: If ``on_non_finite`` is something else.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        student: nn.Module,
        teachers: Mapping[str, Mapping[str, Any]],
        *,
        on_non_finite: str = 'raise',
    ) -> None:
        super().__init__()
        check_choice(ON_NON_FINITE, on_non_finite=on_non_finite)
        self.terms = nn.ModuleDict(build_terms(config, student, teachers))
        self.teachers: dict[str, Teacher] = {}
        """Teachers that terms read, by name; empty before training starts."""
        self.is_attached = False
        """Whether the terms know the networks: not before training starts."""
        self.on_non_finite = on_non_finite
        self.skipped: Counter[str] = Counter()
        """Number of steps that a term was left out of, by its name."""
        self._logs_next = self._logs_this = False  # gradients of a pass
        self._gradients: dict[str, Tensor] = {}
        self._late_look = LateLook()
        self._has_samples = False
        self._reached: set[str] = set()  # terms that have trained a weight of the student
        self._watch = TermWatch()

    def attach(self, student: nn.Module, teachers: Mapping[str, Teacher]) -> None:
        """Check that networks and terms fit, and give losses the class distances they ask for.

        Args:
            student: The distilled model.
            teachers: Those of :attr:`needed_teachers`, by name.

        Raises:
            ValueError: If they do not fit.
        """
        for term in self.terms.values():
            term.attach(student, teachers.get(term.teacher))
        self.teachers = dict(teachers)
        self.is_attached = True

    @property
    def teacher(self) -> Teacher | None:
        """The teacher, where terms read a single one; None before training starts.

        Raises:
            ValueError: If there are several.
        """
        return one_of(self.teachers, None, 'ask teachers[NAME]') if self.teachers else None

    @property
    def needed_teachers(self) -> list[str]:
        """Names of the teachers that terms read, in the order of the terms."""
        return _names(term.teacher for term in self.terms.values())

    @property
    def live_teachers(self) -> list[str]:
        """Those that a term reads which is on, and not scaled to 0 by a schedule."""
        return _names(term.teacher for term in self.terms.values() if term.scale)

    @property
    def student_modules(self) -> list[str]:
        """Modules of the student whose outputs the terms read."""
        return self._modules_of('student', self.terms.values())

    def teacher_modules(self, name: str) -> list[str]:
        """Modules of the teacher of a name whose outputs the terms read."""
        terms = [term for term in self.terms.values() if term.teacher == name]
        return self._modules_of('teacher', terms)

    def _modules_of(self, owner: str, terms: Iterable[Any]) -> list[str]:
        return sorted({module for term in terms for module in term.modules_of(owner)})

    def compares_classes(self, name: str) -> bool:
        """Whether a term compares classes with the teacher of a name."""
        return any(one.teacher == name and one.compares_classes for one in self.terms.values())

    def refuse_classes(self, name: str, reason: str) -> None:
        """Refuse terms whose loss needs student and teacher to have the same classes.

        Args:
            name: Name of the teacher.
            reason: Beginning of the message.

        Raises:
            ValueError: Naming the first one.
        """
        for term in self.terms.values():
            if term.teacher == name and term.compares_classes:
                raise ValueError(f'{reason}, and distill.{term.name} compares {term.tap.yields}')

    @property
    def keeps_samples(self) -> bool:
        """Whether a loss needs the index of each sample, and so the labels of all."""
        return any('index' in term.loss.needs for term in self.terms.values())

    def set_samples(self, labels: Tensor) -> None:
        """Give the label of every training sample to the losses that keep track of samples.

        Args:
            labels: Shape ``(samples,)``, in the order of the indices that batches carry.
        """
        for term in self.terms.values():
            if 'index' in term.loss.needs:
                term.loss.set_samples(labels)
        self._has_samples = True

    def log_gradients(self) -> None:
        """Let the next pass measure the gradients of all terms for the log."""
        self._logs_next = True

    def begin(self, student: Any) -> dict[str, tuple[str, ...]]:
        """Begin a pass; return the terms whose gradient it measures, with the places where.

        Args:
            student: The distilled model.
        """
        self._gradients = {}
        self._logs_this, self._logs_next = self._logs_next, False
        if not (self.training and torch.is_grad_enabled()):
            return {}
        on = [term for term in self.terms.values() if term.scale]
        for term in on:
            if term.gradient_share is not None:
                term.gradient_share.begin()
        return {
            term.name: student.meeting_places(term.tap)
            for term in on
            if self._logs_this or _is_due(term)
        }

    @torch.compiler.disable  # it waits for values, and the views change from step to step
    def forward(
        self,
        student: StudentView,
        teachers: Mapping[str, TeacherView],
        trunk: Trunk | None = None,
    ) -> dict[str, Tensor]:
        """Losses by name from one pass of each network.

        A term that is not finite in one of several processes stops, or is skipped by, all of them
        in the same step: none waits for another, and the log of the first one reports it.

        On a GPU, a term that is not to be skipped is an error of ``backward()``: the look is taken
        when the backward pass has been queued, before the optimizer is called.

        Args:
            student: The student's pass.
            teachers: Views of :attr:`live_teachers` on the same batch, by name.
            trunk: Where the terms of :meth:`begin` meet the student; None without any.

        Raises:
            FloatingPointError: If one is not finite and is not to be skipped; with its name, the
                iteration and the ranges of its inputs.
            ValueError: If a loss keeps track of samples and does not know them, or a term would
                train no weight of the student.
        """
        self._late_look.take()  # of a step without a backward pass
        terms = list(self.terms.values())
        for term in terms:
            if term.scale and 'index' in term.loss.needs and not self._has_samples:
                raise ValueError(
                    f'distill.{term.name}: {type(term.loss).__name__} needs the label of every '
                    "training sample: add dict(type='SampleTableHook') to custom_hooks"
                )
        # A term scaled to 0 asks for nothing: when all are, no teacher runs. One that asks for
        # labels gets no pairs from a batch without any.
        pairs = {
            term.name: term.read(student, teachers.get(term.teacher))
            for term in terms
            if term.scale
        }
        nothing = torch.zeros((), device=student.inputs.device)
        values = {name: self.terms[name](each) if each else nothing for name, each in pairs.items()}
        if trunk is not None:
            self._measure(trunk, values)
        self._check_reach(pairs)
        losses = {
            term.name: term.scaled(values[term.name])
            if term.name in values
            else nothing + term.zero()
            for term in terms
        }
        if not losses:
            return losses
        flags, when = FiniteFlags(losses), at_iteration()
        if self.on_non_finite == 'raise':
            values = {name: loss.detach() for name, loss in losses.items()}
            inputs = {name: compared(each) for name, each in pairs.items()}
            look = partial(raise_not_finite, flags, values, inputs, when)
            if is_waited_for(nothing.device):
                self._late_look.plan(losses, look)
            else:
                look()
            return losses
        for name in flags.names():
            message = what_is_wrong(name, losses[name], pairs[name], when)
            print_log(f'skipped, {message}', logger='current', level=logging.WARNING)
            self.skipped[name] += 1
            # Not 0 * loss, which is NaN as well.
            losses[name] = nothing + self.terms[name].zero()
        return losses

    def _check_reach(self, pairs: Mapping[str, Sequence[Pair]]) -> None:
        """Refuse a term that reads nothing trained of the student, in its first comparison."""
        if not (self.training and torch.is_grad_enabled()):
            return
        for name in pairs.keys() - self._reached:
            own = [part for pair in pairs[name] for part in parts_of(pair.get('student', []))]
            own = [part for part in own if part.numel()]
            if not own:
                continue
            if not reaches(own, self.parameters()):
                raise ValueError(
                    f'distill.{name} would train no weight of the student: nothing before what '
                    f'{type(self.terms[name].tap).__name__} reads is trained (as with '
                    'frozen_stages), or it runs without gradients (as inside a block with '
                    'with_cp=True); tap a later place'
                )
            self._reached.add(name)

    def _measure(self, trunk: Trunk, values: Mapping[str, Tensor]) -> None:
        """Bring weights up to date that are due, and keep the ratios of the norms for the log."""
        for name, (own, task) in trunk.norms(values).items():
            term = self.terms[name]
            if _is_due(term):
                term.gradient_share.update(own, task)
            if self._logs_this and trunk.task.requires_grad:  # not without labels
                self._gradients[name] = (term.factor * own / task).detach()

    def set_scale(self, address: str, scale: float) -> None:
        """Scale a term, or with ``<term>.<argument>`` the part that this argument weighs.

        Args:
            address: One of :meth:`scalable`.
            scale: Factor of the configured weight, >= 0. A term at 0 is not computed.
        """
        name, _, part = address.partition('.')
        self.terms[name].set_scale(scale, part or None)

    def scalable(self) -> list[str]:
        """Addresses that can be scaled: every term, and the parts that its loss names."""
        return [
            address
            for term in self.terms.values()
            for address in (term.name, *(f'{term.name}.{part}' for part in term.full_weights))
        ]

    def distilled_parts(self) -> list[str]:
        """Address per term that the reference's decay scales: the term, or the part that fades."""
        parts = {term.name: term.loss.fading_part for term in self.terms.values()}
        return [name if part is None else f'{name}.{part}' for name, part in parts.items()]

    def log_entries(self, log: Mapping[str, Tensor], total: Tensor) -> dict[str, Tensor]:
        """Entries of the log next to the terms.

        Shares of the total, weights by gradients, ratios of gradients where this step has
        measured them for the log, and counts of skipped steps.

        Called once per step; there is one warning for a term that stays at zero or dwarfs the task.

        Args:
            log: Losses by name, those of the terms among them.
            total: Their sum.
        """
        entries = {}
        for name, term in self.terms.items():
            short = name.removeprefix('loss_')
            if name in log:
                entries[f'share_{short}'] = (log[name] / total).detach()
            if name in self._gradients:
                entries[f'gradient_{short}'] = self._gradients[name]
            if term.scale and term.gradient_share is not None:
                entries[f'weight_{short}'] = term.gradient_share.weight()
            if self.skipped[name]:
                entries[f'skipped_{short}'] = total.new_tensor(self.skipped[name])
        on = {name: log[name] for name, term in self.terms.items() if name in log and term.scale}
        governed = [name for name in on if self.terms[name].gradient_share is not None]
        self._watch.update(on, total, governed)
        return entries


def distiller_of(runner: Any) -> Distiller | None:
    """The distiller of the model that a runner trains; None for a plain model."""
    distiller = getattr(unwrapped(runner.model), 'distiller', None)
    return distiller if isinstance(distiller, Distiller) else None


def _names(names: Iterable[str | None]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name is not None]


def _is_due(term: Term) -> bool:
    return term.gradient_share is not None and term.gradient_share.is_due
