"""The interrelations that can be built, by name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """How classes are compared."""

    reads: str
    """``'classifier'`` (rows of the last layer), ``'centroids'``, ``'gaussians'`` (mean and
    covariance of each class) or ``'examples'`` (paired one by one, CKA)."""
    center: bool = False
    """Remove the mean of all prototypes first."""
    full: bool = False
    """Covariance matrices, not variances."""
    kernel: str = ''
    """Of CKA."""

    @property
    def least_examples(self) -> int:
        """Fewest examples of a class that it can be measured on."""
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
