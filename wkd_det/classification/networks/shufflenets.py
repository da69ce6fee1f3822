"""ShuffleNets for CIFAR: V1 with three groups and V2 at full width."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from wkd_det.classification.networks.layers import (
    channel_shuffle,
    global_pool,
    init_convolutions,
    linear_classifier,
    stage,
)

_STEM = 24  # channels of the first convolution in both networks
_GROUPS = 3


class ShuffleNetV1(nn.Module):
    """ShuffleNet with three groups; the stem is a 1 x 1 convolution without pooling.

    Unlike the paper's, its depthwise convolutions are followed by a ReLU.

    Feature maps by module name, for a 32 x 32 input: ``relu`` (``(N, 24, 32, 32)``), ``layer1``
    (``(N, 240, 16, 16)``), ``layer2`` (``(N, 480, 8, 8)``), ``layer3`` (``(N, 960, 4, 4)``), all
    after the ReLU. The map before the ReLU is the *input* of the stage's last ReLU,
    ``layer1.3.relu3``, ``layer2.7.relu3``, ``layer3.3.relu3``. ``pool`` gives the pooled features
    ``(N, 960)``, ``linear`` the logits.

    Args:
        num_classes: Number of classes.

    Raises:
        ValueError: If ``num_classes < 1``.

    References: Zhang et al., ShuffleNet: An Extremely Efficient Convolutional Neural Network for
        Mobile Devices, CVPR 2018.
    """

    feature_modules: ClassVar[tuple[str, ...]] = ('relu', 'layer1', 'layer2', 'layer3')

    def __init__(self, num_classes: int = 100) -> None:
        super().__init__()
        self.conv1 = _pointwise(3, _STEM)
        self.bn1 = nn.BatchNorm2d(_STEM)
        self.relu = nn.ReLU()
        self.layer1 = _stage_v1(_STEM, 240, 4)
        self.layer2 = _stage_v1(240, 480, 8)
        self.layer3 = _stage_v1(480, 960, 4)
        self.pool = global_pool()
        self.linear = linear_classifier(960, num_classes)
        init_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(N, num_classes)`` of images ``(N, 3, 32, 32)``."""
        features = self.relu(self.bn1(self.conv1(images)))
        features = self.layer3(self.layer2(self.layer1(features)))
        return self.linear(self.pool(features))


class ShuffleNetV2(nn.Module):
    """ShuffleNetV2 (1x); the stem is a 1 x 1 convolution without pooling.

    Feature maps by module name, for a 32 x 32 input: ``relu`` (``(N, 24, 32, 32)``), ``layer1``
    (``(N, 116, 16, 16)``), ``layer2`` (``(N, 232, 8, 8)``), ``layer3`` (``(N, 464, 4, 4)``), all
    after the ReLU and after the stage's last channel shuffle. ``relu2`` is the map
    ``(N, 1024, 4, 4)`` after the last convolution, ``pool`` gives the pooled features
    ``(N, 1024)``, ``linear`` the logits.

    Args:
        num_classes: Number of classes.

    Raises:
        ValueError: If ``num_classes < 1``.

    References: Ma et al., ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture
        Design, ECCV 2018.
    """

    feature_modules: ClassVar[tuple[str, ...]] = ('relu', 'layer1', 'layer2', 'layer3')

    def __init__(self, num_classes: int = 100) -> None:
        super().__init__()
        self.conv1 = _pointwise(3, _STEM)
        self.bn1 = nn.BatchNorm2d(_STEM)
        self.relu = nn.ReLU()
        self.layer1 = _stage_v2(_STEM, 116, 4)
        self.layer2 = _stage_v2(116, 232, 8)
        self.layer3 = _stage_v2(232, 464, 4)
        self.conv2 = _pointwise(464, 1024)
        self.bn2 = nn.BatchNorm2d(1024)
        self.relu2 = nn.ReLU()
        self.pool = global_pool()
        self.linear = linear_classifier(1024, num_classes)
        init_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(N, num_classes)`` of images ``(N, 3, 32, 32)``."""
        features = self.relu(self.bn1(self.conv1(images)))
        features = self.layer3(self.layer2(self.layer1(features)))
        features = self.relu2(self.bn2(self.conv2(features)))
        return self.linear(self.pool(features))


def _pointwise(in_channels: int, out_channels: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 1, groups=groups, bias=False)


def _depthwise(channels: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)


def _stage_v1(in_channels: int, out_channels: int, num_units: int) -> nn.Sequential:
    first = _UnitV1(in_channels, out_channels, 2)
    return stage(first, partial(_UnitV1, out_channels, out_channels, 1), num_units)


def _stage_v2(in_channels: int, out_channels: int, num_units: int) -> nn.Sequential:
    return stage(_DownUnitV2(in_channels, out_channels), partial(_UnitV2, out_channels), num_units)


class _UnitV1(nn.Module):
    """Adds its input to the branch (stride 1) or appends the pooled input to it (stride 2)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        branch = out_channels - in_channels if stride == 2 else out_channels
        hidden = branch // 4
        # The stem's few channels are neither grouped nor shuffled.
        self.groups = 1 if in_channels == _STEM else _GROUPS
        self.conv1 = _pointwise(in_channels, hidden, self.groups)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.relu1 = nn.ReLU()
        self.conv2 = _depthwise(hidden, stride)
        self.bn2 = nn.BatchNorm2d(hidden)
        self.relu2 = nn.ReLU()
        self.conv3 = _pointwise(hidden, branch, _GROUPS)
        self.bn3 = nn.BatchNorm2d(branch)
        self.relu3 = nn.ReLU()
        self.shortcut = nn.AvgPool2d(3, stride=2, padding=1) if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.relu2(self.bn2(self.conv2(channel_shuffle(out, self.groups))))
        out = self.bn3(self.conv3(out))
        if self.shortcut is None:
            return self.relu3(out + x)
        return self.relu3(torch.cat([out, self.shortcut(x)], dim=1))


class _UnitV2(nn.Module):
    """Transforms one half of the channels, keeps the other and mixes them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = _pointwise(half, half)
        self.bn1 = nn.BatchNorm2d(half)
        self.relu1 = nn.ReLU()
        self.conv2 = _depthwise(half, 1)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = _pointwise(half, half)
        self.bn3 = nn.BatchNorm2d(half)
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        kept, out = x.chunk(2, dim=1)
        out = self.relu1(self.bn1(self.conv1(out)))
        out = self.bn2(self.conv2(out))
        out = self.relu3(self.bn3(self.conv3(out)))
        return channel_shuffle(torch.cat([kept, out], dim=1), 2)


class _DownUnitV2(nn.Module):
    """Two branches of stride 2 that each give half of the output's channels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.conv1 = _depthwise(in_channels, 2)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv2 = _pointwise(in_channels, half)
        self.bn2 = nn.BatchNorm2d(half)
        self.relu2 = nn.ReLU()
        self.conv3 = _pointwise(in_channels, half)
        self.bn3 = nn.BatchNorm2d(half)
        self.relu3 = nn.ReLU()
        self.conv4 = _depthwise(half, 2)
        self.bn4 = nn.BatchNorm2d(half)
        self.conv5 = _pointwise(half, half)
        self.bn5 = nn.BatchNorm2d(half)
        self.relu5 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        left = self.relu2(self.bn2(self.conv2(self.bn1(self.conv1(x)))))
        right = self.relu3(self.bn3(self.conv3(x)))
        right = self.bn4(self.conv4(right))
        right = self.relu5(self.bn5(self.conv5(right)))
        return channel_shuffle(torch.cat([left, right], dim=1), 2)
