"""Teachers of maps that are no detectors: networks of timm on the student's images.

DINOv2 and DINOv3, ConvNeXt, Swin and most others of timm. Their maps stand where those of a
detector's backbone and neck do; they have no heads and no classes.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.logging import print_log
from mmengine.model import ImgDataPreprocessor
from torch import Tensor, nn

from wkd_det.distillation.empty import empty_copy
from wkd_det.ops.checks import check_booleans, is_integer, is_number
from wkd_det.runtime.timm_networks import timm_network

_ANY_SIZE = (('dynamic_img_size', True), ('strict_img_size', False))
"""Options by which networks take images of any size: Vision Transformers, and Swins of old timm."""
_FIXED = ('checkpoint_path', 'features_only', 'in_chans', 'num_classes', 'pretrained')
"""Options of ``timm.create_model`` that follow from what the network is for."""
_DIVISOR = 32  # as detectors pad, where the network's tiles divide it
_PREFIX = 'backbone.network.'
_PATCHES = 'patch_embed.proj.weight'
_POSITIONS = 'pos_embed'


@MODELS.register_module()
class TimmMaps(nn.Module):
    """A network of timm as a teacher of maps, with its own normalisation and patches.

    For the section ``teacher`` of a detector, and the taps ``neck`` and ``backbone``, which read
    the same maps. Its weights are ``'timm://NAME'``, fetched by timm, or a file of them.

    Convention:
        - Maps are ``(N, C, H, W)``; tokens of classes and registers are left out.
        - Pixels of a map tile the image exactly: it is padded by its mean colour behind its right
          and lower edge, and resized where ``stride`` asks for it.

    Args:
        name: As ``timm.list_models`` lists it, perhaps with the tag of its weights.
        levels: Ascending indices of timm's ``feature_info``: stages, or blocks of a Vision
            Transformer. All of them by default, or the last where all have one resolution.
        stride: Stride of the first of these maps in pixels of the student's images. The
            network's own by default; with another one images are resized for the network: patches
            of 14 with a stride of 16 make 448 pixels of 512, and a map that lies on a student's
            map of stride 16.
        norm: Normalise maps by the network's last layer, where timm does so.
        mean: Mean of the pixels, red, green, blue, in [0, 255]; that of timm's by default.
        std: Their standard deviation.
        **options: Other options of the network, e.g. ``img_size``.

    Raises:
        ImportError: If timm is not installed.
        TypeError, ValueError: If timm has no such network, it gives no maps, or an option is none
            of the valid ones.
    """

    num_classes = 0
    """It has none, and none are compared."""
    with_neck = True

    def __init__(
        self,
        name: str,
        *,
        levels: Sequence[int] | None = None,
        stride: int | None = None,
        norm: bool = True,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.backbone = TimmBackbone(name, levels=levels, stride=stride, norm=norm, **options)
        self.neck = nn.Identity()  # the tap of this name reads the same maps
        known: Mapping[str, Any] = self.backbone.network.pretrained_cfg
        tile = self.backbone.tile
        self.data_preprocessor = ImgDataPreprocessor(
            mean=_of_pixels('mean', mean, known, name),
            std=_of_pixels('std', std, known, name),
            bgr_to_rgb=True,
            pad_size_divisor=tile if _DIVISOR % tile else _DIVISOR,
        )

    def extract_feat(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of images ``(N, 3, H, W)``, normalised as by its preprocessor."""
        return self.neck(self.backbone(images))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the maps, as :meth:`extract_feat`."""
        return self.extract_feat(images)

    def own_keys(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights of this model, from its own or from those of the network alone.

        Of the latter the classifier's are left out. Files in another form, e.g. those that DINOv2
        was published in, are brought into timm's by timm, as its own loader does.
        """
        if any(key.startswith(_PREFIX) for key in weights):
            return dict(weights)
        network = self.backbone.network
        own = network.state_dict()
        classifier = network.pretrained_cfg.get('classifier') or ()
        heads = (classifier,) if isinstance(classifier, str) else classifier
        left_out = tuple(f'{head}.' for head in heads)
        return {
            f'{_PREFIX}{key}': value
            for key, value in _as_timm_loads(weights, network, own).items()
            if key in own or not key.startswith(left_out)
        }


