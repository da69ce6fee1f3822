"""The teacher detector on the student's batch: its input, its maps and its heads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from itertools import count
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import ImgDataPreprocessor
from torch import Tensor, nn

from wkd_det.detection.branches import (
    BRANCHES,
    Features,
    features_before,
    repeated,
    running_later_layers,
)
from wkd_det.detection.classifiers import class_logits
from wkd_det.detection.dense import HEAD, DenseOutput, dense_output, level_strides
from wkd_det.detection.dry_run import dry_run
from wkd_det.detection.geometry import (
    PLACES,
    as_maps,
    fitted_maps,
    on_device,
    roi_place,
    without_image,
)
from wkd_det.detection.heads import (
    HeadOutput,
    image_context,
    is_sparse,
    of_stage,
    run_box_head,
    run_sparse_head,
)
from wkd_det.detection.pooling import pooled
from wkd_det.detection.queries import QueryOutput, query_output
from wkd_det.detection.student_view import DetectorStudentView
from wkd_det.detection.transformers import (
    ENCODER,
    MEMORY,
    memory_maps,
    run_transformer,
)
from wkd_det.distillation.images import check_pixels
from wkd_det.distillation.recording import Recorded, module_of, recording
from wkd_det.distillation.teacher import Teacher
from wkd_det.distillation.view import TeacherView


class TeacherInput:
    """Undoes the student's normalisation and padding and applies the teacher's.

    Mean, standard deviation, channel order, padding value and padding divisor become the
    teacher's. The differences are found once, here, so that a step waits for no device.

    Where the student's preprocessor has no mean and std, its first batch is checked: pixels that
    the pipeline has normalised must not be normalised again. ``mean=[0, 0, 0]`` and
    ``std=[1, 1, 1]`` say that they are pixels, whatever they look like.

    Args:
        student: The data preprocessor that makes the batches.
        teacher: The data preprocessor of the teacher.
        repeats: Give the teacher, a network of 3 channels, each grey image three times.

    Raises:
        ValueError: If one of them is no ``ImgDataPreprocessor``.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, *, repeats: bool = False) -> None:
        for owner, preprocessor in (('student', student), ('teacher', teacher)):
            if not isinstance(preprocessor, ImgDataPreprocessor):
                raise ValueError(
                    f'the data preprocessor of the {owner} must be an ImgDataPreprocessor, to '
                    f'bring images from one to the other, got {type(preprocessor).__name__}'
                )
        self._divisor = teacher.pad_size_divisor
        self._pad_value = float(teacher.pad_value)
        self._flips = student._channel_conversion != teacher._channel_conversion
        mean, std = _statistics(student)
        if self._flips:
            mean, std = mean.flip(0), std.flip(0)
        teacher_mean, teacher_std = _statistics(teacher)
        scale, shift = std / teacher_std, (mean - teacher_mean) / teacher_std
        same_units = bool((scale == 1).all() and (shift == 0).all())
        self._same_pixels = same_units and not self._flips
        self._same_padding = self._same_pixels and student.pad_value == teacher.pad_value
        self._scale, self._shift = scale.float(), shift.float()
        self._unchecked = not student._enable_normalize and not same_units
        self._teacher_std = teacher_std
        self._repeats = repeats

    def __call__(self, inputs: Tensor, image_sizes: list[tuple[int, int]]) -> Tensor:
        """The teacher's batch.

        Args:
            inputs: The student's batch, shape ``(N, C, H, W)``.
            image_sizes: Height and width of each image without padding.

        Returns:
            Shape ``(N, C', H', W')``; the batch itself if nothing differs.

        Raises:
            ValueError: In the first batch, if the pipeline has normalised it.
        """
        pixels = inputs
        if self._unchecked:
            check_pixels(inputs, self._teacher_std)
            self._unchecked = False  # once is enough, and waits for the device
        if not self._same_pixels:
            self._scale, self._shift = (
                value.to(inputs.device) for value in (self._scale, self._shift)
            )
            if self._flips:
                pixels = pixels.flip(1)
            pixels = (pixels * self._scale + self._shift).to(inputs.dtype)
        if self._repeats and pixels.shape[1] == 1:
            pixels = pixels.repeat(1, 3, 1, 1)
        if not self._same_padding:
            pixels = pixels.masked_fill(~_inside(image_sizes, pixels), self._pad_value)
        extra = [
            -(-max(sizes) // self._divisor) * self._divisor - length
            for sizes, length in zip(zip(*image_sizes), inputs.shape[-2:])
        ]
        if any(extra):  # below 0: the student pads more
            pixels = F.pad(pixels, (0, extra[1], 0, extra[0]), value=self._pad_value)
        return pixels


def _statistics(preprocessor: ImgDataPreprocessor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, each of the shape ``(3, 1, 1)`` or ``(1, 1, 1)``."""
    if not preprocessor._enable_normalize:
        return torch.zeros(1, 1, 1).double(), torch.ones(1, 1, 1).double()
    return preprocessor.mean.cpu().double(), preprocessor.std.cpu().double()


def _inside(image_sizes: list[tuple[int, int]], like: Tensor) -> Tensor:
    """Pixels of the images, not of the padding; bool, shape ``(N, 1, H, W)``."""
    height, width = like.shape[-2:]
    sizes = on_device(image_sizes, like.device)
    rows = torch.arange(height, device=like.device) < sizes[:, :1]
    columns = torch.arange(width, device=like.device) < sizes[:, 1:]
    return (rows[:, :, None] & columns[:, None, :])[:, None]


class DetectorTeacherView(TeacherView):
    """The teacher detector on the student's batch and RoIs.

    Each part runs at most once, without gradient, when a tap asks for it. The teacher runs no RPN
    of its own.

    Args:
        teacher: Its classes are brought into the student's order.
        teacher_input: Makes the teacher's batch from the student's.
        student: The student's view of the batch.
        modules: Names of modules whose outputs are recorded.
    """

    def __init__(
        self,
        teacher: Teacher,
        teacher_input: TeacherInput,
        student: DetectorStudentView,
        modules: Sequence[str] = (),
    ) -> None:
        super().__init__(teacher.module)
        self._teacher = teacher
        self._teacher_input = teacher_input
        self._student = student
        self._modules = modules
        self._outputs = Recorded(single=True, repeated=repeated(modules))
        self._heads: list[tuple[Tensor, int, HeadOutput]] = []
        self._sparse_logits: list[Tensor] = []

    @cached_property
    @torch.no_grad()
    def inputs(self) -> Tensor:
        """The batch as the teacher's own preprocessor would make it, shape ``(N, C, H', W')``."""
        batch = self._student.inputs
        return self._teacher_input(batch, self._student.image_sizes[: len(batch)])

    @property
    def _laid_out(self) -> Tensor:
        return self._teacher.inference.laid_out(self.inputs)

    def start(self) -> None:
        self._maps('backbone')

    def maps(self, place: str) -> tuple[Tensor, ...]:
        return self.once(('maps of taps', place), lambda: self._maps_of_taps(place))

    def _maps_of_taps(self, place: str) -> tuple[Tensor, ...]:
        maps = without_image(self.module, place, self._maps(place))
        maps, (own, other) = self._for_each_branch(self._teacher.given(maps)), self._batch_sizes()
        if own == other:
            return maps
        levels = self._teacher.once('levels', lambda: dry_run(self.module).places).get(place)
        return fitted_maps(maps, own, other, levels and levels.strides)

    def fitted(self, module: str, features: Tensor) -> Tensor:
        if module.startswith('roi_head.'):  # one row per RoI
            return features
        return fitted_maps((features,), *self._batch_sizes())[0]

    def _batch_sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Height and width of the student's batch and of the teacher's own."""
        return tuple(tuple(one.shape[-2:]) for one in (self._student.inputs, self.inputs))

    def output(self, module: str) -> Tensor:
        if module not in self._outputs:
            self._run_part_of(module)
        recorded = self._outputs[module]
        return self.once(('output', module), lambda: self._teacher.given(recorded))

    def dense(self) -> DenseOutput:
        """Outputs of the teacher's dense head, in the student's classes and sizes."""
        return self.once('dense', self._dense)

    @torch.no_grad()
    def _dense(self) -> DenseOutput:
        output = self._in_students_classes(self._dense_raw())
        return output.mapped(self._fitted_levels)

    def queries(self) -> QueryOutput:
        """Outputs of the teacher's head of queries, in the student's classes."""
        return self.once('outputs of queries', self._queries)

    def _queries(self) -> QueryOutput:
        self._run_transformer()
        raw = self._teacher.given(self._outputs.latest(HEAD))
        output = query_output(self.module, raw)
        output.logits = [self._teacher.logits(one) for one in output.logits]
        return output

    def branch_features(self, depth: int) -> Features:
        """Features of the dense head's branches behind some convolutions, before activation.

        Args:
            depth: Number of convolutions; 0 for the maps that the head is given.

        Returns:
            In the student's sizes.
        """
        if depth == 0:
            return dict.fromkeys(BRANCHES, self.maps(roi_place(self.module)))
        self._dense_raw()
        return {
            branch: self._fitted_levels(self._teacher.given(self._outputs.every(name)))
            for branch, name in zip(BRANCHES, features_before(depth))
        }

    def later_layers(self, depth: int, features: Features) -> DenseOutput:
        """Outputs of the dense head on features of the student's.

        The teacher's parameters ask for no gradient, but its input gets one.

        Args:
            depth: Number of convolutions of each branch that are left out.
            features: Maps that they would give, before activation where ``depth`` is not 0.
        """
        head = getattr(self.module, HEAD)
        given = {branch: self._teacher.inference.taken(features[branch]) for branch in BRANCHES}
        with self._teacher.computing(self.inputs), running_later_layers(head, depth, given):
            raw = head(tuple(given[BRANCHES[0]]))
        return self._in_students_classes(self._teacher.given(raw))

    def _dense_raw(self) -> Any:
        """Outputs of the dense head as it gives them."""
        if HEAD not in self._outputs:
            self._run_part_of(HEAD)
        return self._teacher.given(self._outputs.latest(HEAD))

    def _in_students_classes(self, raw: Any) -> DenseOutput:
        output = dense_output(getattr(self.module, HEAD), raw)
        if not self._teacher.order.is_identity:
            output.logits = [self._in_order(one) for one in output.logits]
        return output

    def _fitted_levels(self, maps: Sequence[Tensor]) -> Sequence[Tensor]:
        """Maps of the levels of the dense head in the sizes of the student's."""
        return fitted_maps(maps, *self._batch_sizes(), level_strides(getattr(self.module, HEAD)))

    def _in_order(self, logits: Tensor) -> Tensor:
        """Logits ``(N, A, T, H, W)`` in the student's classes."""
        return self._teacher.logits(logits.movedim(2, -1)).movedim(-1, 2)

    def logits(self, stage: int = 0) -> Tensor:
        return self.on_rois(self._student.stage(stage).rois, stage).logits

    def on_rois(self, rois: Tensor, stage: int = 0) -> HeadOutput:
        """Logits and offsets of the teacher's box head, in the student's classes.

        Args:
            rois: RoIs of the student, shape ``(R, 5)``.
            stage: Stage of a Cascade teacher; other teachers have stage 0 only.
        """
        raw = self._raw(rois, stage)
        return self.once(('output', id(raw)), lambda: self._output_of(raw, stage))

    def head(self, maps: tuple[Tensor, ...], rois: Tensor, stage: int = 0) -> HeadOutput:
        """Logits and offsets of the teacher's box head on the student's maps.

        The teacher's parameters ask for no gradient, but its input gets one.
        """
        rows = self._student.level_rows
        maps = self._teacher.inference.taken(maps)
        with self._teacher.computing(rois):
            raw = run_box_head(self.module, maps, rois, stage, rows)
        return self._output_of(raw, stage)

    @torch.no_grad()
    def pooled(self, extractor: nn.Module, rois: Tensor) -> Tensor:
        """RoIAlign of the maps that RoIs are read from, shape ``(R, C, H, W)``."""
        rows = self._student.level_rows
        return self._teacher.given(pooled(rows, extractor, self._maps_of_rois(), rois))

    def _raw(self, rois: Tensor, stage: int) -> HeadOutput:
        """Output of the box head as it gives it."""
        for seen, seen_stage, raw in self._heads:
            if seen is rois and seen_stage == stage:
                return raw
        rows = self._student.level_rows
        with torch.no_grad(), self._recording('roi_head'), self._teacher.computing(rois):
            if is_sparse(self.module.roi_head):
                while len(self._sparse_logits) <= stage:
                    self._sparse_logits.append(next(self._sparse_stages))
                raw = HeadOutput(self._sparse_logits[stage], None)
            else:
                maps, context = self._maps_of_rois(), self._context
                raw = run_box_head(self.module, maps, rois, stage, rows, context)
        self._heads.append((rois, stage, raw))
        return raw

    def _output_of(self, raw: HeadOutput, stage: int) -> HeadOutput:
        """The same in the student's classes."""
        head = of_stage(self.module.roi_head.bbox_head, stage)
        logits, offsets = self._teacher.given((raw.logits, raw.offsets))
        if isinstance(offsets, Tensor):  # a SABL head gives buckets, which no tap reads
            offsets = self._teacher.offsets(offsets)
        return HeadOutput(self._teacher.logits(class_logits(head, logits)), offsets)

    @cached_property
    def _sparse_stages(self) -> Iterator[Tensor]:
        """Logits of the stages of a Sparse R-CNN, each on the student's RoIs in this stage."""
        student = self._student  # not self, whom the generator would keep alive
        rois = (student.stage(index).rois for index in count())
        return run_sparse_head(self.module, self._maps_of_rois(), rois, student.level_rows)

    @cached_property
    def _context(self) -> dict[str, Tensor]:
        """Features of whole images that the box head reads, the same for all stages."""
        with self._teacher.computing(self.inputs):
            return image_context(self.module.roi_head, self._maps_of_rois())

    def _maps_of_rois(self) -> tuple[Tensor, ...]:
        """Maps that RoIs are read from, as their kernels read them: in the usual layout."""
        maps = self._maps(roi_place(self.module))
        return self.once(
            'maps of RoIs',
            lambda: self._for_each_branch(tuple(one.contiguous() for one in maps)),
        )

    def _for_each_branch(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Maps of as many images as the student's have, which may have several branches."""
        times = len(self._student.samples) // len(maps[0])
        return maps if times <= 1 else tuple(one.repeat(times, 1, 1, 1) for one in maps)

    def _maps(self, place: str) -> tuple[Tensor, ...]:
        """Maps of a place in the sizes of the teacher's own batch."""
        return self.once(('maps', place), lambda: self._run(place))

    @torch.no_grad()
    def _run(self, place: str) -> tuple[Tensor, ...]:
        if place == MEMORY:
            self._run_transformer()
            return memory_maps(
                self.module, self._outputs[ENCODER], self._maps(roi_place(self.module))
            )
        given = self._maps('backbone') if place == 'neck' else self._laid_out
        with self._recording(place), self._teacher.computing(self.inputs):
            return as_maps(getattr(self.module, place)(given))

    def _run_part_of(self, module: str) -> None:
        part = module_of(module).split('.')[0]
        if part in PLACES:
            self._maps(part)
        elif part == 'roi_head':
            for index in self._student.stage_numbers:
                self._raw(self._student.stage(index).rois, index)
        else:  # a dense head
            maps = self._maps(roi_place(self.module))
            computing = self._teacher.computing(self.inputs)
            with torch.no_grad(), self._recording(part), computing:
                getattr(self.module, part)(maps)

    def _run_transformer(self) -> None:
        self.once('transformer', self._transformed)

    @torch.no_grad()
    def _transformed(self) -> None:
        names = [name for name in self._modules if module_of(name).split('.')[0] not in PLACES]
        given, sizes = self._maps(roi_place(self.module)), self._student.image_sizes
        maps = tuple(one.contiguous() for one in given)  # some transformers view them
        computing = self._teacher.computing(self.inputs, mixed=True)
        with recording(self.module, names, into=self._outputs), computing:
            run_transformer(self.module, maps, self.inputs, sizes, encoder_only=names == [ENCODER])

    def _recording(self, part: str) -> AbstractContextManager[Recorded]:
        names = [name for name in self._modules if module_of(name).split('.')[0] == part]
        return recording(self.module, names, into=self._outputs)
