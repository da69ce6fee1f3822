"""Dry run: channels, sizes and strides of every place of a detector, found without its weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from wkd_det import registry
from wkd_det.detection.dense import HEAD
from wkd_det.detection.geometry import PLACES, Levels, as_maps, roi_place, without_image
from wkd_det.detection.heads import image_context
from wkd_det.detection.transformers import MEMORY, is_query_detector, memory_levels
from wkd_det.distillation.empty import empty_copy, empty_network
from wkd_det.distillation.images import image_channels
from wkd_det.distillation.recording import INPUT, Recorded, recording

SIZE = 256
"""Side of the image in pixels; all usual strides divide it."""
_SIZES = (SIZE, 512, 1024)  # unpadded convolutions leave nothing of a small image (SSD)


@dataclass(frozen=True)
class DryRun:
    """The maps and shapes that a detector gives for one empty image."""

    network: nn.Module
    """The detector on the meta device."""
    kind: str
    """Name of its class."""
    image: tuple[int, ...]
    """Shape of the image, ``(1, C, H, W)``."""
    device: str
    """Where it ran: ``'meta'``, or another where an operator has no form there."""
    places: Mapping[str, Levels]
    """Those of ``PLACES`` that the detector has, and that ran; with a transformer its memory."""
    modules: Mapping[str, tuple[int, ...]]
    """Shapes of what modules return, and with ``:input`` of what they are given, by name."""
    refused: Mapping[str, str]
    """Reasons why modules that ran cannot be tapped, by name."""
    stopped: Mapping[str, str]
    """Reasons why parts did not run: of ``PLACES``, of dense heads and of the RoI head."""

    def levels(self, place: str) -> Levels:
        """Maps of the backbone or the neck.

        Args:
            place: ``'backbone'`` or ``'neck'``.

        Raises:
            ValueError: If there are none; with the reason and with what can be tapped.
        """
        if place in self.places:
            return self.places[place]
        if getattr(self.network, place, None) is None:
            raise ValueError(
                f'the {self.kind} has no {place}: use the tap backbone, or a module by its name, '
                f'e.g. {self._example()!r}'
            )
        raise ValueError(
            f'the maps of the {place} of {self.kind} cannot be found by an empty image '
            f'({self.stopped.get(place, "it did not run")}): tap a module by its name'
        )

    def shape(self, module: str) -> tuple[int, ...] | None:
        """Shape of what a module returns, or is given; None if an empty image does not reach it.

        Args:
            module: Its name, with or without ``:input`` at the end.

        Raises:
            ValueError: If it cannot be tapped.
        """
        if module in self.refused:
            raise ValueError(self.refused[module])
        return self.modules.get(module)

    def _example(self) -> str:
        maps = [name for name, shape in self.modules.items() if len(shape) == 4]
        inner = [name for name in maps if name.startswith('backbone.') and INPUT not in name]
        return min(reversed(inner), key=lambda name: name.count('.'), default='backbone.layer3')


def dry_run(model: nn.Module | Mapping[str, Any]) -> DryRun:
    """Run a detector on one empty image, on the meta device, where nothing is computed.

    Nothing of the model changes, weights are neither made nor read, and the random state stays as
    it was. Where an operator has no form on the meta device, the detector runs once on the CPU, or
    on a GPU, with an image of zeros.

    Args:
        model: A detector, or its model config.

    Returns:
        Channels, sizes and strides of the backbone and the neck, and the shapes of all modules
        that run once.
    """
    empty = empty_copy(model) if isinstance(model, nn.Module) else empty_network(model)
    empty.float()  # a teacher may compute in another type
    for device in _devices(model):
        network = empty if device == 'meta' else _with_weights(model).to(device)
        for size in _sides(empty):
            found = replace(_run(network, device, size), network=empty)
            missing = [one for one in PLACES if _has(empty, one) and one not in found.places]
            if not missing:
                return found
            if found.stopped.get(missing[0], '').startswith(NotImplementedError.__name__):
                break  # the operator is missing here, whatever the size
    return found


def _devices(model: nn.Module | Mapping[str, Any]) -> list[str]:
    """Devices to try, one after the other."""
    if isinstance(model, nn.Module) and any(one.is_meta for one in model.parameters()):
        return ['meta']  # it has no weights to run with
    return ['meta', 'cpu', *(['cuda'] if torch.cuda.is_available() else [])]


def _sides(network: nn.Module) -> list[int]:
    """Sides of the images to try, as its own preprocessor pads them."""
    divisor = getattr(getattr(network, 'data_preprocessor', None), 'pad_size_divisor', 1)
    return [-(-size // divisor) * divisor for size in _SIZES]


def detector_parts(network: nn.Module, image: Tensor) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Names of the parts of a detector and functions that run them, one after the other.

    Each function returns the outputs of the part. The first, ``'maps'``, stands for backbone and
    neck, and must have run before the others.

    Args:
        network: On the device of the image.
        image: Shape ``(N, C, H, W)``.
    """
    maps: list[Any] = []

    def features() -> list[Any]:
        maps.extend(as_maps(network.extract_feat(image)))
        return maps

    yield 'maps', features
    left_out = {'roi_head', HEAD if is_query_detector(network) else ''}  # they take no maps
    for name, part in network.named_children():
        if name.endswith('_head') and name not in left_out:
            yield name, partial(part, tuple(maps))
    if getattr(network, 'with_roi_head', False):
        yield 'image_context', partial(image_context, network.roi_head, tuple(maps))
        yield 'roi_head', partial(_run_box_heads, network.roi_head, image.device)


