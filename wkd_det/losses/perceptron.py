"""Three linear layers."""

from __future__ import annotations

from torch import nn


def perceptron(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Three linear layers with ReLU between them."""
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, outputs),
    )
