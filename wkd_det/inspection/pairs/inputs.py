"""Images as the preprocessors of student and teacher make them, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from wkd_det.distillation.images import first_convolution


@dataclass(frozen=True)
class InputRow:
    """One property of the images that a network takes."""

    name: str
    student: str
    teacher: str | None

    @property
    def differs(self) -> bool:
        """Whether the teacher takes them otherwise."""
        return self.teacher is not None and self.student != self.teacher


def input_rows(
    student: nn.Module, teacher: nn.Module | None, network_of: Any = lambda model: model
) -> list[InputRow]:
    """Compare the images of both networks; what differs is brought over in each step.

    Args:
        student: The student's model, with its preprocessor.
        teacher: The teacher's; None without one. A bare network takes what the student takes.
        network_of: Takes a model and returns its network.
    """
    own = _properties(student, network_of)
    if teacher is None:
        return [InputRow(name, value, None) for name, value in own.items()]
    other = _properties(teacher, network_of)
    if getattr(teacher, 'data_preprocessor', None) is None:
        other = {**own, 'first convolution': other['first convolution']}
    names = dict.fromkeys([*own, *other])
    return [InputRow(name, own.get(name, 'none'), other.get(name, 'none')) for name in names]


def _properties(model: nn.Module, network_of: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    preprocessor = getattr(model, 'data_preprocessor', None)
    if preprocessor is not None:
        found['preprocessor'] = type(preprocessor).__name__
        for name in ('mean', 'std'):
            values = getattr(preprocessor, name, None)
            found[name] = 'none' if values is None else _numbers(values.flatten().tolist())
        if hasattr(preprocessor, '_channel_conversion'):
            swapped = preprocessor._channel_conversion
            found['channels of the file'] = 'swapped (BGR to RGB)' if swapped else 'as they are'
            found['size divisor'] = str(preprocessor.pad_size_divisor)
            found['padding value'] = f'{float(_first(preprocessor.pad_value)):g}'
    convolution = first_convolution(network_of(model))
    found['first convolution'] = (
        'none' if convolution is None else f'{convolution[1].in_channels} channels'
    )
    return found


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, (list, tuple)) else value


def _numbers(values: list[float]) -> str:
    return ', '.join(f'{value:.5g}' for value in values)
