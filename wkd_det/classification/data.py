"""Data of classifiers on their way: from an image on disk to the normalised batch of a network."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import torchvision.transforms as transforms
from mmengine.logging import print_log
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import Registry
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from wkd_det.classification.mixing import BatchMixing
from wkd_det.classification.targets import (
    UNLABELLED,
    Sample,
    Targets,
    check_hard_labels,
    check_soft_labels,
)
from wkd_det.ops.checks import check_booleans, check_choice, is_number
from wkd_det.runtime.config import build_strict, check_keys

_BAD_IMAGE = ('raise', 'skip')
_AS_BYTES = transforms.PILToTensor()
_PARTS = ('images', 'labels', 'indices', 'strong', 'stored')  # of a batch, as a sample's fields
_NOT_MIXED = dict(
    indices='makes images that are no samples of the data set: set with_index=False',
    strong='mixes one view: take the strong_transforms out of the data set',
    stored='makes images that no teacher has seen: take stored_teacher out of the data set',
)

TORCHVISION_TRANSFORMS = Registry('torchvision transform', locations=[__name__])
for _name, _value in vars(transforms).items():
    if isinstance(_value, type) and not issubclass(_value, Enum):
        TORCHVISION_TRANSFORMS.register_module(_name, module=_value)


class ImageDataset(Dataset):
    """Base of the data sets: transforms, class names, and images that do not decode.

    A subclass defines :meth:`read` and :meth:`labels`.

    Args:
        classes: Names of the classes in order; checkpoints carry them.
        transforms: Transforms of torchvision; see :func:`build_transform`.
        strong_transforms: Transforms of the second view of each image, on top of ``transforms``:
            both views share the draw of these. None: one view.
        with_index: Give the index of each image too, for losses that keep something of every
            sample. Not for joined data sets, in which indices occur twice.
        on_bad_image: ``'raise'`` stops at an image that does not decode, with its name;
            ``'skip'`` leaves it out of its batch, with a warning.

    Raises:
        ValueError: If ``on_bad_image`` is neither, or ``with_index`` no boolean.
    """

    def __init__(
        self,
        classes: Sequence[str],
        *,
        transforms: Sequence[Mapping[str, Any]] = (),
        strong_transforms: Sequence[Mapping[str, Any]] | None = None,
        with_index: bool = False,
        on_bad_image: str = 'raise',
    ) -> None:
        check_booleans(with_index=with_index)
        check_choice(_BAD_IMAGE, on_bad_image=on_bad_image)
        self.metainfo = dict(classes=tuple(classes))
        self.on_bad_image = on_bad_image
        self.with_index = with_index
        self._transform = _chain(transforms, 'transforms')
        self._strong_transform = (
            None if strong_transforms is None else _chain(strong_transforms, 'strong_transforms')
        )

    def full_init(self) -> None:
        """Do nothing: the data set is there; mmengine's ``ConcatDataset`` calls it."""

    def read(self, index: int) -> tuple[Image.Image, int]:
        """Return image and label.

        Raises:
            OSError, SyntaxError: If the image does not decode.
        """
        raise NotImplementedError

    def name(self, index: int) -> str:
        """Return the name of an image for messages, e.g. its path."""
        return f'image {index}'

    def labels(self) -> Sequence[int]:
        """Return the label of each image in the order of the indices, without reading the images.

        -1 stands for an image without a label.
        """
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.labels())

    def __getitem__(self, index: int) -> tuple[Tensor, int] | Sample | None:
        """Return an image as bytes ``(3, H, W)`` and its label; None if it is to be skipped.

        A :class:`~wkd_det.classification.targets.Sample` where the index or a second view is
        asked for.

        Raises:
            ValueError: If the image does not decode.
        """
        try:
            image, label = self.read(index)
        except (OSError, SyntaxError) as error:
            message = f'{self.name(index)} does not decode: {error}'
            if self.on_bad_image == 'raise':
                raise ValueError(f"{message}; on_bad_image='skip' leaves such images out") from None
            print_log(f'skipped, {message}', logger='current', level=logging.WARNING)
            return None
        image = self._transform(image)
        if not self.with_index and self._strong_transform is None:
            return _AS_BYTES(image), label
        strong = self._strong_transform
        return Sample(
            image=_AS_BYTES(image),
            label=label,
            index=index if self.with_index else None,
            strong=None if strong is None else _AS_BYTES(strong(image)),
        )


def build_transform(configs: Sequence[Mapping[str, Any]]) -> Callable[[Image.Image], Tensor]:
    """Return a chain of torchvision's transforms that ends in bytes, shape ``(3, H, W)``.

    Args:
        configs: Each has a ``type``, a class of ``torchvision.transforms``, and its arguments.
            An ``interpolation`` is given by name, e.g. ``'bicubic'``.

    Raises:
        TypeError: If a section is no dict or lacks an argument.
        KeyError: If a type or an argument is unknown; lists the valid ones.
        ValueError: If an interpolation is unknown.
    """
    return transforms.Compose([_chain(configs, 'transforms'), _AS_BYTES])


