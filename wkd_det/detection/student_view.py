"""The student detector's own training pass, recorded while its ``loss`` runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from mmdet.structures.bbox import get_box_tensor
from torch import Tensor, nn

from wkd_det.detection.branches import BRANCHES, Features, features_before, repeated
from wkd_det.detection.classifiers import class_logits
from wkd_det.detection.dense import (
    HEAD,
    Assigned,
    DenseOutput,
    dense_output,
    recording_targets,
)
from wkd_det.detection.dense_places import DensePlaces
from wkd_det.detection.geometry import PLACES, as_maps, image_mask, roi_place, without_image
from wkd_det.detection.heads import HeadOutput, can_record, of_stage, run_box_head
from wkd_det.detection.pooling import LevelRows, pooled
from wkd_det.detection.queries import (
    Assignment,
    QueryOutput,
    query_output,
    recording_assignments,
)
from wkd_det.detection.query_pairs import QueryMatcher
from wkd_det.detection.recorded import RoIStage, Sampled, recorded_stage
from wkd_det.detection.transformers import ENCODER, MEMORY, memory_maps
from wkd_det.distillation.recording import Recorded, recording, replaced, watching
from wkd_det.distillation.view import StudentView


def _branches(module: nn.Module) -> int:
    """How often the maps of a detector hold each image of the batch."""
    backbone = getattr(module, 'backbone', None)
    joined = module.training or getattr(backbone, 'test_branch_idx', None) == -1
    return getattr(backbone, 'num_branch', 1) if joined else 1


class DetectorStudentView(StudentView):
    """Maps, RoIs, labels and outputs of one call of a detector's ``loss``.

    Nothing of the student is run again: module hooks record the maps, and attributes on the RoI
    head instance record the arguments and results of its ``loss`` and ``bbox_loss``, so sampling,
    RoIs and labels are the student's own.

    The maps of a TridentNet hold the images of the batch once for each branch; what is said of
    images here is said of all of these.

    Args:
        module: The student.
        inputs: The batch, shape ``(N, C, H, W)``.
        samples: The data sample of each image: size, boxes, labels.
        modules: Names of modules whose outputs are recorded.
    """

    def __init__(
        self,
        module: nn.Module,
        inputs: Tensor,
        samples: Sequence[Any],
        modules: Sequence[str] = (),
    ) -> None:
        super().__init__(module, inputs)
        self.samples = list(samples) * _branches(module)
        self.level_rows = LevelRows()
        """Levels of RoIs in this step, which both networks share."""
        self.proposals: list[Tensor] = []
        """Boxes that the RoI head was given, ``(P, 4)`` per image."""
        self.stages: dict[int, RoIStage] = {}
        """Calls of the box head by stage; 0 for heads without stages."""
        self._assigned = Assigned()
        self._assigned_queries: list[Assignment] = []
        self._maps: dict[str, tuple[Tensor, ...]] = {}
        self._modules = modules
        self._outputs = Recorded(single=True, repeated=repeated(modules))

    @property
    def image_sizes(self) -> list[tuple[int, int]]:
        """Height and width of each image of the maps without padding."""
        return [tuple(sample.img_shape[:2]) for sample in self.samples]

    @property
    def boxes(self) -> list[Tensor]:
        """Corners of the objects of each image in pixels of the batch, each ``(G, 4)``."""
        return [get_box_tensor(sample.gt_instances.bboxes) for sample in self.samples]

    @property
    def classes(self) -> list[Tensor]:
        """Classes of the objects of each image, each ``(G,)``."""
        return [sample.gt_instances.labels for sample in self.samples]

    def maps(self, place: str) -> tuple[Tensor, ...]:
        if place == MEMORY:
            return self.once(MEMORY, self._memory)
        return without_image(self.module, place, self._maps[place])

    def _memory(self) -> tuple[Tensor, ...]:
        given = self.maps(roi_place(self.module))
        return memory_maps(self.module, self._outputs[ENCODER], given)

    def output(self, module: str) -> Tensor:
        return self._outputs[module]

    @property
    def stage_numbers(self) -> list[int]:
        """Stages of the box head that were run."""
        return list(self.stages)

    def stage(self, index: int) -> RoIStage:
        """A stage; without RoIs where a Cascade has stopped before it for want of them."""
        if index not in self.stages:
            return self.once(('empty stage', index), self.stages[0].empty)
        return self.stages[index]

    def logits(self, stage: int = 0) -> Tensor:
        return self.stage(stage).logits

    def labels(self, stage: int = 0) -> Tensor:
        return self.stage(stage).labels

    def head(self, maps: tuple[Tensor, ...], rois: Tensor, stage: int = 0) -> HeadOutput:
        """Logits and offsets of the student's own box head on other maps."""
        raw = run_box_head(self.module, maps, rois, stage, self.level_rows)
        head = of_stage(self.module.roi_head.bbox_head, stage)
        return HeadOutput(class_logits(head, raw.logits), raw.offsets)

    def pooled(self, extractor: nn.Module, maps: Sequence[Tensor], rois: Tensor) -> Tensor:
        """RoIAlign of maps of the neck, shape ``(R, C, H, W)``."""
        return pooled(self.level_rows, extractor, maps, rois)

    def chosen(self, stage: int, rois: str) -> Tensor | None:
        """Rows of the RoIs of a stage that a tap compares; None for all.

        Args:
            stage: Index of the stage.
            rois: ``'all'``, or ``'foreground'`` for those assigned to an object.
        """
        if rois == 'all':
            return None
        return self.stage(stage).foreground

    def chosen_rois(self, stage: int, rois: str) -> Tensor:
        """The RoIs of these rows, shape ``(R, 5)``; the same tensor for every tap."""
        rows, every = self.chosen(stage, rois), self.stage(stage).rois
        return every if rows is None else self.once(('chosen rois', stage), lambda: every[rows])

    def branch_features(self, depth: int) -> Features:
        """Features of the dense head's branches behind some convolutions, before activation.

        Args:
            depth: Number of convolutions; 0 for the maps that the head is given.
        """
        if depth == 0:
            return dict.fromkeys(BRANCHES, self.maps(roi_place(self.module)))
        return dict(zip(BRANCHES, map(self._outputs.every, features_before(depth))))

    def places(self, teacher: DenseOutput, crossed: DenseOutput | None = None) -> DensePlaces:
        """Places of the dense head with both networks' outputs.

        Args:
            teacher: Outputs of the teacher's dense head, in the student's classes and sizes.
            crossed: Outputs that stand for the student; its own by default.

        Raises:
            ValueError: If the head gives something else than scores of its priors and classes.
        """
        head = getattr(self.module, HEAD)
        own = dense_output(head, self._outputs.latest(HEAD))
        images = len(own.logits[0])
        inside = [self.image_mask(HEAD, one.flatten(1, 2)) for one in own.logits]
        known = self._assigned.levels or self._assigned.images
        foreground = self._assigned.flat(own.sizes, images) if known else None
        return DensePlaces(crossed or own, teacher, inside, foreground)

    def queries(self) -> QueryOutput:
        """Outputs of the student's head of queries."""
        return self.once('queries', lambda: query_output(self.module, self._outputs.latest(HEAD)))

    def query_matcher(self, teacher: QueryOutput) -> QueryMatcher:
        """The matcher of the queries of both networks.

        Args:
            teacher: Outputs of the teacher's head, in the student's classes.
        """
        assigner = getattr(self.module, HEAD).assigner
        return QueryMatcher(self.queries(), teacher, assigner, self._assigned_queries, self.samples)

    def image_mask(self, place: str, features: Tensor) -> Tensor | None:
        if place.startswith('roi_head.'):  # one row per RoI
            return None
        sizes = self.image_sizes[: len(features)]
        return self.once(
            ('mask', len(sizes), tuple(features.shape[-2:])),
            lambda: image_mask(tuple(self.inputs.shape[-2:]), sizes, features),
        )

    @contextmanager
    def recording(self) -> Iterator[None]:
        """A block in which the student's ``loss`` runs; however it ends, nothing stays behind."""
        with ExitStack() as stack:
            places = [
                one for one in PLACES if isinstance(getattr(self.module, one, None), nn.Module)
            ]
            stack.enter_context(watching(self.module, places, self._note_maps))
            roi_head = getattr(self.module, 'roi_head', None)
            if roi_head is not None:
                stack.enter_context(replaced(roi_head, 'loss', self._recorded_loss(roi_head)))
                if can_record(roi_head):
                    bbox_loss = self._recorded_bbox_loss(roi_head)
                    stack.enter_context(replaced(roi_head, 'bbox_loss', bbox_loss))
            if HEAD in self._modules:
                head = getattr(self.module, HEAD)
                stack.enter_context(recording_targets(head, self._assigned))
                stack.enter_context(recording_assignments(head, self._assigned_queries))
            stack.enter_context(recording(self.module, self._modules, into=self._outputs))
            yield

    def _note_maps(self, place: str, output: Any) -> None:
        self._maps[place] = as_maps(output)

    def _recorded_loss(self, roi_head: nn.Module) -> Callable:
        original = roi_head.loss
        signature = inspect.signature(original)

        def loss(*args: Any, **kwargs: Any) -> dict[str, Any]:
            given = signature.bind(*args, **kwargs).arguments.get('rpn_results_list', ())
            # Before the head renames them and adds the annotated boxes.
            self.proposals = [
                get_box_tensor(result.bboxes).detach() for result in given if 'bboxes' in result
            ]
            return original(*args, **kwargs)

        return loss

    def _recorded_bbox_loss(self, roi_head: nn.Module) -> Callable:
        original = roi_head.bbox_loss
        # StandardRoIHead: (x, sampling_results); CascadeRoIHead: (stage, x, sampling_results);
        # SparseRoIHead: (stage, x, results_list, ...), which samples inside
        signature = inspect.signature(original)

        def bbox_loss(*args: Any, **kwargs: Any) -> dict[str, Any]:
            given = signature.bind(*args, **kwargs).arguments
            sampled = [Sampled.of(one) for one in given.get('sampling_results', ())]
            result = original(*args, **kwargs)
            stage = given.get('stage', 0)
            head = of_stage(roi_head.bbox_head, stage)
            self.stages[stage] = recorded_stage(roi_head, head, sampled, given, result)
            return result

        return bbox_loss
