"""WKD-F as a module: the function times the weight."""

from __future__ import annotations

import pytest
import torch
from mmdet.registry import MODELS

from wkd_det.functional import FEATURE_DISTANCES, feature_distribution_loss, wkd_feature_loss
from wkd_det.losses import WKDFeatureLoss


def maps(samples=2, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, samples, 3, 6, 7, generator=generator).to(dtype).unbind(0)


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(grid=3, mean_cov_ratio=2.0),
        dict(distribution='full', eps=1e-3),
        dict(unbiased=False, mean_cov_ratio=0.0),
        dict(distribution='laplace', distance='kl', grid=2),
        dict(distribution='pmf', epsilon=0.2, num_iters=3),
        dict(distribution='spatial_gram', distance='frobenius'),
    ],
)
@pytest.mark.parametrize('loss_weight', [1.0, 5e-3, 0.0])
def test_is_the_function_times_the_weight(options, loss_weight):
    student, teacher = maps()
    extra = dict(mask=torch.rand(2, 6, 7) < 0.7, weight=torch.tensor([1.0, 0.5]), avg_factor=1.5)
    loss = WKDFeatureLoss(**options, loss_weight=loss_weight)
    for arguments in ({}, extra):
        expected = loss_weight * feature_distribution_loss(student, teacher, **options, **arguments)
        assert torch.equal(loss(student, teacher, **arguments), expected)


def test_the_registry_builds_it_from_a_config():
    loss = MODELS.build(dict(type='WKDFeatureLoss', grid=4, mean_cov_ratio=2.0, loss_weight=5e-3))
    assert isinstance(loss, WKDFeatureLoss)
    assert loss.takes == 'features'
    expected = 5e-3 * wkd_feature_loss(*maps(), grid=4, mean_cov_ratio=2.0)
    assert torch.equal(loss(*maps()), expected)


def test_defaults_are_those_of_the_function():
    student, teacher = maps()
    assert torch.equal(WKDFeatureLoss()(student, teacher), wkd_feature_loss(student, teacher))


PAIRS = pytest.mark.parametrize(('distribution', 'distance'), FEATURE_DISTANCES)


@PAIRS
def test_gradient_reaches_the_student_only(distribution, distance):
    student, teacher = (features.clone().requires_grad_() for features in maps())
    loss = WKDFeatureLoss(grid=2, distribution=distribution, distance=distance)
    loss(student, teacher).backward()
    assert student.grad.abs().max() > 1e-4
    assert teacher.grad is None


def test_it_holds_no_state():
    assert not WKDFeatureLoss().state_dict()


@PAIRS
def test_half_precision_and_no_images_give_float32(distribution, distance):
    loss = WKDFeatureLoss(distribution=distribution, distance=distance)
    for samples in (2, 0):
        student, teacher = maps(samples, torch.float16)
        value = loss(student.clone().requires_grad_(), teacher)
        assert value.dtype == torch.float32
        assert value.requires_grad
        assert samples or value.item() == 0


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        (dict(grid=0), 'grid must be an integer of at least 1, got 0'),
        (dict(grid=2.5), 'grid must be an integer of at least 1, got 2.5'),
        (dict(mean_cov_ratio=-1), 'mean_cov_ratio must not be negative, got -1'),
        (dict(loss_weight=-1), 'loss_weight must not be negative, got -1'),
        (dict(distribution='Diag'), r"one of diag \(w2, kl, symmetric_kl\), full .*; got 'Diag'"),
        (dict(distance='g2denet'), r"one of \['w2', 'kl', 'symmetric_kl'\] for dist.*'g2denet'"),
        (dict(epsilon=0.1), "epsilon means nothing to distribution='diag', distance='w2': its"),
        (dict(distribution='pmf', epsilon=0), 'epsilon must be positive, got 0'),
        (
            dict(distribution='pmf', num_iters=0),
            'num_iters must be an integer of at least 1, got 0',
        ),
        (dict(eps=0), 'eps must be positive, got 0'),
    ],
)
def test_numbers_outside_their_range(option, message):
    with pytest.raises(ValueError, match=message):
        WKDFeatureLoss(**option)


def test_a_larger_map_of_the_same_features_weighs_the_same():
    """So no level of a pyramid drowns the others by its size."""
    student, teacher = torch.randn(2, 2, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    loss = WKDFeatureLoss(unbiased=False)
    whole = loss(student.repeat(1, 1, 4, 4), teacher.repeat(1, 1, 4, 4))
    assert torch.allclose(whole, loss(student, teacher), rtol=1e-5)  # float32 sums
