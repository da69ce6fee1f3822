"""CIFAR-100."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from mmdet.registry import DATASETS
from PIL import Image
from torchvision.datasets import CIFAR100

from wkd_det.classification.datasets.image_dataset import ImageDataset
from wkd_det.classification.datasets.split import check_split


@DATASETS.register_module()
class CIFAR100Dataset(ImageDataset):
    """CIFAR-100 as torchvision reads it.

    Args:
        data_root: Folder that holds ``cifar-100-python``.
        split: ``'train'`` (50000 images) or ``'test'`` (10000).
        **options: Of :class:`ImageDataset`.

    Raises:
        FileNotFoundError: If the data are not there; says what to download.
    """

    def __init__(self, data_root: str, *, split: str, **options: Any) -> None:
        check_split(split, ('train', 'test'))
        try:
            self._data = CIFAR100(data_root, train=split == 'train')
        except (RuntimeError, OSError):  # torchvision compares checksums
            folder = os.path.join(data_root, CIFAR100.base_folder)
            raise FileNotFoundError(
                f'CIFAR-100 is not (whole) in {folder}: download {CIFAR100.url} and unpack it in '
                f'{data_root}: mkdir -p {data_root} && curl -L {CIFAR100.url} | '
                f'tar xz -C {data_root}'
            ) from None
        super().__init__(self._data.classes, **options)

    def read(self, index: int) -> tuple[Image.Image, int]:
        return self._data[index]

    def labels(self) -> Sequence[int]:
        return self._data.targets
