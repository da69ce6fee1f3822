"""Views: one network on one batch, read part by part and in one language.

Taps read both networks through the same interface. The teacher's view answers in the *student's*
class order, map sizes and number type, so no tap, term or loss knows how the two differ.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor, nn

from wkd_det.connectors import Connector

Pair = dict[str, Any]
"""Keyword arguments of a loss for one comparison."""


class View(ABC):
    """One network on one batch.

    Args:
        module: The network.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._made: dict[Hashable, Any] = {}

    @abstractmethod
    def output(self, module: str) -> Tensor:
        """Output of a module by name, or with ``:input`` its input; ``''`` is the network.

        Raises:
            ValueError: If it did not run or its output is no tensor of this pass.
        """

    def logits(self, stage: int = 0) -> Tensor:
        """Class logits, one row per sample, in the student's classes."""
        raise ValueError(f'{type(self.module).__name__} gives no class logits to tap')

    def strong_logits(self) -> Tensor:
        """Class logits of the strong view of a batch with two views, as :meth:`logits`."""
        raise ValueError(f'{type(self.module).__name__} has no second view of the batch')

    def logits_of(self, vectors: Tensor, *, bias: bool = True) -> Tensor:
        """Class logits ``(..., C)`` of vectors ``(..., D)`` at the input of the last layer.

        In the student's classes. The student's have a gradient with respect to the layer's
        weights; the teacher's are frozen, and pass a gradient on to the vectors.

        Args:
            vectors: Inputs of the last layer, real or made up.
            bias: Whether the layer's bias is added.
        """
        raise ValueError(f'{type(self.module).__name__} has no single last layer to call')

    def maps(self, place: str) -> tuple[Tensor, ...]:
        """Feature maps of a place such as ``'neck'``, in the student's map sizes."""
        raise ValueError(f'{type(self.module).__name__} has no maps of the {place}')

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The result of ``make``, which is called for the first caller with this key only.

        Terms that share a connector share its output: it runs once per pass, and so does its
        batch normalisation.
        """
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def projected(
        self, place: str, level: int, connector: Connector, size: tuple[int, int] | None = None
    ) -> Tensor:
        """A map of this network after a connector.

        Args:
            place: ``'neck'`` or ``'backbone'``.
            level: Index of the map.
            connector: Maps this network's width to the other's.
            size: Height and width of the other network's map, for connectors that resize.
        """
        features = self.maps(place)[level]
        # One that does not resize gives the same whatever size is asked for.
        key = (id(connector), place, level, connector.resizes and size)
        return self.once(key, lambda: connector(features, size))


class StudentView(View):
    """The student's own training pass; nothing of it is run again.

    Args:
        module: The student.
        inputs: The batch, shape ``(N, C, H, W)``.
    """

    passed_by: Tensor | None = None
    """0 with gradients of 0 for parameters that no sample of the batch uses; None without such."""

    def __init__(self, module: nn.Module, inputs: Tensor) -> None:
        super().__init__(module)
        self.inputs = inputs

    @abstractmethod
    def labels(self, stage: int = 0) -> Tensor:
        """Class indices, one per row of :meth:`logits`."""

    def indices(self) -> Tensor:
        """Index of each sample in the training set, shape ``(N,)``.

        Raises:
            ValueError: If the batch carries none.
        """
        raise ValueError(f'batches of a {type(self.module).__name__} carry no indices of samples')

    def labelled(self) -> Tensor | None:
        """Samples that have a label, bool ``(N,)``; None where all of them must have one."""
        return None

    def run(self, loss: Callable[[Tensor, Any], dict[str, Any]], targets: Any) -> dict[str, Any]:
        """Losses of the task; the student runs in it, and what terms read is recorded.

        Args:
            loss: The plain model's, of a batch and its targets.
            targets: Those of this batch.
        """
        with self.recording():
            return loss(self.inputs, targets)

    def labelled_part(self) -> StudentView | None:
        """The view of the samples that have a label; None where none has one.

        The view itself where all have one, or where :meth:`labelled` says which.
        """
        return self

    @abstractmethod
    def recording(self) -> AbstractContextManager[None]:
        """A block in which the student's own ``loss`` runs and is recorded."""

    def image_mask(self, place: str, features: Tensor) -> Tensor | None:
        """Pixels of a map that lie in the image, bool ``(N, H, W)``; None where all of them do."""
        return None


class TeacherView(View):
    """The teacher on the student's batch; each part runs at most once, when a tap asks for it."""

    @abstractmethod
    def start(self) -> None:
        """Run what every tap needs, before the student.

        The student's graph does not fill the memory yet, so the teacher's intermediate results
        take turns in the same memory. Behind the graph each gets fresh pages, which costs up to a
        tenth of a step on a CPU.
        """

    def on_part(self, student: StudentView) -> TeacherView:
        """The view of the samples of a :meth:`StudentView.labelled_part`."""
        return self

    def fitted(self, module: str, features: Tensor) -> Tensor:
        """The map of a module, ``(N, C, H, W)``, as a batch of the student's size would give it."""
        return features
