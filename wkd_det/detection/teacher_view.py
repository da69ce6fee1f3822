"""The teacher detector on the student's batch: its maps and its heads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from itertools import count
from typing import Any

import torch
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
from wkd_det.detection.teacher_input import TeacherInput
from wkd_det.detection.transformers import (
    ENCODER,
    MEMORY,
    memory_maps,
    run_transformer,
)
from wkd_det.distillation.recording import Recorded, module_of, recording
from wkd_det.distillation.teacher import Teacher
from wkd_det.distillation.view import TeacherView


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
