"""Features of whole images, class by class: what a classifier reads in front of its last layer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from wkd_det import registry
from wkd_det.classification.classifier import class_rows, last_layer, network_of
from wkd_det.classification.targets import UNLABELLED, Targets
from wkd_det.costs.features import ClassExamples, FeatureSource
from wkd_det.distillation.recording import INPUT, recording
from wkd_det.inspection.opening import (
    data_of,
    open_features,
    unaugmented_data_of,
)

LAYERS = ('penultimate', 'logits')
IMAGES_AT_ONCE = 64


class ImageFeatureSource(FeatureSource):
    """Features of whole images, class by class.

    An item is a run of 64 images in the order of the data set, which go through the network as
    one batch: which images share a batch does not depend on the number of processes.

    Args:
        classifier: A :class:`~wkd_det.classification.classifier.Classifier`, in eval mode.
        dataset: Pairs of an image in bytes and a label; None for an image that is left out.
        class_names: Names in the order of the logits.
        layer: ``'penultimate'``: the input of the last layer; ``'logits'``.
        num_workers: Number of processes that read images.
        description: Facts that :meth:`describe` returns too.

    Raises:
        ValueError: If the layer is unknown or the numbers of classes differ.
    """

    def __init__(
        self,
        classifier: nn.Module,
        dataset: Dataset,
        class_names: Sequence[str],
        *,
        layer: str = 'penultimate',
        num_workers: int = 0,
        description: dict[str, Any] | None = None,
    ) -> None:
        if layer not in LAYERS:
            raise ValueError(f'layer must be one of {LAYERS} for a classifier, got {layer!r}')
        if classifier.num_classes != len(class_names):
            raise ValueError(
                f'the classifier has {classifier.num_classes} classes and the data '
                f'{len(class_names)}'
            )
        self.classifier = classifier
        self.dataset = dataset
        self.class_names = list(class_names)
        self.layer = layer
        self.num_workers = num_workers
        self.description = description or {}

    def __len__(self) -> int:
        return -(-len(self.dataset) // IMAGES_AT_ONCE)

    def examples(self, items: Sequence[int]) -> Iterator[ClassExamples]:
        runs = [
            range(item * IMAGES_AT_ONCE, min((item + 1) * IMAGES_AT_ONCE, len(self.dataset)))
            for item in items
        ]
        loader = DataLoader(
            self.dataset,
            batch_sampler=runs,
            num_workers=self.num_workers,
            collate_fn=list,
            generator=torch.Generator(),  # a loader draws a seed, if not here from the process's
        )
        for run, images in zip(runs, loader):
            yield self._of_images(run, images)

    def classifier_rows(self) -> Tensor:
        return class_rows(network_of(self.classifier), self.classifier.num_classes)

    def describe(self) -> dict[str, Any]:
        return dict(self.description, layer=self.layer, images=len(self.dataset))

    @torch.no_grad()
    def _of_images(
        self, run: Sequence[int], images: list[tuple[Tensor, int] | None]
    ) -> ClassExamples:
        read = [
            (key, *one[:2])
            for key, one in zip(run, images)
            if one is not None and one[1] != UNLABELLED
        ]
        if not read:
            nothing = torch.zeros(0, dtype=torch.int64)
            return ClassExamples(torch.zeros(0, 0), nothing, nothing)
        keys, pixels, labels = zip(*read)
        batch = [torch.stack(pixels), torch.tensor(labels)]
        inputs, targets = self.classifier.data_preprocessor(batch, False)
        labels = Targets.of(targets).labels
        return ClassExamples(self._features(inputs), labels, torch.tensor(keys))

    def _features(self, inputs: Tensor) -> Tensor:
        network = network_of(self.classifier)
        name = f'{last_layer(network, self.classifier.num_classes)[0]}{INPUT}'
        with recording(network, [name]) as given:
            logits = network(inputs)
        if self.layer == 'logits':
            return logits
        # A convolution classifies maps, if only of one pixel; some linear layers read tokens.
        features = given[name]
        return features.flatten(2).mean(2) if features.dim() == 4 else features


def open_image_features(
    config: str | os.PathLike | Mapping[str, Any] | Config,
    checkpoint: str | os.PathLike,
    *,
    split: str = 'train',
    name: str = '',
    **options: Any,
) -> ImageFeatureSource:
    """Load a classifier, strictly, and the images of a split as at test time.

    Args:
        config: Config of the classifier and its data; see
            :func:`~wkd_det.runtime.config.read_config`.
        checkpoint: Path, http(s) address, ``torchvision://NAME`` or ``timm://NAME``.
        split: ``'train'``, ``'val'`` or ``'test'``.
        name: Name of the config, for the metadata.
        **options: Options of :class:`ImageFeatureSource`.

    Raises:
        FileNotFoundError, KeyError, ValueError: If checkpoint, config and data are not there or
            do not fit together.
    """
    return open_features(
        ImageFeatureSource, _plain_dataset, config, checkpoint, split=split, name=name, **options
    )


def _plain_dataset(config: Config, split: str) -> Dataset:
    """Build the data set of a split with the transforms of the test data: no augmentation."""
    section = data_of(config, split)
    section.transforms = unaugmented_data_of(config).get('transforms', ())
    section.pop('strong_transforms', None)
    return registry.build(section, 'DATASETS')
