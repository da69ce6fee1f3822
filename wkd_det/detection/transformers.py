"""Transformers of detectors, between their maps and their heads: run alone, and read as maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mmdet.models.detectors import DeformableDETR
from mmdet.models.detectors.base_detr import DetectionTransformer
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from wkd_det.detection.geometry import Levels

ENCODER = 'encoder'
"""Name of the transformer's encoder in a detector."""
MEMORY = 'memory'
"""Place of its outputs, level by level."""


def is_query_detector(model: nn.Module) -> bool:
    """Whether a detector has a transformer between its maps and its head, as a DETR has."""
    return isinstance(model, DetectionTransformer)


def run_transformer(
    model: nn.Module,
    maps: tuple[Tensor, ...],
    inputs: Tensor,
    image_sizes: Sequence[tuple[int, int]],
    *,
    encoder_only: bool,
) -> None:
    """Run the transformer of a detector in evaluation mode, and its head.

    Args:
        model: The detector; outputs of its parts may be recorded.
        maps: Those that it reads.
        inputs: The batch that they are of, shape ``(N, C, H, W)``.
        image_sizes: Height and width of each image without padding.
        encoder_only: Leave the decoder and the head out.
    """
    whole = tuple(inputs.shape[-2:])
    samples = [
        DetDataSample(metainfo=dict(img_shape=tuple(size), batch_input_shape=whole))
        for size in image_sizes
    ]
    if encoder_only:
        model.forward_encoder(**model.pre_transformer(maps, samples)[0])
    else:
        model.bbox_head(**model.forward_transformer(maps, samples))


def memory_levels(model: nn.Module, given: Levels) -> Levels:
    """Maps of the memory: sizes are those of the maps that the encoder reads.

    Args:
        model: A detector with a transformer.
        given: Maps that its transformer is given.
    """
    first = 0 if _reads_all(model) else len(given.channels) - 1
    width = model.encoder.embed_dims
    return replace(
        given,
        channels=(width,) * (len(given.channels) - first),
        sizes=given.sizes[first:],
        strides=given.strides[first:],
    )


def memory_maps(model: nn.Module, memory: Tensor, given: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The memory as maps ``(N, D, H, W)``.

    Args:
        model: The detector.
        memory: Output of its encoder, ``(N, P, D)``.
        given: Maps that the detector's transformer was given.
    """
    sizes = [one.shape[-2:] for one in (given if _reads_all(model) else given[-1:])]
    tokens = memory.split([height * width for height, width in sizes], dim=1)
    return tuple(one.transpose(1, 2).unflatten(2, size) for one, size in zip(tokens, sizes))


def _reads_all(model: nn.Module) -> bool:
    """Whether the encoder reads all maps, and not the last one alone."""
    return isinstance(model, DeformableDETR)
