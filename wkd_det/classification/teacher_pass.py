"""The teacher's view of the student's batch."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import torch
from torch import Tensor, nn

from wkd_det.classification.classifier import Classifier, network_of
from wkd_det.classification.image_preprocessor import renormalize
from wkd_det.classification.recording import Outputs, recording


class TeacherPass:
    """Runs the teacher on one batch, once: when a tap asks for it, or earlier by :meth:`run`.

    Args:
        teacher: A classifier or a bare network, in eval mode.
        names: Modules of the network whose outputs the taps read.
        images: The student's batch, shape ``(N, C, H, W)``.
        preprocessor: The student's; where the teacher has another one, the batch is renormalised.
    """

    def __init__(
        self, teacher: nn.Module, names: Iterable[str], images: Tensor, preprocessor: nn.Module
    ) -> None:
        self._teacher = teacher
        self._names = names
        self._images = images
        self._preprocessor = preprocessor

    def run(self) -> None:
        """Run now: before the student, whose graph does not fill the memory yet.

        Then the teacher's intermediate results take turns in the same memory. Behind the graph
        each gets fresh pages, which costs up to a tenth of a step on a CPU.
        """
        self.outputs  # noqa: B018  a cached property

    @cached_property
    @torch.no_grad()
    def outputs(self) -> Outputs:
        """What the modules have returned."""
        images = self._images
        if isinstance(self._teacher, Classifier):
            images = renormalize(images, self._preprocessor, self._teacher.data_preprocessor)
        network = network_of(self._teacher)
        with recording(network, self._names) as outputs:
            network(images)
        return outputs