def detector_image(network: nn.Module, size: int = SIZE) -> Tensor:
    """An image, on the meta device, as a detector on the meta device takes it."""
    channels = image_channels(network, network.extract_feat, size)
    return torch.zeros(1, channels, size, size, device='meta')


def _run(network: nn.Module, device: str, size: int) -> DryRun:
    empty = network if device == 'meta' else empty_copy(network)
    image = torch.zeros(detector_image(empty, size).shape, device=device)
    names = [name for name, _ in network.named_modules() if name]
    names += [f'{name}{INPUT}' for name in names]
    recorded = Recorded(single=True)
    with torch.random.fork_rng(devices=[]), recording(network, names, into=recorded):
        stopped = _run_parts(network, image)
    reason = stopped.pop('maps', None)
    places = {}
    for place in PLACES:
        if place in recorded:
            try:
                maps = as_maps(recorded.latest(place))
                places[place] = _levels(without_image(network, place, maps), size)
            except ValueError as error:
                stopped[place] = str(error)
        elif reason is not None and _has(network, place):
            stopped[place] = reason
    if is_query_detector(network) and hasattr(network.encoder, 'embed_dims'):
        place = roi_place(network)
        if place in places:
            places[MEMORY] = memory_levels(network, places[place])
    modules, refused = {}, {}
    for name in names:
        if name in recorded:
            try:
                modules[name] = tuple(recorded[name].shape)
            except ValueError as error:
                refused[name] = str(error)
    kind, shape = type(network).__name__, tuple(image.shape)
    return DryRun(network, kind, shape, device, places, modules, refused, stopped)


@torch.no_grad()
def _run_parts(network: nn.Module, image: Tensor) -> dict[str, str]:
    """Run all parts, and return the reasons of those that fail."""
    stopped = {}
    for part, run in detector_parts(network, image):
        try:
            run()
        except Exception as error:  # whatever its code does without data, or on this device
            said = str(error).strip().partition('\n')[0]
            stopped[part] = f'{type(error).__name__}: {said}'
    return stopped


def _levels(maps: tuple[Any, ...], size: int) -> Levels:
    for one in maps:
        if not isinstance(one, Tensor) or one.dim() != 4:
            found = tuple(one.shape) if isinstance(one, Tensor) else type(one).__name__
            raise ValueError(f'it gives a {found}, no map (N, C, H, W)')
        if 0 in one.shape:  # on the meta device old versions of torch let them pass
            raise ValueError(f'it gives a map without pixels of an image of {size} x {size}')
    return Levels(
        tuple(one.shape[1] for one in maps),
        tuple(tuple(one.shape[-2:]) for one in maps),
        tuple(_stride(size, one.shape[-1]) for one in maps),
    )


def _stride(size: int, length: int) -> float:
    return size // length if size % length == 0 else round(size / length, 1)


def _run_box_heads(roi_head: nn.Module, device: torch.device) -> list[Any]:
    """Run the box head of each stage on one empty RoI, and return the outputs."""
    extractors, heads = roi_head.bbox_roi_extractor, roi_head.bbox_head
    if not isinstance(heads, nn.ModuleList):
        extractors, heads = [extractors], [heads]
    outputs = []
    for extractor, head in zip(extractors, heads):
        size = extractor.roi_layers[0].output_size
        features = torch.zeros(1, extractor.out_channels, *size, device=device)
        if roi_head.with_shared_head:
            features = roi_head.shared_head(features)
        outputs.append(head(features))
    return outputs


def _has(network: nn.Module, place: str) -> bool:
    return getattr(network, place, None) is not None


def _with_weights(model: nn.Module | Mapping[str, Any]) -> nn.Module:
    """A detector of its own with some weights, of which only the shapes count."""
    if isinstance(model, nn.Module):
        network = copy.deepcopy(model)
    else:
        with torch.random.fork_rng(devices=[]), torch.device('cpu'):
            network = registry.build(copy.deepcopy(model))
    network.eval()
    return network.float()
