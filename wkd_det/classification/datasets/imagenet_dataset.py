"""ImageNet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmdet.registry import DATASETS

from wkd_det.classification.datasets.image_folder_dataset import ImageFolderDataset
from wkd_det.classification.datasets.split import check_split

_CLASSES = 1000


@DATASETS.register_module()
class ImageNetDataset(ImageFolderDataset):
    """ILSVRC 2012, unpacked into one folder a synset.

    Args:
        data_root: Folder of ``train`` and ``val``.
        split: One of them.
        **options: Of :class:`ImageFolderDataset`.

    Raises:
        FileNotFoundError: If the data are not there; says what to download.
        ValueError: If there are not 1000 synsets, and ``classes`` is not given.
    """

    layout = (
        'ImageNet (ILSVRC 2012) needs a log-in: download ILSVRC2012_img_train.tar and '
        'ILSVRC2012_img_val.tar from https://image-net.org/download-images, and unpack them into '
        '<data_root>/train/<synset>/*.JPEG and <data_root>/val/<synset>/*.JPEG, with the names of '
        'the synsets (n01440764, ...) as folders'
    )

    def __init__(self, data_root: str, *, split: str, **options: Any) -> None:
        check_split(split, ('train', 'val'))
        super().__init__(str(Path(data_root) / split), **options)
        found = len(self.metainfo['classes'])
        if options.get('classes') is None and found != _CLASSES:
            raise ValueError(
                f'{Path(data_root) / split} has {found} folders, ImageNet has {_CLASSES} synsets; '
                'for a part of it give their names as classes'
            )
