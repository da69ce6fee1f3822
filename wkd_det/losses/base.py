"""Base classes of the losses: what a term may ask of one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from wkd_det.ops.checks import check_nonnegative, plain_number


class Loss(nn.Module):
    """Base of every loss of a distillation term.

    A loss gets tensors and keeps its own state; it knows neither taps nor networks. ``forward``
    takes what the tap of the term gives as keyword arguments and returns a scalar, with the
    weight included.

    Where a constructor has them, and the config does not set them, it is told ``num_classes``
    and, for ``'features'`` and ``'pyramid'``, ``student_channels``, ``teacher_channels``,
    ``student_size`` and ``teacher_size``: of the maps as ``forward`` gets them, behind connectors.
    Channels are a number, or one per map of a pyramid; sizes are height and width, None where
    they are unknown. Networks of its own are trained with the student.

    Args:
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If ``loss_weight`` is negative.
    """

    takes: ClassVar[str]
    """Kind of the tap that feeds it, e.g. ``'features'``, ``'pyramid'``, ``'logits'``."""
    needs_teacher: ClassVar[bool] = True
    """Whether it compares with a teacher; without one the pairs have no ``teacher``."""
    needs: tuple[str, ...] = ()
    """Arguments of ``forward`` beyond student and teacher that the networks or the batch give:
    ``target``, ``index``, ``student_logits``, ``teacher_logits``, ``student_head``,
    ``teacher_head``, ``student_strong``, ``teacher_strong``; see ``distillation/extras.py``."""
    scalable: ClassVar[tuple[str, ...]] = ()
    """Arguments that weigh a part of the loss and that a schedule may scale."""
    fading_part: str | None = None
    """The argument that the reference's decay scales; None for the whole loss."""
    mixes_widths: ClassVar[bool] = False
    """Whether maps of different widths are compared without a connector."""
    distance_source: Callable[..., Tensor] | None = None
    """Source of class distances, if it needs them; see :mod:`wkd_det.costs.interface`."""
    teacher_modules: tuple[str, ...] = ()
    """Names of modules or places of the teacher that it looks at once, before training."""

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_nonnegative(loss_weight=loss_weight)
        self.loss_weight = plain_number(loss_weight)

    def reserve(self, num_classes: int) -> None:
        """Make buffers whose size depends on the number of logits.

        Called when the term is built: before DDP looks at the buffers and weights are loaded.
        """

    def set_distance(self, distance: Tensor) -> None:
        """Take the class distances, shape ``(C, C)``, in the order of the student's logits.

        Called once, when the teacher is there; only where ``distance_source`` is set.
        """
        raise NotImplementedError

    def set_teacher_modules(self, modules: Sequence[nn.Module]) -> None:
        """Take what it needs of the modules of ``teacher_modules``, in their order.

        Called once, when the teacher is there; only where ``teacher_modules`` names some. They
        must not be kept: the teacher is no part of the student.
        """
        raise NotImplementedError

    def set_samples(self, labels: Tensor) -> None:
        """Take the label of every training sample, shape ``(samples,)``.

        Called by ``SampleTableHook`` when training begins, where ``needs`` has ``'index'``.
        """


class MapLoss(Loss):
    """A function of the student's and the teacher's feature maps, times a weight.

    Args:
        function: Takes both maps and the keyword ``mask``; returns a scalar.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If ``loss_weight`` is negative.
    """

    takes: ClassVar[str] = 'features'

    def __init__(self, function: Callable[..., Tensor], loss_weight: float) -> None:
        super().__init__(loss_weight)
        self.function = function

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
        """Loss of feature maps ``(N, C, H, W)``, scalar; ``mask`` ``(N, H, W)``: which count."""
        return self.loss_weight * self.function(student, teacher, mask=mask)


class LogitLoss(Loss):
    """A function of the student's and the teacher's logits with its options, times a weight.

    The options are attributes, so that a schedule may scale one and :class:`CTKDLoss
    <wkd_det.losses.ctkd.CTKDLoss>` train another.

    Args:
        function: Takes both logits, the target if ``needs`` names it, and the options as keywords;
            returns a scalar.
        loss_weight: Factor of the loss, >= 0.
        **options: Options of the function.

    Raises:
        ValueError: If ``loss_weight`` is negative.
    """

    takes: ClassVar[str] = 'logits'

    def __init__(self, function: Callable[..., Tensor], loss_weight: float, **options: Any) -> None:
        super().__init__(loss_weight)
        self.function = function
        self.option_names = tuple(options)
        for name, value in options.items():
            setattr(self, name, plain_number(value))

    def forward(self, student: Tensor, teacher: Tensor, target: Tensor | None = None) -> Tensor:
        """Loss of logits ``(N, C)``, scalar.

        ``target``: classes ``(N,)`` or soft labels ``(N, C)``, where the function takes them.
        """
        return self.call(*self.tensors(student, teacher, target))

    def tensors(
        self, student: Tensor, teacher: Tensor, target: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Return the arguments of the function, with the target if it takes one."""
        return (student, teacher, target) if 'target' in self.needs else (student, teacher)

    def call(self, *tensors: Tensor | None, **changed: Any) -> Tensor:
        """Return the function of these tensors times the weight.

        Args:
            *tensors: Arguments of the function.
            **changed: Options in place of those of this loss.
        """
        options = {name: getattr(self, name) for name in self.option_names}
        return self.loss_weight * self.function(*tensors, **{**options, **changed})


class PlaceLoss(Loss):
    """A function of what two dense heads give at the same places, with its options, times a weight.

    Args:
        function: Takes both, the keywords ``weight`` and ``avg_factor``, and the options; returns
            a scalar.
        loss_weight: Factor of the loss, >= 0.
        **options: Options of the function.

    Raises:
        ValueError: If ``loss_weight`` is negative.
    """

    def __init__(self, function: Callable[..., Tensor], loss_weight: float, **options: Any) -> None:
        super().__init__(loss_weight)
        self.function = function
        self.options = {name: plain_number(value) for name, value in options.items()}

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """Loss of values ``(R, ...)``, scalar.

        ``weight`` ``(R,)`` says how much each place counts, ``avg_factor`` what the sum is divided
        by; without it their number.
        """
        return self.loss_weight * self.function(
            student, teacher, weight=weight, avg_factor=avg_factor, **self.options
        )


def adopt(loss: nn.Module, takes: str) -> nn.Module:
    """Give a module that is no :class:`Loss` the members that a term asks for.

    Losses could be plain modules before 0.2; they work until 0.3.

    Args:
        loss: Changed in place, so that the keys of its checkpoints stay.
        takes: Kind of the tap that feeds it.
    """
    if isinstance(loss, Loss):
        return loss
    warnings.warn(
        f'{type(loss).__name__} is no wkd_det.losses.base.Loss: derive it from that class; plain '
        'modules work until wkd_det 0.3',
        FutureWarning,
        stacklevel=2,
    )
    defaults: dict[str, Any] = dict(
        takes=takes,
        needs=(),
        teacher_modules=(),
        scalable=(),
        fading_part=None,
        mixes_widths=False,
        distance_source=None,
        reserve=lambda num_classes: None,
    )
    for name, value in defaults.items():
        if not hasattr(loss, name):
            setattr(loss, name, value)
    return loss
