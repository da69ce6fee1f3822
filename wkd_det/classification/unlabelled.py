"""Images without labels for classifiers: a folder of any images, and a data set without its labels.

Both give the label -1, which needs ``allow_unlabelled=True`` in the data preprocessor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from wkd_det import registry
from wkd_det.classification.data import ImageDataset
from wkd_det.classification.datasets import read_rgb
from wkd_det.classification.targets import UNLABELLED, Sample
from wkd_det.runtime.images import image_files


class UnlabelledImagesDataset(ImageDataset):
    """Images without labels: all in a folder, at any depth, in the order of their paths.

    Hidden files and folders are left out. Join it with the labelled data set by
    ``ConcatDataset``, with ``ignore_keys=['classes']``, since it knows no classes.

    Args:
        data_root: The folder.
        **options: Options of :class:`~wkd_det.classification.data.ImageDataset`; those of the
            labelled images, so that all can be put into one batch.

    Raises:
        FileNotFoundError: If there is no image.
    """

    def __init__(self, data_root: str, **options: Any) -> None:
        super().__init__((), **options)
        self._paths = image_files(data_root)

    def read(self, index: int) -> tuple[Image.Image, int]:
        return read_rgb(str(self._paths[index])), UNLABELLED

    def name(self, index: int) -> str:
        return str(self._paths[index])

    def labels(self) -> Sequence[int]:
        return [UNLABELLED] * len(self._paths)


class WithoutLabels(Dataset):
    """The images of a data set of classified images, without their labels.

    Args:
        dataset: Config of the data set.

    Example:
        ``dict(type='WithoutLabels', dataset=dict(type='CIFAR100Dataset', data_root='data',
        split='train'))``
    """

    def __init__(self, dataset: Mapping[str, Any]) -> None:
        self.dataset = registry.build(dataset, 'DATASETS')
        self.metainfo = self.dataset.metainfo

    def full_init(self) -> None:
        """Do nothing: the data set is there; mmengine's ``ConcatDataset`` calls it."""

    def labels(self) -> Sequence[int]:
        """Return -1 for each image."""
        return [UNLABELLED] * len(self)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, int] | Sample | None:
        """Return the image with the label -1; None if it is to be skipped."""
        sample = self.dataset[index]
        if sample is None:
            return None
        if isinstance(sample, Sample):
            return sample._replace(label=UNLABELLED)
        return sample[0], UNLABELLED
