"""Views of a classifier: the student's own training pass, and the teacher on its batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wkd_det.classification.classifier import (
    Classifier,
    last_layer,
    network_of,
    split_auxiliary,
)
from wkd_det.classification.stored import StoredUse
from wkd_det.classification.targets import Targets
from wkd_det.classification.teacher_images import TeacherImages
from wkd_det.distillation.recording import Recorded, recording, replaced
from wkd_det.distillation.teacher import Teacher
from wkd_det.distillation.view import StudentView, TeacherView
from wkd_det.ops.arithmetic import without_autocast


class ClassifierStudentView(StudentView):
    """Outputs of modules in one pass of the student.

    Args:
        module: The student.
        inputs: The batch, shape ``(N, C, H, W)``.
        targets: Labels, and what else belongs to the images.
        modules: Names of modules of the network whose outputs are recorded.
    """

    def __init__(
        self,
        module: Classifier,
        inputs: Tensor,
        targets: Tensor | Targets,
        modules: Sequence[str],
    ) -> None:
        super().__init__(module, inputs)
        self.targets = Targets.of(targets)
        self._modules = modules
        self._outputs = Recorded()
        self._strong: Any = None

    def output(self, module: str) -> Tensor:
        return self._outputs[module]

    def logits(self, stage: int = 0) -> Tensor:
        return _logits_in(self._outputs)

    def strong_logits(self) -> Tensor:
        strong_images(self.targets)
        return split_auxiliary(self._strong)[0]

    def logits_of(self, vectors: Tensor, *, bias: bool = True) -> Tensor:
        layer = self.once('last layer', partial(head_of, self.module))
        return scores_of(layer, vectors, 'student', bias=bias)

    def labels(self, stage: int = 0) -> Tensor:
        return self.targets.labels

    def indices(self) -> Tensor:
        if self.targets.indices is None:
            raise ValueError(
                'the indices of the samples are needed, and the batch carries none: set '
                'with_index=True in the training data set'
            )
        return self.targets.indices

    def labelled(self) -> Tensor | None:
        return self.targets.labelled

    @contextmanager
    def recording(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(recording(self.module.network, self._modules, into=self._outputs))
            if self.targets.strong is not None:
                recorded = self._recorded(self.module.strong_output)
                stack.enter_context(replaced(self.module, 'strong_output', recorded))
            yield

    def _recorded(self, original: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
        def strong_output(images: Tensor) -> Any:
            self._strong = original(images)
            return self._strong

        return strong_output


class ClassifierTeacherView(TeacherView):
    """Outputs of modules of the teacher, which runs once: at :meth:`start` or when asked.

    Args:
        teacher: A classifier or a bare network; its classes are brought into the student's order.
        teacher_images: Makes the teacher's batch from the student's.
        student: The student's view of the batch.
        modules: Names of modules of the network whose outputs are recorded.
        stored: Decides whether the outputs that the batch carries stand in for the teacher.
    """

    def __init__(
        self,
        teacher: Teacher,
        teacher_images: TeacherImages,
        student: ClassifierStudentView,
        modules: Sequence[str],
        *,
        stored: StoredUse | None = None,
    ) -> None:
        super().__init__(teacher.module)
        self._teacher = teacher
        self._teacher_images = teacher_images
        self._student = student
        self._modules = modules
        self._kept: Mapping[str, Tensor] | None = None
        if student.targets.stored is not None and stored is not None:
            self._kept = stored(student.targets, modules, self._outputs_of, student.inputs)

    def start(self) -> None:
        if self._kept is None:
            self._outputs  # noqa: B018  a cached property

    def output(self, module: str) -> Tensor:
        if self._kept is not None:
            return self._kept[module]
        recorded = self._outputs[module]
        return self.once(('output', module), lambda: self._teacher.given(recorded))

    def logits(self, stage: int = 0) -> Tensor:
        if self._kept is not None:
            return self._teacher.logits(self._kept[''])
        return self.in_student_classes(_logits_in(self._outputs))

    def strong_logits(self) -> Tensor:
        return self.once('strong logits', self._run_strong)

    def logits_of(self, vectors: Tensor, *, bias: bool = True) -> Tensor:
        layer = self.once('last layer', partial(head_of, self.module))
        with self._teacher.computing(vectors):
            raw = scores_of(layer, vectors, 'teacher', bias=bias)
        return self.in_student_classes(raw)

    def in_student_classes(self, raw: Tensor) -> Tensor:
        """The columns of logits ``(..., T)`` of the teacher that the student's classes have."""
        return self._teacher.logits(self._teacher.given(raw))

    def run_later(
        self, run: Callable[[Tensor], tuple[dict[int, Tensor], Tensor]], features: Tensor
    ) -> tuple[dict[int, Tensor], Tensor]:
        """Maps and logits that later stages of the teacher make of a map of the student.

        Args:
            run: Runs them; gradients go through.
            features: The map, as the student's bridge makes it.

        Returns:
            The maps by index, and the logits in the student's classes.
        """
        with self._teacher.computing(features):
            maps, logits = run(self._teacher.inference.taken(features))
        return self._teacher.given(maps), self.in_student_classes(logits)

    def _outputs_of(self, images: Tensor) -> dict[str, Tensor]:
        return outputs_of(self._teacher, self._teacher_images(images), self._modules)

    @cached_property
    @torch.no_grad()
    def _outputs(self) -> Recorded:
        images = self._teacher.inference.laid_out(self._teacher_images(self._student.inputs))
        network = network_of(self.module)
        with recording(network, self._modules) as outputs, self._teacher.computing(images):
            run_network('teacher', network, images)
        return outputs

    @torch.no_grad()
    def _run_strong(self) -> Tensor:
        images = self._teacher_images(strong_images(self._student.targets))
        with self._teacher.computing(images):
            output = network_of(self.module)(self._teacher.inference.laid_out(images))
        return self.in_student_classes(split_auxiliary(output)[0])


