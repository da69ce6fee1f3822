"""Random maps, masks and features: the same numbers for the same seed."""

from __future__ import annotations

import torch


def maps(samples=2, channels=3, height=6, width=7, *, seed=0, scale=1.0, dtype=torch.float64):
    """Maps of student and teacher; the teacher's are shifted and wider spread."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, samples, channels, height, width)
    both = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
    both[1] = 0.5 + 1.5 * both[1]
    return both.to(dtype).unbind(0)


def random_mask(samples, height, width, *, seed=0, share=0.5):
    """A mask in which about this share of the pixels counts."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(samples, height, width, generator=generator) < share


def random_features(classes=5, examples=12, dims=7, dtype=torch.float64, seed=0):
    """Features of the same number of examples of each class."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(classes, examples, dims, generator=generator, dtype=torch.float64).to(dtype)
