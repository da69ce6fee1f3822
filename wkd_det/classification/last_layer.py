"""The layer of a network that gives the logits."""

from __future__ import annotations

from torch import Tensor, nn


def last_layer(network: nn.Module, num_classes: int | None) -> tuple[str, nn.Module]:
    """Name and module of the layer with one output a class; the last one, if there are more;
    linear before convolutional.

    Raises:
        ValueError: If there is none.
    """
    for kind, width in ((nn.Linear, 'out_features'), (nn.Conv2d, 'out_channels')):
        layers = [
            (name, module)
            for name, module in network.named_modules()
            if isinstance(module, kind) and getattr(module, width) == num_classes
        ]
        if layers:
            return layers[-1]
    raise ValueError(
        f'{type(network).__name__} has no layer with {num_classes} outputs, one a class'
    )


def class_rows(network: nn.Module, num_classes: int | None) -> Tensor:
    """Weight vectors of the classes, shape ``(C, D)``."""
    return last_layer(network, num_classes)[1].weight.flatten(1)