@torch.no_grad()
def outputs_of(teacher: Teacher, images: Tensor, modules: Sequence[str]) -> dict[str, Tensor]:
    """Return outputs of modules of a teacher, outside autocast and in float32.

    Args:
        teacher: A classifier or a bare network.
        images: As it takes them, float32, shape ``(N, C, H, W)``.
        modules: Names of modules of its network; ``''`` stands for the logits in its own classes.
    """
    images = teacher.inference.laid_out(images)
    network = network_of(teacher.module)
    with without_autocast(images), recording(network, modules) as outputs:
        run_network('teacher', network, images)
    found = {name: outputs[name] if name else _logits_in(outputs) for name in modules}
    return {name: teacher.given(value).float() for name, value in found.items()}


def strong_images(targets: Targets) -> Tensor:
    """Return the second view of a batch.

    Raises:
        ValueError: If there is none.
    """
    if targets.strong is None:
        raise ValueError(
            'a second view of the images is needed, and the batch has only one view: set '
            'strong_transforms in the training data set'
        )
    return targets.strong


def head_of(model: nn.Module) -> nn.Module:
    """Return the last layer of a classifier or of a bare network, which gives the logits.

    Raises:
        ValueError: If there is none, or it is a convolution of more than one pixel.
    """
    network = network_of(model)
    name, layer = last_layer(network, getattr(network, 'num_classes', model.num_classes))
    if isinstance(layer, nn.Conv2d) and (layer.kernel_size != (1, 1) or layer.groups != 1):
        raise ValueError(f'its last layer {name!r} is a convolution of more than one pixel')
    return layer


def scores_of(layer: nn.Module, vectors: Tensor, owner: str, *, bias: bool = True) -> Tensor:
    """Return what the last layer of a network makes of vectors, ``(..., D)`` to ``(..., C)``.

    Args:
        layer: Linear, or a convolution of one pixel.
        vectors: Shape ``(..., D)``.
        owner: ``'student'`` or ``'teacher'``, for the message.
        bias: Whether its bias is added.

    Raises:
        ValueError: If ``D`` is another one.
    """
    weight = layer.weight.flatten(1)
    if vectors.shape[-1] != weight.shape[1]:
        raise ValueError(
            f'the last layer of the {owner} takes vectors of {weight.shape[1]} values, got '
            f'{vectors.shape[-1]}'
        )
    return F.linear(vectors.to(weight.dtype), weight, layer.bias if bias else None)


def _logits_in(outputs: Recorded) -> Tensor:
    """Return the logits in the recorded output of a network, without auxiliary ones."""
    output = outputs.latest('')
    return split_auxiliary(output)[0] if isinstance(output, tuple) else outputs['']


def run_network(owner: str, network: nn.Module, images: Tensor) -> None:
    """Run a network on images.

    Raises:
        ValueError: If it takes images of another size.
    """
    try:
        network(images)
    except AssertionError as error:  # Transformers compare the size with that of their positions
        height, width = images.shape[-2:]
        raise ValueError(
            f'the {owner} {type(network).__name__} does not take images of {height} x {width} '
            f'pixels ({error}): where it has an option for their size, e.g. img_size or '
            'image_size, set it in its network'
        ) from error
