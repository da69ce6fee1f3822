"""Images without labels as a data set of MMDetection: a folder, or the images of a COCO file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmdet.datasets import BaseDetDataset
from mmdet.registry import DATASETS
from mmdet.structures.mask import BitmapMasks
from mmengine.fileio import load
from mmengine.structures import InstanceData
from PIL import Image

from wkd_det.detection.unlabelled import LABELLED
from wkd_det.runtime.images import image_files
from wkd_det.runtime.source_sampler import SourceSampler

_ORIENTATION = 0x0112  # tag of EXIF
_TURNED = (5, 6, 7, 8)  # by a right angle


@DATASETS.register_module()
class UnlabelledDataset(BaseDetDataset):
    """Images without labels: those in a folder, at any depth, or those that a COCO file lists.

    Its samples say ``labelled=False`` in their metainfo and have no objects. Annotations in the
    file are not read. The pipeline may be that of the labelled images; it must pack each image by
    itself (no Mosaic or MixUp) and keep images without objects.

    Join it with the labelled data set by ``ConcatDataset``, with
    ``ignore_keys=['classes', 'palette']``, since it knows no classes.

    Args:
        data_root: Folder of the images and, with ``ann_file``, of that file.
        ann_file: COCO file with the list ``images`` (``file_name``, ``height``, ``width``), e.g.
            ``annotations/image_info_unlabeled2017.json``; it needs no categories. Empty: every
            image of the folder, in the order of the paths. Hidden files and folders are left out.
        **options: Options of MMDetection's data sets: ``data_prefix=dict(img=...)``, ``pipeline``,
            ``indices``, ...

    Raises:
        FileNotFoundError: If there is no image in the folder.
        ValueError: If the file lists no images, an image in the folder cannot be read, or
            the pipeline gives no packed image.

    Example:
        ``dict(type='UnlabelledDataset', data_root='data/photos', pipeline=train_pipeline)``
    """

    def __init__(self, data_root: str, ann_file: str = '', **options: Any) -> None:
        super().__init__(data_root=data_root, ann_file=ann_file, **options)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return path, size and number of each image."""
        prefix = self.data_prefix.get('img') or self.data_root
        found = self._in_file(prefix) if self.ann_file else self._in_folder(prefix)
        return [dict(one, img_id=index, instances=[]) for index, one in enumerate(found)]

    def _in_file(self, prefix: str) -> list[dict[str, Any]]:
        content = load(self.ann_file, backend_args=self.backend_args)
        images = content.get('images') if isinstance(content, dict) else None
        if not isinstance(images, list) or not images:
            raise ValueError(f'{self.ann_file} must be a COCO file with images, it lists none')
        return [
            dict(
                img_path=os.path.join(prefix, image['file_name']),
                height=image['height'],
                width=image['width'],
            )
            for image in images
        ]

    def _in_folder(self, folder: str) -> list[dict[str, Any]]:
        return [dict(img_path=str(path), **_size(path)) for path in image_files(folder)]

    def prepare_data(self, index: int) -> Any:
        """Return the packed image, marked; None where the pipeline leaves it out."""
        packed = super().prepare_data(index)
        if packed is None:
            return None
        sample = packed.get('data_samples') if isinstance(packed, dict) else None
        if not hasattr(sample, 'set_metainfo'):
            raise ValueError(
                'the pipeline of an UnlabelledDataset must end in PackDetInputs, which packs each '
                'image by itself: without labels no images are mixed'
            )
        for name in ('gt_instances', 'ignored_instances'):
            if 'bboxes' not in sample.get(name, ()):  # nothing has loaded annotations
                setattr(sample, name, _nothing(sample.img_shape))
        sample.set_metainfo({LABELLED: False})
        return packed


def _nothing(size: tuple[int, int]) -> InstanceData:
    """The objects, with masks, of an image of this height and width that shows none."""
    return InstanceData(
        bboxes=torch.zeros(0, 4),
        labels=torch.zeros(0, dtype=torch.long),
        masks=BitmapMasks([], *size),
    )


def labelled_alone(loader: Mapping[str, Any]) -> dict[str, Any] | None:
    """The section of a training data loader with its labelled data sets alone.

    Data sets without labels are those of :class:`UnlabelledDataset`, joined or wrapped by others
    at any depth. A data set of the user's own does not say in a config whether it has labels, and
    stays. Where one was left out, or the sampler is one that only this package has, MMDetection's
    usual one takes its place.

    Args:
        loader: The section; left as it is.

    Returns:
        None if there is no labelled data set.
    """
    loader = dict(loader)
    dataset = loader.get('dataset')
    left = _labelled(dataset)
    if left is None and dataset is not None:
        return None
    sampler = loader.get('sampler')
    if left is not dataset or _kind(sampler) == SourceSampler.__name__:
        shuffle = sampler.get('shuffle', True) if isinstance(sampler, Mapping) else True
        loader['sampler'] = dict(type='DefaultSampler', shuffle=shuffle)
    if left is not dataset:
        loader['dataset'] = left
    return loader


def _labelled(section: Any) -> Any:
    """A data set without its unlabelled parts: itself if it has none, None if no other is left."""
    if not isinstance(section, Mapping):
        return section
    if _is_unlabelled(section):
        return None
    inner, parts = section.get('dataset'), section.get('datasets')
    if isinstance(inner, Mapping):  # of a wrapper
        left = _labelled(inner)
        if left is None or left is inner:
            return None if left is None else section
        return dict(section, dataset=left)
    if not isinstance(parts, (list, tuple)):
        return section
    left = [_labelled(part) for part in parts]
    if all(one is part for one, part in zip(left, parts)):
        return section
    kept = [one for one in left if one is not None]
    if len(kept) < 2:
        return kept[0] if kept else None
    return dict(section, datasets=kept)


def _is_unlabelled(section: Mapping[str, Any]) -> bool:
    kind = section.get('type')
    cls = DATASETS.get(_kind(section) or '') if isinstance(kind, str) else kind
    return isinstance(cls, type) and issubclass(cls, UnlabelledDataset)


def _kind(section: Any) -> str | None:
    kind = section.get('type') if isinstance(section, Mapping) else None
    return kind.rpartition('.')[2] if isinstance(kind, str) else getattr(kind, '__name__', None)


def _size(path: Path) -> dict[str, int]:
    """Height and width of an image as it is shown, from its header."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            if image.getexif().get(_ORIENTATION) in _TURNED:
                width, height = height, width
    except OSError as error:
        raise ValueError(f'{path} is no image that can be read: {error}') from None
    return dict(height=height, width=width)
