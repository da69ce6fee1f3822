"""The tap on class activation maps: where in the image the last layer sees which class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from wkd_det.connectors import Connector
from wkd_det.distillation.module_maps import ModuleMaps
from wkd_det.distillation.module_tap import ModulesTap
from wkd_det.distillation.tap import Binding, Slot
from wkd_det.distillation.view import StudentView, TeacherView, View


class ClassActivationTap(ModulesTap):
    """Class activation maps of both networks, one channel per class of the student.

    The last layer, without its bias, applied to each pixel of a map: the mean over the pixels
    plus the bias are the logits, where the network pools this map and nothing else. Gradients
    reach the student's last layer too.

    Args:
        module: The last map of the student, before it is pooled; a module or a place.
        teacher_module: That of the teacher; the same name by default.
        same_size: Refuse maps of different heights or widths. Without it they go to the loss as
            they are.

    References: Guo et al., Class Attention Transfer Based Knowledge Distillation, CVPR 2023.
    """

    yields: ClassVar[str] = 'features'
    compares_classes: ClassVar[bool] = True

    def __init__(
        self,
        *,
        module: str = 'pooled_map',
        teacher_module: str | None = None,
        same_size: bool = True,
    ) -> None:
        super().__init__(module, teacher_module, same_size=same_size)

    def bind(self, student: nn.Module, teacher: Mapping[str, Any] | None) -> Binding:
        self._classes = student.num_classes_of(student)
        binding = super().bind(student, teacher)
        return Binding(slots=binding.slots, num_classes=self._classes)

    def _found(self, model: nn.Module, owner: str, network: nn.Module, names: str) -> list[str]:
        return [model.places_of(owner, network).module(owner, network, names)]

    def _slots(self, own: ModuleMaps, other: ModuleMaps | None) -> tuple[Slot, ...]:
        if other is None:
            return (Slot(self._classes, None, (), own.sizes[0]),)
        return (Slot(self._classes, self._classes, (), own.sizes[0], other.sizes[0]),)

    def _widths(self) -> list[int]:
        return [self._classes]

    def attach(
        self, student: nn.Module, teacher: nn.Module | None, connectors: Sequence[Connector]
    ) -> None:
        models = dict(student=(student, self._own))
        if teacher is not None:
            models['teacher'] = (teacher, self._other)
        for owner, (model, maps) in models.items():
            try:
                expected = student.check_head(model)
            except ValueError as error:
                raise ValueError(f'class_activation: the {owner}: {error}') from None
            if maps.channels[0] != expected:
                raise ValueError(
                    f'class_activation: the last layer of the {owner} takes {expected} channels, '
                    f'{maps.names[0]!r} has {maps.channels[0]}: name the map that is pooled for it'
                )
        super().attach(student, teacher, connectors)

    def _own_maps(self, student: StudentView) -> list[Tensor]:
        return [_activation(student, one) for one in super()._own_maps(student)]

    def _other_maps(self, teacher: TeacherView) -> list[Tensor]:
        return [_activation(teacher, one) for one in super()._other_maps(teacher)]


def _activation(view: View, features: Tensor) -> Tensor:
    """Class activation maps ``(N, K, H, W)`` of features ``(N, C, H, W)``."""
    return view.logits_of(features.movedim(1, -1), bias=False).movedim(-1, 1)
