"""Views of both detectors on a batch in which some images, or all, have no labels.

The backbone and the neck run once, on the whole batch, so batch normalisation sees all images; the
rest of the student's ``loss`` gets the labelled ones. Where a term reads RoIs, those of an image
without labels are what the teacher's RPN proposes there, with the best scores.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property, partial
from typing import Any

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.structures.bbox import bbox2roi, get_box_tensor
from mmengine.dist import get_world_size
from torch import Tensor, nn

from wkd_det.connectors import Connector
from wkd_det.detection.geometry import PLACES, on_device, roi_place
from wkd_det.detection.heads import HeadOutput, box_head, num_stages
from wkd_det.detection.recorded import RoIStage
from wkd_det.detection.student_view import DetectorStudentView
from wkd_det.detection.teacher_view import DetectorTeacherView
from wkd_det.detection.unlabelled import Unlabelled, is_labelled
from wkd_det.distillation.recording import Recorded, module_of, recording, replaced
from wkd_det.distillation.rows import Rows
from wkd_det.distillation.zeros import zero_of

_ROI_HEAD = 'roi_head.'


class MixedStage:
    """The box head on the RoIs of labelled images, and on those of the others when asked.

    It has what a :class:`~wkd_det.detection.recorded.RoIStage` has.

    Args:
        known: The student's own call on labelled images; None without such.
        rois: RoIs of all images, the labelled ones first, shape ``(R, 5)``.
        run: Returns what the head gives on the last RoIs, those of images without labels.
        background: The class of these.
    """

    features = None

    def __init__(
        self, known: RoIStage | None, rois: Tensor, run: Callable[[], HeadOutput], background: int
    ) -> None:
        self.rois = rois
        self._known, self._run, self._background = known, run, background

    @cached_property
    def labels(self) -> Tensor:
        """Assigned classes, shape ``(R,)``; all background in images without labels."""
        known = [] if self._known is None else [self._known.labels]
        left = len(self.rois) - sum(map(len, known))
        others = torch.full((left,), self._background, device=self.rois.device)
        return torch.cat([*known, others])

    @cached_property
    def logits(self) -> Tensor:
        """Shape ``(R, K + 1)``."""
        return torch.cat([stage.logits for stage in self._parts])

    @cached_property
    def offsets(self) -> Tensor:
        """Box offsets, shape ``(R, 4 K)`` or ``(R, 4)``."""
        return torch.cat([stage.offsets for stage in self._parts])

    @property
    def _parts(self) -> list[RoIStage | HeadOutput]:
        return [*([] if self._known is None else [self._known]), self._run()]


class MixedStudentView(DetectorStudentView):
    """The student on a batch of which some images, or all, have no labels.

    Args:
        module: The student.
        inputs: The batch, shape ``(N, C, H, W)``.
        samples: The data sample of each image.
        modules: Names of modules whose outputs are recorded.
        section: How many RoIs an image without labels has.

    Raises:
        ValueError: If the maps of the student have several branches (TridentNet).
    """

    def __init__(
        self,
        module: nn.Module,
        inputs: Tensor,
        samples: Sequence[Any],
        modules: Sequence[str] = (),
        *,
        section: Unlabelled,
    ) -> None:
        super().__init__(module, inputs, samples, modules)
        if len(self.samples) != len(samples):
            raise ValueError(
                f'the maps of a {type(module).__name__} hold each image once for each branch, so '
                'images without labels cannot be told apart: leave them out'
            )
        known = [is_labelled(sample) for sample in samples]
        places = [[i for i, one in enumerate(known) if one is side] for side in (True, False)]
        self.labelled_rows, self.other_rows = (Rows(one, len(samples)) for one in places)
        self._proposer: weakref.ref[MixedTeacherView] | None = None
        self._section = section
        self._other_outputs = Recorded(single=True)
        self._counts: list[int] = []

    @property
    def proposer(self) -> MixedTeacherView | None:
        """Whose RPN proposes the RoIs of images without labels; held weakly: it holds this view."""
        return None if self._proposer is None else self._proposer()

    @proposer.setter
    def proposer(self, teacher: MixedTeacherView | None) -> None:
        self._proposer = None if teacher is None else weakref.ref(teacher)

    def run(self, loss: Callable[[Tensor, Any], dict[str, Any]], targets: Any) -> dict[str, Any]:
        """Losses of the task on the labelled images; there are none without such.

        Raises:
            ValueError: If the student's ``loss`` does not go by ``extract_feat`` and its heads.
        """
        with self.recording():
            maps = self.module.extract_feat(self.inputs)
            outputs = {part: getattr(self.module, part)(maps) for part in self._dense_heads()}
            if len(self.labelled_rows):
                return self._loss_of(self.labelled_rows, maps, outputs, loss)
        self.passed_by = self._without_labels(maps, loss)
        return {}

    def _dense_heads(self) -> list[str]:
        """Parts behind the neck that run on whole maps, of which terms read modules."""
        parts = {module_of(name).split('.')[0] for name in self._modules}
        return sorted(parts - {*PLACES, 'roi_head'})

    def _loss_of(
        self,
        rows: Rows,
        maps: Any,
        outputs: Mapping[str, Any],
        loss: Callable[[Tensor, Any], dict[str, Any]],
    ) -> dict[str, Any]:
        """The student's loss of some images, with what the batch has given already."""
        given, taken = rows.of(maps), set()

        def handed_out(name: str, value: Any, *args: Any, **options: Any) -> Any:
            taken.add(name)
            return value

        with ExitStack() as stack:
            hand = partial(handed_out, 'extract_feat', given)
            stack.enter_context(replaced(self.module, 'extract_feat', hand))
            for part, output in outputs.items():
                hand = partial(handed_out, part, rows.of(output))
                stack.enter_context(replaced(getattr(self.module, part), 'forward', hand))
            losses = loss(rows.of(self.inputs), [self.samples[place] for place in rows.places])
        for name in ('extract_feat', *outputs):
            if name not in taken:
                raise ValueError(
                    f'images without labels need a detector whose loss calls {name}, and that of '
                    f'{type(self.module).__name__} does not'
                )
        return losses

    def _without_labels(self, maps: Any, loss: Callable[..., dict[str, Any]]) -> Tensor:
        """0 with gradients of 0 for what only labelled images use."""
        own = [
            parameter
            for name, parameter in self.module.named_parameters()
            if parameter.requires_grad and not name.startswith('distiller.')
        ]
        if get_world_size() == 1:
            return zero_of(*own)
        # Others may have labelled images, and their losses may add up something over all processes
        # (normalisers, batch statistics): one image, as if without objects, keeps step with them.
        losses = self._loss_of(Rows([0], self.inputs.shape[0]), maps, {}, loss)
        self.stages.clear()
        listed = [one if isinstance(one, (list, tuple)) else [one] for one in losses.values()]
        values = [value for part in listed for value in part]
        return zero_of(*own, *(value for value in values if value.requires_grad))

    def labelled_part(self) -> LabelledStudentView | None:
        if not len(self.labelled_rows):
            return None
        return self.once('labelled part', lambda: LabelledStudentView(self))

    def output(self, module: str) -> Tensor:
        if not module.startswith(_ROI_HEAD):
            return super().output(module)
        for index in self.stage_numbers:
            self._other_head(index)
        known = [self._outputs[module]] if len(self.labelled_rows) else []
        return self.once(
            ('output', module), lambda: torch.cat([*known, self._other_outputs[module]])
        )

    @property
    def stage_numbers(self) -> list[int]:
        return list(range(num_stages(self.module) or 1))

    def stage(self, index: int) -> MixedStage:
        return self.once(('stage', index), lambda: self._mixed_stage(index))

    def _mixed_stage(self, index: int) -> MixedStage:
        known = super().stage(index) if len(self.labelled_rows) else None
        others = self._other_rois(index)
        rois = others
        if known is not None:
            rois = torch.cat([in_batch(known.rois, self.labelled_rows), others.to(known.rois)])
        background = box_head(self.module, index, 'student').num_classes
        head = weakref.WeakMethod(self._other_head)  # this view keeps its stages
        return MixedStage(known, rois, lambda: head()(index), background)

    def _other_head(self, index: int) -> HeadOutput:
        """The box head on the RoIs of images without labels."""
        return self.once(('head', index), lambda: self._run_head(index))

    def _run_head(self, index: int) -> HeadOutput:
        rois = self._other_rois(index)
        names = [name for name in self._modules if name.startswith(_ROI_HEAD)]
        with recording(self.module, names, into=self._other_outputs):
            return self.head(self.maps(roi_place(self.module)), rois, index)

    def _other_rois(self, index: int) -> Tensor:
        """RoIs of images without labels: the teacher's proposals, refined stage by stage."""
        make = partial(self._refined, index - 1) if index else self._proposed
        return self.once(('other rois', index), make)

    def _proposed(self) -> Tensor:
        boxes = self.proposer.proposals(self.other_rows, self._section.rois_of(self.module))
        self._counts = [len(one) for one in boxes]
        return in_batch(bbox2roi(boxes), self.other_rows)

    @torch.no_grad()
    def _refined(self, index: int) -> Tensor:
        """RoIs of the stage after this one, as the Cascade's own loss makes them."""
        rois, output = self._other_rois(index), self._other_head(index)
        head = box_head(self.module, index, 'student')
        classes = output.logits[:, : head.num_classes].argmax(dim=1)
        parts = zip(*(one.split(self._counts) for one in (rois, classes, output.offsets)))
        return torch.cat(
            [
                torch.cat([own[:, :1], head.regress_by_class(own[:, 1:], *more, meta)], dim=1)
                for (own, *more), meta in zip(parts, self._metas)
            ]
        )

    @property
    def _metas(self) -> list[dict[str, Any]]:
        return [self.samples[place].metainfo for place in self.other_rows.places]


