"""From a feature source to class distances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from wkd_det.costs.alignment import cka
from wkd_det.costs.build import METHODS, BuildOptions, build_interrelation
from wkd_det.costs.features import ClassExamples, FeatureSource
from wkd_det.costs.gaussians import gaussian_interrelation
from wkd_det.costs.similarity import cosine_interrelation

NAMES = ['ant', 'bee', 'cat', 'dog', 'background']
EXACT = dict(rtol=1e-10, atol=1e-10)

SPREAD = [name for name in METHODS if METHODS[name].least_examples > 1]


class FixedSource(FeatureSource):
    """Twenty images with given examples."""

    def __init__(self, features, labels):
        self.class_names = NAMES
        self.features, self.labels = features, labels

    def __len__(self):
        return 20

    def examples(self, items):
        for item in items:
            rows = torch.arange(len(self.labels))[item::20]
            yield ClassExamples(self.features[rows], self.labels[rows], rows)

    def classifier_rows(self):
        return torch.arange(10.0).sin().view(5, 2)

    def describe(self):
        return dict(config='fixed.py', layer='penultimate', images=20)


def source_of(counts=(30, 40, 20, 25, 60), dims=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.arange(5), torch.tensor(counts))
    centres = torch.randn(5, dims, generator=generator)
    features = centres[labels] + torch.randn(len(labels), dims, generator=generator)
    return FixedSource(features, labels)


def of_class(source, label):
    return source.features[source.labels == label].double()


def build(source, method, **options):
    return build_interrelation(source, BuildOptions(method=method, **options))


def test_centroids():
    source = source_of()
    mean = torch.stack([of_class(source, label).mean(0) for label in range(5)])
    for method, center in (('cosine-centroid', False), ('cosine-centroid-centred', True)):
        distance, metadata = build(source, method)
        expected = 1 - cosine_interrelation(mean, center=center)
        assert_close(distance, expected, **EXACT)
    assert metadata['counts'] == dict(zip(NAMES, (30, 40, 20, 25, 60)))
    assert metadata['without_examples'] == []
    assert metadata['background'] is True
    assert (metadata['config'], metadata['method']) == ('fixed.py', 'cosine-centroid-centred')


def test_classifier_needs_no_images():
    source = source_of(counts=(0, 0, 0, 0, 0))
    distance, metadata = build(source, 'cosine-classifier-centred')
    rows = source.classifier_rows().double()
    assert_close(distance, 1 - cosine_interrelation(rows, center=True), **EXACT)
    assert 'counts' not in metadata


@pytest.mark.parametrize('full', [False, True])
def test_gaussians_shrink_by_their_counts(full):
    source = source_of()
    parts = [of_class(source, label).numpy() for label in range(5)]
    count = torch.tensor([30.0, 40, 20, 25, 60], dtype=torch.float64)
    own = np.stack([np.cov(part.T) if full else part.var(0, ddof=1) for part in parts])
    pooled = np.tensordot((count / count.sum()).numpy(), own, 1)
    share = (4 / (4 + count)).numpy().reshape([-1] + [1] * (own.ndim - 1))
    covariance = torch.from_numpy((1 - share) * own + share * pooled)
    mean = torch.from_numpy(np.stack([part.mean(0) for part in parts]))
    method = 'gaussian-full' if full else 'gaussian-diag'
    distance, _ = build(source, method, prior_examples=4)
    assert_close(distance, 1 - gaussian_interrelation(mean, covariance), **EXACT)
    bare, _ = build(source, method, prior_examples=0)
    bare_covariance = torch.from_numpy(own)
    assert_close(bare, 1 - gaussian_interrelation(mean, bare_covariance), **EXACT)


@pytest.mark.parametrize(
    ('method', 'options'),
    [
        ('cka-linear', {}),
        ('cka-polynomial', dict(degree=3)),
        ('cka-rbf', dict(bandwidth=0.6)),
    ],
)
def test_alignment_takes_as_many_examples_as_the_rarest_class_has(method, options):
    source = source_of()
    distance, metadata = build(source, method, **options)
    assert metadata['examples_per_class'] == 20
    # The rarest class is used whole; its examples may come in another order.
    kernel = METHODS[method].kernel
    sample = _sample(source, 512)
    features = torch.stack([sample.of_class(label)[:20] for label in range(5)]).double()
    expected = 1 - cka(features, kernel=kernel, **options)
    assert_close(distance, expected, rtol=0, atol=2e-6)  # float32 unless polynomial
    less, metadata = build(source, method, max_per_class=12, **options)
    assert metadata['examples_per_class'] == 12
    assert (less - distance).abs().max() > 1e-3


def _sample(source, size):
    from wkd_det.costs.statistics import ClassSample

    sample = ClassSample(5, size)
    sample.add(source.features, source.labels, torch.arange(len(source.labels)))
    return sample


@pytest.mark.parametrize('method', METHODS)
def test_same_seed_same_bits_whatever_the_order(method):
    source = source_of()
    one, _ = build(source, method, max_per_class=12)
    other, _ = build(source, method, max_per_class=12)
    assert torch.equal(one, other)
    reseeded, _ = build(source, method, max_per_class=12, seed=1)
    assert torch.equal(one, reseeded) == (METHODS[method].reads == 'classifier')


@pytest.mark.parametrize('method', METHODS)
def test_distances_are_distances(method):
    distance, _ = build(source_of(), method)
    assert torch.equal(distance, distance.mT)
    assert not distance.diagonal().any()
    assert distance.min() >= 0
    assert torch.isfinite(distance).all()


def test_classes_without_examples_are_named_and_neutral():
    source = source_of(counts=(30, 0, 20, 25, 60))
    distance, metadata = build(source, 'gaussian-diag')
    assert metadata['without_examples'] == ['bee']
    known = [0, 2, 3, 4]
    measured = distance[known][:, known]
    median = measured[tuple(torch.triu_indices(4, 4, 1))].median()
    assert metadata['distance_without_examples'] == median.item()
    assert torch.equal(distance[1, known], median.expand(4))
    assert distance[1, 1] == 0


def test_rare_classes_can_be_left_out():
    source = source_of(counts=(30, 3, 20, 1, 60))
    _, metadata = build(source, 'cka-linear', min_per_class=4)
    assert metadata['without_examples'] == ['bee', 'dog']
    assert metadata['examples_per_class'] == 20


# Bad input


def test_no_examples_at_all():
    with pytest.raises(ValueError, match=r'at least 2 classes .* got 0 in 20 images'):
        build(source_of(counts=(0, 0, 0, 0, 0)), 'cosine-centroid')


def test_one_class_only():
    message = (
        '^at least 2 classes with 1 or more examples are needed, got 1 in 20 images: is it the '
        r'right split, with annotations\?$'
    )
    with pytest.raises(ValueError, match=message):
        build(source_of(counts=(9, 0, 0, 0, 0)), 'cosine-centroid')
    with pytest.raises(ValueError, match='at least 2 classes with 5 or more examples are needed'):
        build(source_of(counts=(9, 0, 0, 0, 0)), 'cosine-centroid', min_per_class=5)


@pytest.mark.parametrize('method', ['cosine-centroid', 'gaussian-diag', 'cka-linear'])
@pytest.mark.parametrize(
    ('counts', 'least', 'left', 'there', 'most'),
    [
        ((9, 4, 3, 2, 1), 5, 1, 5, 4),
        ((9, 4, 0, 0, 2), 5, 1, 3, 4),
        ((30, 30, 30, 30, 30), 31, 0, 5, 30),
    ],
)
def test_min_per_class_is_to_blame_and_not_the_data(method, counts, least, left, there, most):
    message = (
        f'^min_per_class={least} leaves {left} of {there} classes with examples: at most {most} '
        'keeps two$'
    )
    source = source_of(counts=counts)
    with pytest.raises(ValueError, match=message):
        build(source, method, min_per_class=least)
    build(source, method, min_per_class=most)


@pytest.mark.parametrize('method', SPREAD)
def test_a_class_with_too_few_examples(method):
    least = 3 if method == 'cka-rbf' else 2
    source = source_of(counts=(30, 1, 20, least - 1, 60))
    message = (
        rf'needs at least {least} examples of a class, got fewer of bee \(1\), dog \({least - 1}\)'
    )
    with pytest.raises(ValueError, match=message):
        build(source, method)
    build(source, method, min_per_class=least)
    build(source_of(counts=(30, least, 20, 25, 60)), method)
    build(source, 'cosine-centroid')  # a centroid of one is one


@pytest.mark.parametrize('method', SPREAD)
def test_a_class_that_does_not_vary(method):
    source = source_of()
    source.features[source.labels == 2] = 0.5
    with pytest.raises(ValueError, match=r'must vary over the examples of a class.* class cat'):
        build(source, method)


def test_centroids_without_a_direction():
    source = source_of()
    source.features[source.labels == 3] = 0
    with pytest.raises(ValueError, match='must not be zero to have a direction, got class dog'):
        build(source, 'cosine-centroid')


@pytest.mark.parametrize('method', ['cka-linear', 'gaussian-diag'])
def test_features_that_are_not_finite(method):
    source = source_of()
    source.features[source.labels == 4, 1] = float('nan')
    with pytest.raises(ValueError, match='finite, got NaN or infinity in class background'):
        build(source, method)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(method='cosine'), r"method must be one of \('cka-linear', .* got 'cosine'"),
        (
            dict(method='cka-linear', max_per_class=0),
            'max_per_class must be an integer of at least 1, got 0',
        ),
        (
            dict(method='cka-linear', min_per_class=0),
            'min_per_class must be an integer of at least 1, got 0',
        ),
        (
            dict(method='cka-linear', prior_examples=-1),
            'prior_examples must not be negative, got -1',
        ),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        BuildOptions(**options)


def test_more_are_asked_for_than_are_kept():
    """The sample is to blame, not the data."""
    options = dict(min_per_class=9, max_per_class=8)
    with pytest.raises(ValueError, match='min_per_class must not exceed the 8 examples that are'):
        build(source_of(), 'cka-linear', **options)
