"""The methods that measure class distances, and their run on a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from wkd_det.costs.alignment import cka
from wkd_det.costs.features import FeatureSource, collect
from wkd_det.costs.gaussians import gaussian_interrelation
from wkd_det.costs.matrix import BACKGROUND
from wkd_det.costs.similarity import cosine_interrelation, with_unknown_classes
from wkd_det.costs.statistics import ClassMoments, ClassSample
from wkd_det.ops.checks import check_choice, check_integers, check_nonnegative, listed
from wkd_det.version import __version__


@dataclass(frozen=True)
class Method:
    """A way to compare classes."""

    reads: str
    """Data compared: ``'classifier'`` (rows of the last layer), ``'centroids'``, ``'gaussians'``
    (mean and covariance per class) or ``'examples'`` (paired one by one, CKA)."""
    center: bool = False
    """Whether the mean of all prototypes is removed first."""
    full: bool = False
    """Whether covariance matrices are used, not variances."""
    kernel: str = ''
    """Kernel of CKA."""

    @property
    def least_examples(self) -> int:
        """Fewest examples on which a class can be measured."""
        if self.kernel == 'rbf':
            return 3  # of the four distances between two, two are 0, and so is their median
        return {'classifier': 0, 'centroids': 1}.get(self.reads, 2)


METHODS = {
    'cka-linear': Method('examples', kernel='linear'),
    'cka-polynomial': Method('examples', kernel='polynomial'),
    'cka-rbf': Method('examples', kernel='rbf'),
    'cosine-centroid': Method('centroids'),
    'cosine-centroid-centred': Method('centroids', center=True),
    'cosine-classifier': Method('classifier'),
    'cosine-classifier-centred': Method('classifier', center=True),
    'gaussian-diag': Method('gaussians'),
    'gaussian-full': Method('gaussians', full=True),
}
CKA_EXAMPLES = 512
"""Examples per class that CKA keeps by default."""


@dataclass(frozen=True)
class BuildOptions:
    """Options of :func:`build_interrelation`.

    Raises:
        ValueError: If an option is unknown or out of range.
    """

    method: str
    """Name of a method, a key of :data:`METHODS`."""
    max_per_class: int | None = None
    """Examples used per class, drawn at random; all by default, for CKA 512."""
    min_per_class: int = 1
    """Classes with fewer examples count as unknown."""
    degree: int = 2
    """Exponent of the polynomial kernel."""
    bandwidth: float = 0.4
    """Width of the RBF kernel in units of the median distance."""
    prior_examples: float = 10.0
    """Examples that the pooled covariance counts as, in that of each class (shrinkage)."""
    seed: int = 0
    """Random seed of the choice of examples."""

    def __post_init__(self) -> None:
        check_choice(sorted(METHODS), method=self.method)
        check_integers(min_per_class=self.min_per_class)
        if self.max_per_class is not None:
            check_integers(max_per_class=self.max_per_class)
        check_nonnegative(prior_examples=self.prior_examples)


def build_interrelation(
    source: FeatureSource, options: BuildOptions, *, progress: bool = False
) -> tuple[Tensor, dict[str, Any]]:
    """Measure class distances ``1 - similarity`` on a trained network.

    Classes without examples get the median distance to every other class, see
    :func:`~wkd_det.costs.similarity.with_unknown_classes`. Every process of a group returns the
    same.

    Args:
        source: Source of features and classifier rows.
        options: Method and its options.
        progress: Show a bar while features are collected.

    Returns:
        Distances, float64, shape ``(C, C)``, in the order of ``source.class_names``; and the
        metadata for :func:`~wkd_det.costs.files.write_cost_file`.

    Raises:
        ValueError: If there are too few examples, or classes that the method cannot measure;
            the message names them.
    """
    method = METHODS[options.method]
    names = source.class_names
    if method.reads == 'classifier':
        rows = source.classifier_rows().detach().double()
        distance = 1 - cosine_interrelation(rows, center=method.center, class_names=names)
        account: dict[str, Any] = {}
    else:
        distance, account = _from_examples(source, options, method, progress)
    metadata = dict(
        asdict(options),
        background=BACKGROUND in names,
        **source.describe(),
        **account,
        version=__version__,
    )
    return distance, metadata


def _from_examples(
    source: FeatureSource, options: BuildOptions, method: Method, progress: bool
) -> tuple[Tensor, dict[str, Any]]:
    names = source.class_names
    size = options.max_per_class
    if size is None and method.reads == 'examples':
        size = CKA_EXAMPLES
    if size is not None and size < options.min_per_class:
        raise ValueError(
            f'min_per_class must not exceed the {size} examples that are kept of a class '
            f'(max_per_class), got {options.min_per_class}'
        )
    empty = (
        ClassMoments(len(names), full=method.full)
        if size is None
        else ClassSample(len(names), size, seed=options.seed)
    )
    collected = collect(source, empty, progress=progress)
    count = collected.count.tolist()
    known = [index for index, number in enumerate(count) if number >= options.min_per_class]
    _check_counts(known, count, names, options, method, source)
    chosen = [names[index] for index in known]
    account: dict[str, Any] = dict(counts=dict(zip(names, count)))
    if method.reads == 'examples':
        account['examples_per_class'] = min(count[index] for index in known)
        similarity = _alignment(collected, known, chosen, account, options, method)
    else:
        moments = collected
        if isinstance(collected, ClassSample):
            moments = collected.moments(full=method.full)
        similarity = _similarity_of_moments(moments, known, chosen, options, method)
    distance, value = with_unknown_classes(1 - similarity.double(), known, len(names))
    unknown = [name for index, name in enumerate(names) if index not in known]
    account['without_examples'] = unknown
    account['distance_without_examples'] = value if unknown else None
    return distance, account


def _alignment(
    sample: ClassSample,
    known: Sequence[int],
    names: Sequence[str],
    account: dict[str, Any],
    options: BuildOptions,
    method: Method,
) -> Tensor:
    number = account['examples_per_class']
    features = torch.stack([sample.of_class(index)[:number] for index in known])
    # The polynomial kernel is not centred: it needs float64 where means dwarf spreads.
    features = features.double() if method.kernel == 'polynomial' else features
    return cka(
        features,
        kernel=method.kernel,
        degree=options.degree,
        bandwidth=options.bandwidth,
        class_names=names,
    )


def _similarity_of_moments(
    moments: ClassMoments,
    known: Sequence[int],
    names: Sequence[str],
    options: BuildOptions,
    method: Method,
) -> Tensor:
    mean, count = moments.mean[known], moments.count[known].double()
    if method.reads == 'centroids':
        return cosine_interrelation(mean, center=method.center, class_names=names)
    covariance = moments.covariance()[known]
    variance = covariance.diagonal(dim1=1, dim2=2) if method.full else covariance
    still = [name for name, one in zip(names, variance) if not bool((one > 0).any())]
    if still:
        raise ValueError(
            f'features must vary over the examples of a class, got constant ones in class '
            f'{listed(still)}: is the network trained, and the layer the right one?'
        )
    return gaussian_interrelation(
        mean,
        covariance,
        shrinkage=options.prior_examples / (options.prior_examples + count),
        counts=count,
        class_names=names,
    )


def _check_counts(
    known: Sequence[int],
    count: Sequence[int],
    names: Sequence[str],
    options: BuildOptions,
    method: Method,
    source: FeatureSource,
) -> None:
    most = sorted(count)[-2] if len(count) > 1 else 0
    if len(known) < 2 <= most:
        raise ValueError(
            f'min_per_class={options.min_per_class} leaves {len(known)} of '
            f'{sum(map(bool, count))} classes with examples: at most {most} keeps two'
        )
    if len(known) < 2:
        raise ValueError(
            f'at least 2 classes with {options.min_per_class} or more examples are needed, got '
            f'{len(known)} in {source.describe()["images"]} images: is it the right split, with '
            'annotations?'
        )
    scarce = [
        f'{names[index]} ({count[index]})'
        for index in known
        if count[index] < method.least_examples
    ]
    if scarce:
        raise ValueError(
            f'{options.method} needs at least {method.least_examples} examples of a class, got '
            f'fewer of {listed(scarce)}: use more data, or leave such classes out '
            f'with min_per_class={method.least_examples}'
        )
