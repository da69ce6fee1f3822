"""Layers that several classification networks share: stages, convolutions, pooling, classifier."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


def convolution(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    *,
    groups: int = 1,
    bias: bool = False,
    activate: bool = True,
) -> list[nn.Module]:
    """Return a convolution, its batch normalisation and, unless refused, a ReLU.

    Args:
        in_channels: Channels of the input, shape ``(N, in_channels, H, W)``.
        out_channels: Channels of the output, ``(N, out_channels, H / stride, W / stride)``.
        kernel_size: Odd; padding keeps the size at stride 1.
        stride: Stride of the convolution.
        groups: Groups of channels; ``in_channels`` makes it depthwise.
        bias: Whether the convolution has a bias although a normalisation follows.
        activate: Whether a ReLU follows, which does not work in place.
    """
    padding = kernel_size // 2
    layers: list[nn.Module] = [
        nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=bias
        ),
        nn.BatchNorm2d(out_channels),
    ]
    return [*layers, nn.ReLU()] if activate else layers


def stage(first: nn.Module, more: Callable[[], nn.Module], num_blocks: int) -> nn.Sequential:
    """Return a chain of blocks between which width and size of the map stay the same.

    Args:
        first: Block that changes width and size.
        more: Makes one of the other blocks.
        num_blocks: Number of blocks, the first one included.
    """
    return nn.Sequential(first, *(more() for _ in range(num_blocks - 1)))


def channel_shuffle(features: Tensor, groups: int) -> Tensor:
    """Interleave the channels of ``groups`` equal groups.

    Convention:
        - Output channel ``i * groups + g`` is channel ``i`` of input group ``g``.

    Args:
        features: Shape ``(N, C, H, W)``; ``groups`` divides ``C``.
        groups: Number of groups.

    Returns:
        Shape ``(N, C, H, W)``.

    Raises:
        ValueError: If ``groups`` does not divide the number of channels.

    References: Zhang et al., ShuffleNet, CVPR 2018.
    """
    if groups < 1 or features.size(1) % groups:
        raise ValueError(
            f'groups must divide the number of channels, got {groups} and {features.size(1)}'
        )
    return features.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


def global_pool() -> nn.Sequential:
    """Return the mean over all positions, from ``(N, C, H, W)`` to ``(N, C)``."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def linear_classifier(
    in_features: int, num_classes: int, *, weight_std: float | None = None
) -> nn.Linear:
    """Return a linear layer from features ``(N, in_features)`` to logits ``(N, num_classes)``.

    Args:
        in_features: Width of the pooled features.
        num_classes: Number of classes.
        weight_std: Draw the weight from N(0, ``weight_std``^2) and set the bias to zero; None
            keeps PyTorch's own initialisation.

    Raises:
        ValueError: If ``num_classes < 1``.
    """
    if num_classes < 1:
        raise ValueError(f'num_classes must be at least 1, got {num_classes}')
    classifier = nn.Linear(in_features, num_classes)
    if weight_std is not None:
        nn.init.normal_(classifier.weight, std=weight_std)
        nn.init.zeros_(classifier.bias)
    return classifier


def init_convolutions(network: nn.Module) -> None:
    """Set every convolution to He's normal rule (fan out) and every batch norm to identity.

    Biases of convolutions become zero; linear layers are left as they are.

    References: He et al., Delving Deep into Rectifiers, ICCV 2015.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