def _chain(configs: Sequence[Mapping[str, Any]], name: str) -> Callable[[Image.Image], Image.Image]:
    """Return a chain of transforms without the conversion to bytes."""
    steps = []
    for index, config in enumerate(configs):
        if isinstance(config, Mapping) and isinstance(config.get('interpolation'), str):
            mode = transforms.InterpolationMode(config['interpolation'])
            config = dict(config, interpolation=mode)
        section = f'{name}[{index}]'
        names = TORCHVISION_TRANSFORMS.module_dict
        steps.append(build_strict(section, config, names, TORCHVISION_TRANSFORMS.get))
    return transforms.Compose(steps)


def collate_images(
    samples: list[tuple[Tensor, int] | Sample | None],
    *,
    _scope_: str | None = None,
) -> list[Tensor] | dict[str, Tensor]:
    """Return images ``(N, C, H, W)`` and labels ``(N,)``; skipped images are left out.

    Where samples have more than that, a dict of ``images``, ``labels``, and ``indices``
    ``(N,)``, ``strong`` ``(N, C, H, W)`` or ``stored``, a dict of outputs ``(N, ...)``.

    Args:
        samples: As the data set gives them.
        _scope_: Not used; mmengine leaves it among the options of a config whose base is one of a
            package, such as ``wkd_det::classification/digits/baseline/resnet8.py``.

    Raises:
        ValueError: If no image is left.
    """
    left = [sample for sample in samples if sample is not None]
    if not left:
        raise ValueError(f'none of the {len(samples)} images of a batch decodes')
    if not isinstance(left[0], Sample):
        return default_collate(left)
    columns = zip(_PARTS, zip(*left))
    return {name: default_collate(values) for name, values in columns if values[0] is not None}


