"""Networks of DiffKD: autoencoder, share of noise per image, prediction of noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wkd_det.losses.linear import Linear
from wkd_det.ops.diffusion import TIMES

_EMBEDDED_TIMES = 1280  # rows of the table in the authors' code; the last 280 are never used


@dataclass(frozen=True)
class Noise:
    """Random numbers of one step."""

    student: Tensor
    """Normal, shape ``(N, C, H, W)``: mixed into the student's map."""
    times: Tensor
    """Integers in [0, 1000), shape ``(N,)``: noise levels of the teacher's map."""
    teacher: Tensor
    """Normal, shape ``(N, C, H, W)``: added to the teacher's map."""

    @classmethod
    def like(cls, maps: Tensor) -> Noise:
        """Draw for maps ``(N, C, H, W)``, from torch's random state."""
        times = torch.randint(TIMES, (len(maps),), device=maps.device)
        return cls(torch.randn_like(maps), times, torch.randn_like(maps))


class Autoencoder(nn.Module):
    """1 x 1 convolutions into a hidden width, with batch normalisation, and back.

    Args:
        channels: Width of the maps.
        hidden_channels: Width of the hidden maps.
    """

    def __init__(self, channels: int, hidden_channels: int) -> None:
        super().__init__()
        self.encoder = normalised(channels, hidden_channels, 1)
        self.decoder = nn.Conv2d(hidden_channels, channels, 1)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return hidden maps ``(N, C', H, W)``, detached, and restored ones ``(N, C, H, W)``."""
        hidden = self.encoder(maps)
        return hidden.detach(), self.decoder(hidden)


class Mixture(nn.Module):
    """Map and noise, mixed in a share that a small network predicts per image.

    Args:
        channels: Width of the maps.
        on_vectors: Whether maps have one pixel.
    """

    def __init__(self, channels: int, on_vectors: bool) -> None:
        super().__init__()
        self.features = (
            nn.Sequential(
                *normalised(channels, 2 * channels, 1),
                nn.ReLU(),
                *normalised(2 * channels, channels, 1),
            )
            if on_vectors
            else _Bottleneck(channels, 8)
        )
        self.share = Linear(channels, 2)

    def forward(self, maps: Tensor, noise: Tensor) -> Tensor:
        """Return ``share * maps + (1 - share) * noise``, shape ``(N, C, H, W)``."""
        pooled = self.features(maps).mean(dim=(2, 3))
        share = self.share(pooled).softmax(dim=1)[:, :1, None, None]
        return share * maps + (1 - share) * noise


class NoiseNetwork(nn.Module):
    """Predicts the noise in maps of a noise level: the diffusion model.

    Args:
        channels: Width of the maps.
        on_vectors: Whether maps have one pixel.
    """

    def __init__(self, channels: int, on_vectors: bool) -> None:
        super().__init__()
        self.time_embedding = nn.Embedding(_EMBEDDED_TIMES, channels)
        wide = 4 * channels
        self.layers = (
            nn.Sequential(
                *normalised(channels, wide, 1),
                nn.ReLU(),
                *normalised(wide, channels, 1),
                *normalised(channels, wide, 1),
                nn.ReLU(),
                nn.Conv2d(wide, channels, 1),
            )
            if on_vectors
            else nn.Sequential(
                _Bottleneck(channels, 4),
                _Bottleneck(channels, 4),
                *normalised(channels, channels, 1),
            )
        )

    def forward(self, maps: Tensor, times: Tensor) -> Tensor:
        """Return the noise in maps ``(N, C, H, W)``, of the same shape.

        Args:
            maps: Noisy maps, shape ``(N, C, H, W)``.
            times: Noise level of each, integers of shape ``(N,)``, or one for all, shape ``()``.
        """
        return self.layers(maps + self.time_embedding(times.expand(len(maps)))[:, :, None, None])


class _Bottleneck(nn.Module):
    """Convolutions 1 x 1, 3 x 3 and 1 x 1 with batch normalisation, added to their input."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        narrow = channels // reduction
        self.block = nn.Sequential(
            *normalised(channels, narrow, 1),
            nn.ReLU(),
            *normalised(narrow, narrow, 3),
            nn.ReLU(),
            *normalised(narrow, channels, 1),
        )

    def forward(self, maps: Tensor) -> Tensor:
        return self.block(maps) + maps


def normalised(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    """Return a convolution with bias that keeps the size, and its batch normalisation.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output.
        kernel_size: Odd.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2),
        nn.BatchNorm2d(out_channels),
    )
