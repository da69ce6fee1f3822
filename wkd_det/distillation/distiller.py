"""All distillation terms of a student, and its teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from wkd_det.distillation.teacher import Teacher
from wkd_det.distillation.term import Term, build_term


class Distiller(nn.Module):
    """The part of a distilled model that a plain one lacks.

    Its state (connectors, class costs) is what a distilled checkpoint holds beyond the student.

    Args:
        config: The section ``distill``: a dict of terms by name.
        student: The network that is trained.
        teacher_config: Model config of the teacher.
    """

    def __init__(
        self, config: Mapping[str, Any], student: nn.Module, teacher_config: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.terms = nn.ModuleDict(
            {name: build_term(name, term, student, teacher_config) for name, term in config.items()}
        )
        self.teacher: Teacher | None = None

    def attach(self, student: nn.Module, teacher: Teacher) -> None:
        """Check that teacher and terms fit, and prepare the losses that learn from the teacher.

        Raises:
            ValueError: If they do not fit.
        """
        for term in self._terms():
            term.tap.check(student, teacher.module, term.connectors)
            if hasattr(term.loss, 'prepare'):
                term.loss.prepare(term.tap, teacher)
        self.teacher = teacher

    def forward(self, student: Any, teacher: Any) -> dict[str, Tensor]:
        """Losses by name from what one pass of each network recorded."""
        return {term.name: term(student, teacher) for term in self._terms()}

    def _terms(self) -> list[Term]:
        return list(self.terms.values())

    def _apply(self, *args: Any, **kwargs: Any) -> Distiller:
        if self.teacher is not None:
            self.teacher.apply(args[0])
        return super()._apply(*args, **kwargs)
