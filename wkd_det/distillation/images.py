"""Images of student and teacher: their number of channels, and pixels normalised too early."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from wkd_det.distillation.recording import recording

_COLOURS = 3
_NEGATIVE_SHARE = 0.1  # augmentations darken some pixels below 0, normalisation about half of them


def image_channels(network: nn.Module, run: Callable[[Tensor], Any], size: int) -> int:
    """Number of channels of the images that a network takes.

    It is 3 wherever the first convolution runs on an image of 3 channels; otherwise that of this
    convolution, or of the image whose pixels are brought into its channels by blocks of 2 x 2 or
    4 x 4.

    Args:
        network: On the meta device, so that nothing is computed.
        run: Runs the network on an image; it may fail behind the first convolution.
        size: Side of the image in pixels.
    """
    first = first_convolution(network)
    if first is None or first[1].in_channels == _COLOURS:
        return _COLOURS
    name, convolution = first
    own = convolution.in_channels
    for channels in (_COLOURS, own, own // 4, own // 16):
        if channels == 0:
            continue
        image = torch.zeros(1, channels, size, size, device='meta')
        # Whatever goes wrong behind the convolution is another matter.
        with torch.no_grad(), recording(network, [name]) as recorded, suppress(Exception):
            run(image)
        if name in recorded:
            return channels
    return _COLOURS


def first_convolution(network: nn.Module) -> tuple[str, nn.Conv2d] | None:
    """Name and module of the first convolution in the order of definition; None without one."""
    modules = network.named_modules()
    return next(((name, one) for name, one in modules if isinstance(one, nn.Conv2d)), None)


def repeats_grey(own: int, other: int) -> bool:
    """Whether the teacher gets each grey image of the student three times.

    Args:
        own: Number of channels of the student's images.
        other: Number of channels of the teacher's.

    Raises:
        ValueError: If there is no way from the former to the latter.
    """
    if own != other and (own, other) != (1, _COLOURS):
        raise ValueError(
            f'the student takes images of {own} channels and the teacher of {other}: they must be '
            'equal, or 1 and 3, where the teacher gets each grey image three times'
        )
    return own != other


def grey_as_colours(images: Tensor) -> Tensor:
    """Grey images ``(N, 1, H, W)`` three times each, ``(N, 3, H, W)``; others as they are."""
    return images.repeat(1, _COLOURS, 1, 1) if images.shape[1] == 1 else images


def check_pixels(pixels: Tensor, teacher_std: Tensor) -> None:
    """Refuse a batch that was normalised before the student's preprocessor.

    Args:
        pixels: The batch after undoing what the preprocessor has done.
        teacher_std: Standard deviations of the teacher's preprocessor; above 1, it takes bytes.

    Raises:
        ValueError: If a tenth of the values is negative, or all of them lie in [0, 1], are no
            integers, and the teacher takes bytes.
    """
    if not pixels.numel():
        return
    negative = (pixels < -0.5).float().mean()
    scaled = (pixels.max() <= 1 + 1e-3) & ((pixels - pixels.round()).abs().max() > 1e-2)
    if negative > _NEGATIVE_SHARE:
        found = f'{negative:.0%} of the values are negative'
    elif scaled and teacher_std.max() > 1:
        found = 'all values lie in [0, 1]'
    else:
        return
    raise ValueError(
        f'the batch does not hold pixels, {found} before the preprocessor of the student: is '
        'there a Normalize in the pipeline? Move mean and std from the pipeline to the '
        "student's data_preprocessor, so that the teacher's batch can be made from it"
    )
