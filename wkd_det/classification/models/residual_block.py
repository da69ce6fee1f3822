"""Residual blocks of the two ResNet families; only the key name of the shortcut differs."""

from __future__ import annotations

from torch import Tensor, nn


def _projection(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
    )


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut.

    Each activation is a module of its own that is called once, so that a hook on the last,
    ``relu2``, sees the block's pre-activation as its input.

    Args:
        in_channels: Channels of the input, shape ``(N, in_channels, H, W)``.
        width: Channels of the output, shape ``(N, width, H / stride, W / stride)``.
        stride: Stride of the first convolution and of the shortcut.
        shortcut_name: Name of the shortcut in the state_dict.

    References: He et al., Deep Residual Learning for Image Recognition, CVPR 2016.
    """

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, shortcut_name: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.shortcut_name = shortcut_name
        self.add_module(shortcut_name, _projection(in_channels, width, stride))

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu2(out + getattr(self, self.shortcut_name)(x))


class Bottleneck(nn.Module):
    """Convolutions 1 x 1, 3 x 3 and 1 x 1 beside a shortcut; the stride sits in the second.

    Args:
        in_channels: Channels of the input, shape ``(N, in_channels, H, W)``.
        width: Channels of the 3 x 3 convolution; the output has shape
            ``(N, 4 * width, H / stride, W / stride)``.
        stride: Stride of the 3 x 3 convolution and of the shortcut.
        shortcut_name: Name of the shortcut in the state_dict.

    References: He et al., Deep Residual Learning for Image Recognition, CVPR 2016.
    """

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, shortcut_name: str) -> None:
        super().__init__()
        out_channels = self.expansion * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu3 = nn.ReLU()
        self.shortcut_name = shortcut_name
        self.add_module(shortcut_name, _projection(in_channels, out_channels, stride))

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.relu2(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu3(out + getattr(self, self.shortcut_name)(x))


def residual_stage(
    block: type[BasicBlock | Bottleneck],
    in_channels: int,
    width: int,
    num_blocks: int,
    stride: int,
    shortcut_name: str,
) -> nn.Sequential:
    """``num_blocks`` blocks, the first with the stride and the change of width."""
    first = block(in_channels, width, stride, shortcut_name)
    rest = (block(block.expansion * width, width, 1, shortcut_name) for _ in range(num_blocks - 1))
    return nn.Sequential(first, *rest)
