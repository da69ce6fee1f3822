"""Every Wasserstein term, and the family around it, over the whole range of float16."""

import itertools

import pytest
import torch

from wkd_det.functional import FEATURE_DISTANCES
from wkd_det.losses import WKDFeatureLoss, WKDLogitLoss

LARGEST = 6e4  # float16 ends at 65504


def values(kind, shape):
    generator = torch.Generator().manual_seed(0)
    if kind == 'noise':
        return LARGEST * (2 * torch.rand(shape, generator=generator) - 1)
    if kind == 'small':
        return torch.randn(shape, generator=generator)
    result = torch.full(shape, dict(high=LARGEST, low=-LARGEST, mixed=LARGEST, spikes=0.0)[kind])
    if kind == 'mixed':
        result.view(-1)[::2] = -LARGEST
    if kind == 'spikes':
        result.view(-1)[::7] = LARGEST
    return result


KINDS = ('noise', 'small', 'high', 'low', 'mixed', 'spikes')
PAIRS = list(itertools.product(KINDS, KINDS))


def check(loss, shape, dtype, *target):
    for kinds in PAIRS:
        student, teacher = (values(kind, shape).to(dtype) for kind in kinds)
        student.requires_grad_()
        value = loss(student, teacher, *target)
        value.backward()
        assert value.dtype == torch.float32
        assert value.isfinite(), kinds
        # A gradient may leave the range of float16 itself, which a GradScaler sees and skips.
        limits = torch.isnan if dtype == torch.float16 else lambda grad: ~grad.isfinite()
        assert not limits(student.grad).any(), kinds


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize('separated', [True, False])
@pytest.mark.parametrize('log_domain', [True, False])
def test_logits(dtype, separated, log_domain):
    points = torch.rand(9, 3, generator=torch.Generator().manual_seed(1))
    distance = torch.cdist(points, points).fill_diagonal_(0)
    distance = (distance + distance.T) / 4
    loss = WKDLogitLoss(cost=distance, separated=separated, log_domain=log_domain)
    check(loss, (6, 9), dtype, torch.arange(6))


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
@pytest.mark.parametrize('pair', FEATURE_DISTANCES, ids='-'.join)
def test_features(dtype, pair):
    check(WKDFeatureLoss(grid=3, distribution=pair[0], distance=pair[1]), (2, 8, 12, 12), dtype)
