"""Images in one folder a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdet.registry import DATASETS
from PIL import Image
from torchvision.datasets import ImageFolder

from wkd_det.classification.datasets.image_dataset import ImageDataset


@DATASETS.register_module()
class ImageFolderDataset(ImageDataset):
    """Images under ``data_root/<class>/``, as torchvision's ``ImageFolder`` finds them.

    Args:
        data_root: Folder of the class folders.
        classes: Names of the class folders, in the order of the labels; sorted by default. Set
            it where a split may lack a class.
        **options: Of :class:`ImageDataset`.

    Raises:
        FileNotFoundError: If there is no such folder, or no image in it.
        ValueError: If a folder is none of ``classes``.
    """

    layout = 'one folder a class, with its images in it: <data_root>/<class>/<image>.jpg'

    def __init__(
        self, data_root: str, *, classes: Sequence[str] | None = None, **options: Any
    ) -> None:
        root = Path(data_root).expanduser()
        found = (
            sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
        )
        if not found:
            raise FileNotFoundError(f'no images in {data_root} (from {Path.cwd()}): {self.layout}')
        classes = found if classes is None else list(classes)
        if unknown := [name for name in found if name not in classes]:
            raise ValueError(
                f'{data_root} has the folders {unknown[:8]}, which are none of classes'
            )
        try:
            self._data = _NamedFolders(str(root), {name: classes.index(name) for name in found})
        except FileNotFoundError as error:
            raise FileNotFoundError(f'{error}; {self.layout}') from None
        super().__init__(classes, **options)

    def read(self, index: int) -> tuple[Image.Image, int]:
        return self._data[index]

    def name(self, index: int) -> str:
        return self._data.samples[index][0]

    def labels(self) -> Sequence[int]:
        return self._data.targets


class _NamedFolders(ImageFolder):
    """``ImageFolder`` whose labels are given."""

    def __init__(self, root: str, labels: Mapping[str, int]) -> None:
        self._labels = dict(labels)
        super().__init__(root)

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        return list(self._labels), self._labels