class LabelledStudentView(DetectorStudentView):
    """The labelled images of a mixed batch, for terms that need labels.

    Args:
        whole: The view of the batch, after the student has run.
    """

    def __init__(self, whole: MixedStudentView) -> None:
        rows = whole.labelled_rows
        samples = [whole.samples[place] for place in rows.places]
        super().__init__(whole.module, rows.of(whole.inputs), samples, whole._modules)
        self._whole, self._rows = whole, rows
        self.stages, self.proposals = whole.stages, whole.proposals

    def maps(self, place: str) -> tuple[Tensor, ...]:
        return self.once(('maps', place), lambda: self._rows.of(self._whole.maps(place)))

    def output(self, module: str) -> Tensor:
        output = self._whole._outputs[module]
        return output if module.startswith(_ROI_HEAD) else self._rows.of(output)

    def projected(
        self, place: str, level: int, connector: Connector, size: tuple[int, int] | None = None
    ) -> Tensor:
        # Once on the whole batch, whichever terms share the connector.
        return self._rows.of(self._whole.projected(place, level, connector, size))


class MixedTeacherView(DetectorTeacherView):
    """The teacher on a batch of which some images, or all, have no labels.

    Args:
        *args, **options: Arguments of the view of the teacher.
    """

    _student: MixedStudentView

    def on_part(self, student: LabelledStudentView) -> DetectorTeacherView:
        return self.once('labelled part', lambda: LabelledTeacherView(self, student))

    @torch.no_grad()
    def proposals(self, rows: Rows, most: int) -> list[Tensor]:
        """Boxes that its RPN proposes in some images, best scores first, each ``(P, 4)``.

        Args:
            rows: The images.
            most: Number of boxes of an image, at most.
        """
        samples = [self._student.samples[place] for place in rows.places]
        maps = rows.of(self._maps_of_rois())
        with self._teacher.computing(self.inputs):
            found = _proposals(self.module.rpn_head, maps, samples)
        return [get_box_tensor(image.bboxes)[:most].float() for image in found]


