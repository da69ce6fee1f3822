"""Branches: small networks from a map of the student to class logits."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from wkd_det.connectors import Connector
from wkd_det.losses.transformer import TransformerBlock
from wkd_det.ops.batch_norm import normalise_single_values
from wkd_det.ops.checks import check_booleans, check_integers, plain_number

_HEADS = 4


class OFABranch(Connector):
    """Class logits from a map of one stage of the student: a branch of OFA.

    For the map of a convolutional student each later stage is stood in for by a block of depthwise
    separable convolutions that halves the map and doubles the width, the last one to ``width``; the
    last stage has a 1 x 1 convolution. Mean over the pixels and a linear layer follow.

    In a map of tokens (``of_tokens``) patches are merged, four neighbours into one of the given
    ``width``, until the map has about ``grid x grid``; one Transformer block of four heads for
    each later stage, at least one, mean over the patches and a linear layer follow.

    Convention:
        - The tap hands on the tokens of patches alone; the authors' branches of a ViT read its
          class token, these the mean of the patches.

    Args:
        student_channels: Width of the student's map.
        teacher_channels: Number of classes; the tap ``branch`` says it.
        student_size: Height and width of the map, where they are known; tokens need it.
        stage: Index of the stage among ``num_stages``, from 0; set by the tap.
        num_stages: Number of stages; set by the tap.
        of_tokens: Whether the map is made of tokens, as those of Transformers are; set by the tap.
        width: Width of the features that are classified. The authors take that of the features
            which the student classifies, or the teacher if it is larger and the student has no
            tokens. By default what doubling gives, and ``student_channels`` for tokens.
        grid: Patches along a side after merging.

    Raises:
        ValueError: If an option is outside its range, or the size of a map of tokens is not
            known or cannot be halved, or ``width`` cannot be reached or divided.

    References: Hao et al., One-for-All: Bridge the Gap Between Heterogeneous Architectures in
        Knowledge Distillation, NeurIPS 2023; layers are those of its code, the Transformer block
        that of ViT.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        *,
        student_size: tuple[int, int] | None = None,
        stage: int = 0,
        num_stages: int = 4,
        of_tokens: bool = False,
        width: int | None = None,
        grid: int = 7,
    ) -> None:
        check_booleans(of_tokens=of_tokens)
        super().__init__()
        check_integers(0, stage=stage)
        check_integers(num_stages=num_stages, grid=grid)
        later = num_stages - 1 - stage
        if later < 0:
            raise ValueError(f'stage must be below num_stages, got {stage} and {num_stages}')
        if width is not None:
            check_integers(width=width)
            width = plain_number(width)
        if of_tokens:
            self.layers = _tokens(student_channels, width, later, student_size, grid)
        else:
            self.layers = _convolutions(student_channels, width, later)
        self.classify = nn.Linear(_width_of(self.layers), teacher_channels)
        _initialise(self)

    def forward(self, features: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Return logits ``(N, K)`` of a map ``(N, C, H, W)``; ``size`` is not used."""
        for layer in self.layers:
            features = layer(features)
        return self.classify(features.mean(dim=(2, 3)))


def _convolutions(channels: int, width: int | None, later: int) -> nn.ModuleList:
    layers: list[nn.Module] = []
    for index in range(later):
        doubled = 2 * channels
        target = width if width is not None and index == later - 1 else doubled
        layers.append(_SeparableBlock(channels, target))
        channels = target
    if not layers:
        layers.append(_Widening(channels, channels if width is None else width))
    return nn.ModuleList(layers)


def _tokens(
    channels: int, width: int | None, later: int, size: tuple[int, int] | None, grid: int
) -> nn.ModuleList:
    if size is None:
        raise ValueError('a branch of tokens needs the size of the map: student_size is not known')
    width = channels if width is None else width
    merges = max(int(math.log2(min(size) / grid)), 0)
    if any(side % 2**merges for side in size):
        raise ValueError(
            f'the way to grid={grid} divides the sides of the map by {2**merges}, got '
            f'{size[0]} x {size[1]}'
        )
    if merges == 0 and width != channels:
        raise ValueError(
            f'width must be that of the map, {channels}, where no patches are merged, got {width}'
        )
    layers: list[nn.Module] = []
    for index in range(merges):
        # Of several mergings the last has no activation in the authors' code.
        layers.append(_Merging(channels, width, activate=index == 0 or index < merges - 1))
        channels = width
    return nn.ModuleList([*layers, *(_Patches(width) for _ in range(max(later, 1)))])


def _width_of(layers: nn.ModuleList) -> int:
    return layers[-1].width


class _Widening(nn.Module):
    """1 x 1 convolution."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.conv = nn.Conv2d(channels, width, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.conv(features)


class _SeparableBlock(nn.Module):
    """Two depthwise separable convolutions: the first halves the map, the second widens it."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(
            *_separable(channels, channels, 2), *_separable(channels, width, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        with normalise_single_values(self, features[:, :, ::2, ::2]):
            return self.layers(features)


def _separable(channels: int, width: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False),
        nn.Conv2d(channels, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]


class _Merging(nn.Module):
    """Four neighbouring patches, normalised together, become one of another width."""

    def __init__(self, channels: int, width: int, activate: bool) -> None:
        super().__init__()
        self.width = width
        self.norm = nn.LayerNorm(4 * channels)
        self.reduce = nn.Linear(4 * channels, width, bias=False)
        self.activate = activate

    def forward(self, features: Tensor) -> Tensor:
        four = F.pixel_unshuffle(features, 2).movedim(1, -1)
        merged = self.reduce(self.norm(four)).movedim(-1, 1)
        return F.gelu(merged) if self.activate else merged


class _Patches(nn.Module):
    """Transformer block on the pixels of a map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.block = TransformerBlock(width, _HEADS, exact=False)

    def forward(self, features: Tensor) -> Tensor:
        return self.block(features.flatten(2).mT).mT.unflatten(2, features.shape[-2:])


def _initialise(branch: nn.Module) -> None:
    for module in branch.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
        elif isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
