"""RoI features, class by class: ground-truth boxes, and background as the sampler draws it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmdet.structures.bbox import bbox2roi
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from wkd_det.costs.features import ClassExamples, FeatureSource
from wkd_det.costs.matrix import BACKGROUND
from wkd_det.detection.heads import box_head, num_stages, run_box_head
from wkd_det.distillation.recording import recording
from wkd_det.inspection.opening import annotated_dataset, open_features
from wkd_det.ops.checks import check_booleans, check_choice, listed
from wkd_det.runtime.state import random_state, set_random_state

LAYERS = ('penultimate', 'roi_feats', 'logits')

_KEYS_PER_IMAGE = 2**24  # far more than RoIs of an image


def image_seed(seed: int, item: int) -> int:
    """Return a random seed for one image of a data set, so that images do not share their draws."""
    return (seed * 1_000_003 + item) % 2**63


def check_samples_background(detector: nn.Module) -> None:
    """Refuse detectors that cannot propose and sample background RoIs.

    Raises:
        ValueError: If the RPN or the sampler is missing.
    """
    if not detector.with_rpn:
        raise ValueError(
            f'{type(detector).__name__} has no RPN to propose background: leave background out'
        )
    if not getattr(detector.roi_head, 'bbox_sampler', None):
        raise ValueError(
            'background RoIs need an assigner and a sampler: the model has no train_cfg.rcnn'
        )


def background_boxes(
    detector: nn.Module, maps: tuple[Tensor, ...], sample: Any, *, stage: int, seed: int
) -> Tensor:
    """Return negatives of one image, which assigner and sampler would train as background.

    Proposals are those of the detector at test time; for a later stage of a Cascade they are
    refined by the stages before it.

    Args:
        detector: A two-stage detector, in eval mode.
        maps: Maps of its neck, for this image alone.
        sample: The image's data sample with ground truth.
        stage: Stage of a Cascade; 0 for others.
        seed: Random seed of the sampler. The random state of the process stays as it was.

    Returns:
        Boxes, shape ``(N, 4)``; none where there are no proposals.
    """
    proposals = detector.rpn_head.predict(maps, [sample], rescale=False)[0].bboxes
    if not len(proposals):
        return proposals.reshape(0, 4)
    for earlier in range(stage):
        proposals = _refined(detector, maps, proposals, sample, earlier)
    assigner, sampler = detector.roi_head.bbox_assigner, detector.roi_head.bbox_sampler
    if isinstance(sampler, list):
        assigner, sampler = assigner[stage], sampler[stage]
    candidates = InstanceData(priors=proposals)
    truth = sample.gt_instances
    assigned = assigner.assign(candidates, truth, sample.get('ignored_instances'))
    state = random_state()
    try:
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        levels = [level[:1] for level in maps]
        sampled = sampler.sample(assigned, candidates, truth, feats=levels)
    finally:
        set_random_state(state)
    return sampled.neg_priors


def _refined(
    detector: nn.Module, maps: tuple[Tensor, ...], boxes: Tensor, sample: Any, stage: int
) -> Tensor:
    """Return the boxes after the regression of a stage, by the class that it scores highest."""
    head = box_head(detector, stage, 'model')
    rois = torch.cat([boxes.new_zeros(len(boxes), 1), boxes], dim=1)
    output = run_box_head(detector, maps, rois, stage)
    labels = output.logits[:, :-1].argmax(dim=1)
    return head.regress_by_class(boxes, labels, output.offsets, sample.metainfo)


def roi_features(
    detector: nn.Module, maps: tuple[Tensor, ...], rois: Tensor, stage: int = 0
) -> dict[str, Tensor]:
    """Return the features of each of ``LAYERS`` on given RoIs.

    Args:
        detector: A two-stage detector whose head has a layer ``fc_cls``.
        maps: Maps of its neck.
        rois: Image index and box, shape ``(R, 5)``.
        stage: Stage of a Cascade; 0 for others.

    Returns:
        ``penultimate``, the input of the classification layer, shape ``(R, D)``; ``roi_feats``,
        the RoIAlign output, shape ``(R, C, H, W)``; ``logits``, shape ``(R, K + 1)``.
    """
    head = box_head(detector, stage, 'model')
    with recording(head, [':input', 'fc_cls:input']) as given:
        logits = run_box_head(detector, maps, rois, stage).logits
    return dict(penultimate=given['fc_cls:input'], roi_feats=given.latest(':input'), logits=logits)


class RoIFeatureSource(FeatureSource):
    """RoI features of ground-truth boxes for the objects, of sampled negatives for background.

    Images go through the detector one by one, so the features of an image do not depend on the
    others, and the sampler is seeded for each image.

    Args:
        detector: A two-stage detector (Faster, Mask, Cascade R-CNN, ...).
        dataset: Images with ground truth; see
            :func:`~wkd_det.inspection.opening.annotated_dataset`.
        class_names: Names of the objects, in the order of the logits.
        layer: ``'penultimate'``: the input of the classification layer; ``'roi_feats'``: the
            mean over the pixels of the RoIAlign output; ``'logits'``.
        background: Background is a class, the last one.
        stage: Stage of a Cascade, which needs it; other heads have stage 0 only.
        seed: Random seed of the sampler.
        num_workers: Number of processes that read images.
        description: Facts that :meth:`describe` returns too.

    Raises:
        ValueError: If an option is out of range or the detector lacks a part that is needed.
    """

    def __init__(
        self,
        detector: nn.Module,
        dataset: Dataset,
        class_names: Sequence[str],
        *,
        layer: str = 'penultimate',
        background: bool = True,
        stage: int | None = None,
        seed: int = 0,
        num_workers: int = 0,
        description: dict[str, Any] | None = None,
    ) -> None:
        check_booleans(background=background)
        check_choice(LAYERS, layer=layer)
        self.stage = self._checked_stage(detector, stage)
        self._check_classes(detector, class_names, background)
        self.detector = detector.eval()
        self.dataset = dataset
        self.class_names = [*class_names, *([BACKGROUND] if background else [])]
        self.layer = layer
        self.background = background
        self.seed = seed
        self.num_workers = num_workers
        self.description = description or {}

    def __len__(self) -> int:
        return len(self.dataset)

    def examples(self, items: Sequence[int]) -> Iterator[ClassExamples]:
        loader = DataLoader(
            Subset(self.dataset, items),
            batch_size=1,
            num_workers=self.num_workers,
            collate_fn=pseudo_collate,
            generator=torch.Generator(),  # a loader draws a seed, if not here from the process's
        )
        for item, data in zip(items, loader):
            yield self._of_image(item, data)

    def classifier_rows(self) -> Tensor:
        weight = self._classifier().weight
        return weight if self.background else weight[: len(self.class_names)]

    def describe(self) -> dict[str, Any]:
        return dict(self.description, layer=self.layer, stage=self.stage, images=len(self))

    @torch.no_grad()
    def _of_image(self, item: int, data: dict[str, Any]) -> ClassExamples:
        data = self.detector.data_preprocessor(data, False)
        sample = data['data_samples'][0]
        maps = self.detector.extract_feat(data['inputs'])
        boxes, labels = sample.gt_instances.bboxes, sample.gt_instances.labels
        if self.background:
            negatives = background_boxes(
                self.detector, maps, sample, stage=self.stage, seed=image_seed(self.seed, item)
            )
            last = len(self.class_names) - 1
            labels = torch.cat([labels, labels.new_full((len(negatives),), last)])
            boxes = torch.cat([boxes, negatives])
        keys = torch.arange(len(boxes)) + item * _KEYS_PER_IMAGE
        if not len(boxes):
            return ClassExamples(boxes.new_zeros(0, 0), labels, keys)
        return ClassExamples(self._features(maps, bbox2roi([boxes])), labels, keys)

    def _features(self, maps: tuple[Tensor, ...], rois: Tensor) -> Tensor:
        features = roi_features(self.detector, maps, rois, self.stage)[self.layer]
        if self.layer == 'logits':
            return features[:, : len(self.class_names)]
        return features.mean(dim=(2, 3)) if self.layer == 'roi_feats' else features

    def _classifier(self) -> nn.Module:
        return box_head(self.detector, self.stage, 'model').fc_cls

    @staticmethod
    def _checked_stage(detector: nn.Module, stage: int | None) -> int:
        if getattr(detector, 'roi_head', None) is None:
            raise ValueError(
                f'{type(detector).__name__} has no RoI head: class features are those of RoIs, '
                'so a two-stage detector is needed'
            )
        stages = num_stages(detector)
        if stage is None and stages is not None:
            raise ValueError(
                f'the RoI head has {stages} stages: say whose features to take with stage=INDEX'
            )
        if not 0 <= (stage or 0) < (stages or 1):
            raise ValueError(
                f'stage must lie in [0, {stages or 1}) for {type(detector.roi_head).__name__}, '
                f'got {stage}'
            )
        return stage or 0

    def _check_classes(
        self, detector: nn.Module, class_names: Sequence[str], background: bool
    ) -> None:
        head = box_head(detector, self.stage, 'model')
        if getattr(getattr(head, 'fc_cls', None), 'weight', None) is None:
            raise ValueError(f'{type(head).__name__} has no layer fc_cls that classifies RoIs')
        if head.num_classes != len(class_names):
            raise ValueError(
                f'the detector has {head.num_classes} classes and the data {len(class_names)}: '
                f'{listed(class_names, 8)}'
            )
        if BACKGROUND in class_names:
            raise ValueError(f'{BACKGROUND!r} is the name of what is no object, not of a class')
        if background:
            if getattr(head.loss_cls, 'use_sigmoid', False):
                raise ValueError(
                    'the detector classifies by sigmoids and has no background class: '
                    'leave background out'
                )
            check_samples_background(detector)


def open_roi_features(
    config: str | os.PathLike | Mapping[str, Any] | Config,
    checkpoint: str | os.PathLike,
    *,
    split: str = 'train',
    name: str = '',
    **options: Any,
) -> RoIFeatureSource:
    """Load a detector, strictly, and the data of a split.

    Args:
        config: Config of the detector and its data; see
            :func:`~wkd_det.runtime.config.read_config`.
        checkpoint: Path or http(s) address of its weights.
        split: ``'train'``, ``'val'`` or ``'test'``.
        name: Name of the config, for the metadata.
        **options: Options of :class:`RoIFeatureSource`.

    Raises:
        FileNotFoundError, KeyError, ValueError: If checkpoint, config and data are not there or
            do not fit together.
    """
    return open_features(
        RoIFeatureSource, annotated_dataset, config, checkpoint, split=split, name=name, **options
    )
