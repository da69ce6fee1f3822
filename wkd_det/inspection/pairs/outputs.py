"""Shapes of everything that a network computes, by a dry run on the meta device."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from wkd_det.distillation.model import DistilledModel
from wkd_det.distillation.recording import module_of

Shape = tuple[int, ...]


@dataclass
class Outputs:
    """Shapes that the modules of one network return for one image."""

    size: int
    """Side of the image in pixels."""
    shapes: dict[str, list[Shape]] = field(default_factory=dict)
    """By the name of a module: its tensors in order, of its last run."""
    runs: dict[str, int] = field(default_factory=dict)
    """How often a module has run."""
    tensors: dict[str, None] = field(default_factory=dict)
    """Modules that return one tensor."""
    inputs: dict[str, Shape] = field(default_factory=dict)
    """Shape of the first tensor that a module is given."""

    def maps(self, module: str) -> list[Shape]:
        """Shapes ``(C, H, W)`` of the maps that a module returns; empty if it did not run."""
        return [shape[1:] for shape in self.shapes.get(module, ()) if len(shape) == 4]

    def tappable(self) -> list[str]:
        """Return modules that a tap can read by their name: they return one tensor, once."""
        return [name for name in self.tensors if name and self.runs[name] == 1]

    def shape_at(self, name: str) -> Shape | None:
        """Return the shape of a module's tensor, or with ``:input`` of what it is given."""
        module = module_of(name)
        if name != module:
            return self.inputs.get(module)
        shapes = self.shapes.get(module)
        return shapes[0] if shapes else None

    def stride(self, length: int) -> int | None:
        """Stride of a map of this height or width; None where it is no whole number."""
        return self.size // length if length and self.size % length == 0 else None


def outputs_of(model: DistilledModel, network: nn.Module, size: int) -> Outputs:
    """Run a network on one image, on the meta device, and note what its modules return.

    A part that has no form without values (an operator of its own, say) is left out, with all
    that comes behind it.

    Args:
        model: The distilled model, which knows how networks of its task are run.
        network: Student or teacher, as :meth:`DistilledModel.network_of` gives it.
        size: Side of the image in pixels.
    """
    copied = copy.deepcopy(network).to('meta').eval()
    outputs = Outputs(size)
    channels = model.probe_image(copied).shape[1]
    image = torch.zeros(1, channels, size, size, device='meta')
    handles = [
        module.register_forward_hook(partial(_note, outputs, name))
        for name, module in copied.named_modules()
    ]
    try:
        with torch.no_grad(), suppress(Exception):
            for part in model.probe_parts(copied, image):
                with suppress(Exception):
                    part()
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def _note(outputs: Outputs, name: str, module: nn.Module, args: Any, output: Any) -> None:
    outputs.shapes[name] = [tuple(one.shape) for one in _tensors(output)]
    outputs.runs[name] = outputs.runs.get(name, 0) + 1
    if isinstance(output, Tensor):
        outputs.tensors[name] = None
    for given in args:
        if isinstance(given, Tensor):
            outputs.inputs[name] = tuple(given.shape)
            break


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for one in output.values():
            yield from _tensors(one)
    elif isinstance(output, Sequence) and not isinstance(output, str):
        for one in output:
            yield from _tensors(one)