class ImagePreprocessor(BaseDataPreprocessor):
    """Moves a batch to the device, normalises it there and, if asked to, mixes its images.

    Images travel as bytes, a quarter of what floats take. Any number of channels and any type of
    pixels will do: grey or multispectral images, 16 bits.

    Args:
        mean: Mean per channel, in units of the pixels, 0 to 255 for bytes; in the order RGB of the
            images. One value serves all channels.
        std: Standard deviation per channel, in the same units.
        num_classes: Labels must be less than this; None for no check.
        allow_unlabelled: Let images have the label -1, which leaves them out of the cross entropy
            and of the accuracy. Without it such a label is an error.
        mixup: Options of :class:`~wkd_det.classification.mixing.BatchMixing`: in training, images
            are mixed in pairs and labels become probabilities ``(N, C)``. Needs timm.

    Attributes:
        train_size: Side in pixels to which images are resized in training; None leaves them.
            :class:`~wkd_det.hooks.image_size.ImageSizeHook` sets it.

    Raises:
        ImportError, KeyError, TypeError: Of ``mixup``.
        ValueError: If ``mean`` or ``std`` is no list of numbers, they differ in length, a ``std``
            is not positive, ``allow_unlabelled`` is no boolean, ``mixup`` stands with it, or an
            option of ``mixup`` is outside its range.
    """

    def __init__(
        self,
        *,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (255.0, 255.0, 255.0),
        num_classes: int | None = None,
        allow_unlabelled: bool = False,
        mixup: Mapping[str, Any] | None = None,
    ) -> None:
        check_booleans(allow_unlabelled=allow_unlabelled)
        super().__init__(non_blocking=True)
        mean, std = _per_channel('mean', mean), _per_channel('std', std)
        if len(mean) != len(std) or not min(std) > 0:
            raise ValueError(
                f'mean and std need one value per channel, std positive, got mean={mean}, std={std}'
            )
        if allow_unlabelled and mixup is not None:
            raise ValueError('mixup mixes labels: it does not go with allow_unlabelled=True')
        self.num_classes = num_classes
        self.allow_unlabelled = allow_unlabelled
        self.mixing = None if mixup is None else BatchMixing(mixup)
        self.train_size: int | None = None
        self.scale = mean, std
        # Not saved: a checkpoint has the keys of the network.
        self.register_buffer('mean', torch.tensor(self.scale[0]).view(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(self.scale[1]).view(-1, 1, 1), persistent=False)

    def forward(self, data: Any, training: bool = False) -> list[Any]:
        """Return images ``(N, C, H, W)``, normalised, and their targets.

        The targets are labels, integers ``(N,)`` or probabilities ``(N, C)``; where the batch has
        more than labels, or may lack some, they are
        :class:`~wkd_det.classification.targets.Targets`.

        Args:
            data: Images and labels, or a dict of ``images``, ``labels`` and optionally
                ``indices``, ``strong`` and ``stored``, as :func:`collate_images` makes it.
            training: Whether to mix images, and to allow probabilities as labels.

        Raises:
            KeyError: If the batch is a dict with other parts, or lacks one of the first two.
            TypeError: If a part of the batch is no tensor.
            ValueError: If the labels are neither integers of the shape ``(N,)`` nor, in training,
                distributions over the classes, one lies outside ``[0, num_classes)``, or the
                images have another number of channels than ``mean``.
        """
        parts = _parts_of(data)
        self._check_images('images', parts['images'])
        if 'strong' in parts:
            self._check_images('strong', parts['strong'])
        # before the move: on a GPU it would wait for the device
        self._check_labels(parts['labels'], training)
        parts = self.cast_data(parts)
        images, labels = self._normalised(parts['images']), parts['labels']
        whole = images
        if training:
            images = self._resized(images)
        is_resized = images is not whole
        if training and self.mixing is not None:
            images, labels = self._mixed(images, parts)
        more = {}
        if 'indices' in parts:
            more['indices'] = parts['indices']
        if 'strong' in parts:
            strong = self._normalised(parts['strong'])
            more['strong'] = self._resized(strong) if training else strong
        if 'stored' in parts:
            more['stored'] = {name: value.float() for name, value in parts['stored'].items()}
            if is_resized:
                more['whole'] = whole
        if self.allow_unlabelled and labels.dim() == 1:
            more['labelled'] = labels != UNLABELLED
        return [images, Targets(labels, **more) if more else labels]

    def _normalised(self, images: Tensor) -> Tensor:
        return (images.float() - self.mean) / self.std

    def _resized(self, images: Tensor) -> Tensor:
        side = self.train_size
        if side is None or images.shape[-2:] == (side, side):
            return images
        return F.interpolate(images, size=(side, side), mode='bilinear', antialias=True)

    def _mixed(self, images: Tensor, parts: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        labels = parts['labels']
        if labels.dim() != 1:
            raise ValueError('mixup mixes classes, but the labels of the batch are soft already')
        if self.num_classes is None:
            raise ValueError('mixup needs the number of classes: set num_classes of the network')
        for name, reason in _NOT_MIXED.items():
            if name in parts:
                raise ValueError(f'mixup {reason}')
        return self.mixing(images, labels, self.num_classes)

    def _check_images(self, name: str, images: Tensor) -> None:
        _check_tensor(name, images)
        channels = len(self.mean)
        if images.dim() != 4 or channels not in (1, images.shape[1]):
            raise ValueError(
                f'{name} must have the shape (N, {"C" if channels == 1 else channels}, H, W), got '
                f'{tuple(images.shape)}: mean and std of the data_preprocessor need one value per '
                'channel'
            )

    def _check_labels(self, labels: Tensor, training: bool) -> None:
        _check_tensor('labels', labels)
        if labels.is_floating_point() and labels.dim() == 2:
            if not training:
                raise ValueError('soft labels are for training: accuracy needs one class per image')
            check_soft_labels(labels, self.num_classes)
            return
        if labels.dim() != 1 or labels.is_floating_point() or labels.is_complex():
            raise ValueError(
                f'labels must be integers of the shape (N,), or probabilities of the shape (N, C), '
                f'got {labels.dtype} of the shape {tuple(labels.shape)}'
            )
        if self.num_classes is not None:
            check_hard_labels(labels, self.num_classes, allow_unlabelled=self.allow_unlabelled)


def _per_channel(name: str, values: Sequence[float]) -> tuple[float, ...]:
    """Return one number per channel as floats."""
    given = values.tolist() if isinstance(values, (np.ndarray, Tensor)) else values
    fits = isinstance(given, Sequence) and len(given) > 0 and not isinstance(given, str)
    if not fits or not all(is_number(one) and math.isfinite(one) for one in given):
        raise ValueError(f'{name} must be a list of numbers, one per channel, got {values!r}')
    return tuple(map(float, given))


def _parts_of(batch: Any) -> dict[str, Any]:
    """Return the parts of a batch by name."""
    if isinstance(batch, Mapping):
        check_keys('the batch', batch, _PARTS)
        if missing := [name for name in _PARTS[:2] if name not in batch]:
            raise KeyError(f'the batch lacks {" and ".join(missing)}')
        return {name: value for name, value in batch.items() if value is not None}
    images, labels = batch
    return dict(images=images, labels=labels)


def _check_tensor(name: str, value: Any) -> None:
    """Raise if a part of the batch is no tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f'{name} must be a tensor, got a {type(value).__name__}: set collate_fn='
            "dict(type='collate_images') in the dataloader, since mmengine's default makes lists"
        )
