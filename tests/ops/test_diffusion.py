"""Diffusion: noise that is known is removed exactly, variances are kept."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from wkd_det.ops.diffusion import denoised, diffused, inference_times, kept_shares


@pytest.mark.parametrize('num_steps', [1, 3, 5])
def test_noise_that_is_known_is_removed(num_steps):
    """With the true noise at every step, each step finds the clean map."""
    clean, noise = torch.randn(2, 4, 3, 2, 2, dtype=torch.float64)
    shares, times = kept_shares(), []

    def network(maps, time):
        times.append(time.item())
        return noise

    first = inference_times(num_steps)[0]
    noisy = diffused(clean, noise, shares[[first] * 4])
    found = denoised(noisy, network, shares, num_steps=num_steps)
    assert_close(found, clean, rtol=1e-10, atol=1e-10)
    assert times == inference_times(num_steps)


def test_unit_variance_stays():
    shares = kept_shares()
    maps, noise = torch.randn(2, 1000, 3, 8, 8)
    deviation = diffused(maps, noise, shares).std(dim=(1, 2, 3))
    assert_close(deviation.mean(), torch.tensor(1.0), rtol=0.02, atol=0)
    assert (shares.diff() < 0).all()