class LabelledTeacherView(DetectorTeacherView):
    """The teacher on the labelled images of a mixed batch; its maps are those of the batch.

    Args:
        whole: The view of the batch.
        student: The student's view of the labelled images.
    """

    def __init__(self, whole: MixedTeacherView, student: LabelledStudentView) -> None:
        super().__init__(whole._teacher, whole._teacher_input, student, whole._modules)
        self._whole, self._rows = whole, student._rows

    @cached_property
    def inputs(self) -> Tensor:
        return self._rows.of(self._whole.inputs)

    def output(self, module: str) -> Tensor:
        if module.startswith(_ROI_HEAD):
            return super().output(module)
        return self._rows.of(self._whole.output(module))

    def _maps(self, place: str) -> tuple[Tensor, ...]:
        return self._rows.of(self._whole._maps(place))


def in_batch(rois: Tensor, rows: Rows) -> Tensor:
    """RoIs ``(R, 5)`` of some images by themselves as RoIs of the whole batch.

    Args:
        rois: Index among these images, and box.
        rows: Places of the images.
    """
    if rows.places == list(range(len(rows))):
        return rois
    places = on_device(rows.places, rois.device).to(rois)
    return torch.cat([places[rois[:, :1].long()], rois[:, 1:]], dim=1)


def _proposals(head: nn.Module, maps: tuple[Tensor, ...], samples: Sequence[Any]) -> list[Any]:
    """Predictions of an RPN; boxes are computed in float32, whatever type the head has."""
    if type(head).predict is not BaseDenseHead.predict:
        return head.predict(maps, samples, rescale=False)
    outputs = head(maps)
    if isinstance(outputs, tuple) and all(isinstance(part, (list, tuple)) for part in outputs):
        outputs = tuple([one.float() for one in part] for part in outputs)
    metas = [sample.metainfo for sample in samples]
    return head.predict_by_feat(*outputs, batch_img_metas=metas, rescale=False)
