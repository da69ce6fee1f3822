"""A weight that keeps a term at a share of the task's gradient, in place of a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wkd_det.ops.checks import check_integers, check_nonnegative, check_positive
from wkd_det.runtime.config import build_strict


class GradientShare(nn.Module):
    r"""The ``loss_weight`` at which a term's gradient is a share of the task's.

    .. math:: w = s \cdot \min(1, k / warm\_up) \cdot \bar g_{task} / \bar g_{term}

    in step :math:`k` of the term, counted from 1, where the :math:`\bar g` are moving averages of
    the norms of both gradients where the term meets the student's trunk: of the sum of the
    student's own losses, and of the term with a weight of 1.

    Convention:
        - The norm is that of all values of all levels and samples, over all processes.
        - Both averages begin with the first measurement, without a bias towards 0, and the weight
          of a step knows its own batch.
        - A measurement in which one of the norms is 0 or not finite does not count. Before the
          first that counts the weight is 0.
        - Steps are batches in which the term is on. With accumulated gradients make ``every`` a
          multiple of ``accumulative_counts``, so that all batches of an update have one weight.
        - No gradient flows into the weight.

    Args:
        share: Norm of the weighted term's gradient over that of the task's, > 0.
        every: Steps from one measurement to the next, >= 1; the first step has one.
        momentum: Share of the old average in the new one, in [0, 1).
        warm_up: Steps of linear growth of the weight from 0, >= 0.

    Raises:
        ValueError: If a number is outside its range.

    References: balancing losses by the norm of their gradients at a shared layer is the idea of
        GradNorm (Chen et al., ICML 2018), which learns the weights of all tasks instead.
    """

    def __init__(
        self, share: float, *, every: int = 50, momentum: float = 0.9, warm_up: int = 0
    ) -> None:
        super().__init__()
        check_positive(share=share)
        check_integers(every=every)
        check_nonnegative(momentum=momentum)
        check_integers(0, warm_up=warm_up)
        if momentum >= 1:
            raise ValueError(f'momentum must be below 1, got {momentum}')
        self.share = share
        self.every = every
        self.momentum = momentum
        self.warm_up = warm_up
        self.register_buffer('norms', torch.zeros(2))  # of the term and of the task
        self.register_buffer('steps', torch.zeros((), dtype=torch.long))
        self._step: int | None = 0

    def begin(self) -> None:
        """Begin a step. The buffer of their number is read, and waited for, after loading only."""
        self._step = self._number() + 1
        self.steps.fill_(self._step)

    @property
    def is_due(self) -> bool:
        """Whether the step that has begun has a measurement."""
        return (self._number() - 1) % self.every == 0

    @torch.no_grad()
    def update(self, term: Tensor, task: Tensor) -> None:
        """Take a measurement, without waiting for its values.

        Args:
            term: Norm of the gradient of the term with a weight of 1, scalar; the same in all
                processes.
            task: That of the task's losses.
        """
        new = torch.stack([term, task]).to(self.norms)
        counts = (new.isfinite() & (new > 0)).all()
        average = self.momentum * self.norms + (1 - self.momentum) * new
        self.norms.copy_(torch.where(counts, average, self.norms))

    def weight(self) -> Tensor:
        """The weight of this step, scalar."""
        term, task = self.norms.unbind()  # both fall short of the average by the same factor
        ratio = torch.where(term > 0, task / term.clamp(min=torch.finfo(term.dtype).tiny), 0.0)
        return self.share * self._warmth() * ratio

    def _number(self) -> int:
        if self._step is None:
            self._step = int(self.steps)
        return self._step

    def _warmth(self) -> float:
        return min(1.0, self._number() / self.warm_up) if self.warm_up else 1.0

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._step = None


def split_weight(section: str, loss: Any) -> tuple[Any, GradientShare | None]:
    """The config of a loss with a weight of 1, and the weight that stands in it as a config.

    Args:
        section: Place of the term in the config.
        loss: The config of its loss.

    Returns:
        The config as it is, and None, where the weight is a number.

    Raises:
        TypeError, KeyError, ValueError: If the weight is no :class:`GradientShare`, or wrong.
    """
    weight = loss.get('loss_weight') if isinstance(loss, Mapping) else None
    if not isinstance(weight, Mapping):
        return loss, None
    place = f'{section}.loss.loss_weight'
    built = build_strict(place, weight, ['GradientShare'])
    if not isinstance(built, GradientShare):
        raise TypeError(f'{place} must be a number or a GradientShare, got {weight["type"]!r}')
    return dict(loss, loss_weight=1.0), built