class TimmBackbone(nn.Module):
    """Maps ``(N, C, H, W)`` of a network of timm, of images of any size.

    Args:
        name: As of :class:`TimmMaps`, like the other options.

    Attributes:
        network: The network, without a classifier.
        levels: Indices of its ``feature_info``.
        tile: Side, in pixels of the images, of what the network needs a multiple of.

    Raises:
        TypeError, ValueError: If it gives no maps of images of any size, or an option is wrong.
    """

    def __init__(
        self,
        name: str,
        *,
        levels: Sequence[int] | None = None,
        stride: int | None = None,
        norm: bool = True,
        **options: Any,
    ) -> None:
        super().__init__()
        for option in _FIXED:
            if option in options:
                raise ValueError(
                    f'TimmMaps sets {option} itself, got {options[option]!r}: weights are the '
                    'checkpoint of the teacher, images have 3 channels, and there are no classes'
                )
        check_booleans(norm=norm)
        if stride is not None and not is_integer(stride, 1):
            raise ValueError(f'stride must be a whole number of pixels, got {stride!r}')
        self.network = _for_any_size(name, options)
        for lacking in ('forward_intermediates', 'feature_info'):
            if getattr(self.network, lacking, None) is None:
                raise ValueError(
                    f'{name} of timm cannot teach maps: {type(self.network).__name__} has no '
                    f'{lacking}'
                )
        own = [one['reduction'] for one in self.network.feature_info]
        self.levels = _checked(levels, name, own)
        self.norm = norm
        first = own[self.levels[0]]
        self._unit = math.lcm(*own)
        self._resizes = stride is not None and stride != first
        self.tile = self._unit // first * (stride or first)
        self._check(name, [own[level] for level in self.levels])

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of images ``(N, 3, H, W)``, one for each level."""
        tiles = [-(-length // self.tile) for length in images.shape[-2:]]
        rows, columns = (
            count * self.tile - length for count, length in zip(tiles, images.shape[-2:])
        )
        if rows or columns:
            images = F.pad(images, (0, columns, 0, rows))
        if self._resizes:
            images = _resized(images, [count * self._unit for count in tiles])
        maps = self.network.forward_intermediates(
            images,
            indices=self.levels,
            norm=self.norm,
            stop_early=True,
            output_fmt='NCHW',
            intermediates_only=True,
        )
        return tuple(maps)

    @torch.no_grad()
    def _check(self, name: str, own: Sequence[int]) -> None:
        """Run the network on an image of another size than its own, where nothing is computed."""
        tiles = (4, 6)
        image = torch.zeros(1, 3, *(count * self.tile for count in tiles), device='meta')
        try:
            maps = empty_copy(self)(image)
        except NotImplementedError:  # no form on the meta device: the dry run goes elsewhere
            return
        except Exception as error:  # whatever a network does that wants images of one size
            said = str(error).strip().partition('\n')[0]
            height, width = image.shape[-2:]
            raise ValueError(
                f'{name} of timm cannot teach maps: of an image of {height} x {width} pixels it '
                f'gives none ({type(error).__name__}: {said})'
            ) from None
        found = [tuple(one.shape[-2:]) for one in maps]
        wanted = [tuple(count * self._unit // stride for count in tiles) for stride in own]
        if found != wanted:
            raise ValueError(
                f'{name} of timm cannot teach maps: at the strides {list(own)} they have the sizes '
                f'{wanted}, and it gives {found}'
            )


def _of_pixels(
    key: str, given: Sequence[float] | None, known: Mapping[str, Any], name: str
) -> list[float]:
    """Mean or standard deviation of the pixels in [0, 255]: the user's, or timm's."""
    if given is None:
        if not known.get(key):
            raise ValueError(f'timm knows no {key} of the pixels of {name}: set {key}=[...]')
        return [255 * one for one in known[key]]
    if isinstance(given, str) or not isinstance(given, Sequence) or not all(map(is_number, given)):
        raise TypeError(f'{key} must be three numbers in [0, 255], got {given!r}')
    if len(given) != 3 or min(given) < 0 or max(given) > 255 or (key == 'std' and min(given) == 0):
        raise ValueError(f'{key} must be three numbers in [0, 255], got {given!r}')
    return list(given)


def _for_any_size(name: str, options: Mapping[str, Any]) -> nn.Module:
    """The network without a classifier, built to take images of any size if it can be told to."""
    for option, value in _ANY_SIZE:
        try:
            return timm_network('TimmMaps', name, num_classes=0, **{option: value, **options})
        except TypeError as error:
            if option not in str(error):
                raise
    return timm_network('TimmMaps', name, num_classes=0, **options)


def _checked(levels: Sequence[int] | None, name: str, reductions: Sequence[int]) -> list[int]:
    """Levels of a network, those that a user names or all that differ in resolution."""
    count = len(reductions)
    if levels is None:
        return list(range(count)) if len(set(reductions)) > 1 else [count - 1]
    if (
        isinstance(levels, str)
        or not isinstance(levels, Sequence)
        or not levels
        or not all(is_integer(level, 0) and level < count for level in levels)
        or list(levels) != sorted(set(levels))
    ):
        raise ValueError(
            f'levels must be a list of ascending indices in [0, {count}), the levels of {name}, '
            f'got {levels!r}'
        )
    return list(levels)


def _resized(images: Tensor, size: Sequence[int]) -> Tensor:
    """Images of another size, in the type that they have; half is too coarse for some kernels."""
    wide = images.to(torch.promote_types(images.dtype, torch.float32))
    wide = F.interpolate(wide, list(size), mode='bilinear', align_corners=False, antialias=True)
    return wide.to(images.dtype)


def _as_timm_loads(
    weights: Mapping[str, Tensor], network: nn.Module, own: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """Weights as timm's own loader makes them of a file for this kind of network.

    Position embeddings of another grid are resampled. Patches of another size are left to
    strict loading, which names them: timm would resample them too.
    """
    convert = getattr(sys.modules[type(network).__module__], 'checkpoint_filter_fn', None)
    patches = weights.get(_PATCHES)
    other = patches is not None and _PATCHES in own and patches.shape != own[_PATCHES].shape
    if convert is None or other:
        return weights
    try:
        converted = convert(dict(weights), network)
    except Exception:  # of another network: strict loading names the keys
        return weights
    before, after = (one.get(_POSITIONS) for one in (weights, converted))
    if before is not None and after is not None and before.shape != after.shape:
        print_log(
            f'position embeddings {tuple(before.shape)} are resampled to {tuple(after.shape)} by '
            'timm',
            logger='current',
        )
    return converted
