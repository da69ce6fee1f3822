"""Gaussians of classes: their Wasserstein distances, similarity and shrinkage."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wkd_det.costs.matrix import listed_classes
from wkd_det.ops.arithmetic import promote, without_autocast
from wkd_det.ops.checks import check_choice, check_integers, check_nonnegative, check_positive

SHRINKAGE_TARGETS = ('pooled', 'diagonal')
_BLOCK_ELEMENTS = 2**23  # numbers in a block of cross products by default: 64 MB in float64


def gaussian_interrelation(
    mean: Tensor,
    covariance: Tensor,
    *,
    scale: float | None = None,
    mean_cov_ratio: float = 1.0,
    shrinkage: float | Tensor = 0.0,
    shrinkage_target: str = 'pooled',
    counts: Tensor | None = None,
    block_size: int | None = None,
    class_names: Sequence[str] | None = None,
) -> Tensor:
    r"""Similarity of classes by the squared 2-Wasserstein distance of their Gaussians.

    .. math::
        IR_{ij} = \exp(-W_{ij} / s), \qquad s = \mathrm{median}_{i < j} \, W_{ij}

    with the distances :math:`W` of :func:`class_gaussian_distance`.

    Convention:
        - The median pair of classes has the similarity 1 / e whatever the unit and the number of
          the features, so half of the pairs lie on either side of 0.37 and a cost made from it
          keeps its contrast. For an even number of pairs the lower middle one counts.
        - The rule is relative: it says nothing about how far apart the classes are as a whole,
          and two classes alone always get 1 / e. Set ``scale`` to compare layers or models.
        - For diagonal Gaussians the matrix is positive definite (a Gaussian kernel between
          means and standard deviations); for full ones this is not guaranteed.

    Args:
        mean: Shape ``(C, D)``, ``C >= 2``.
        covariance: Variances, shape ``(C, D)``, or covariance matrices, shape ``(C, D, D)``.
        scale: Distance whose similarity is 1 / e, > 0; the median by default.
        mean_cov_ratio: See :func:`class_gaussian_distance`.
        shrinkage: See :func:`shrink_covariance`.
        shrinkage_target: See :func:`shrink_covariance`.
        counts: See :func:`shrink_covariance`.
        block_size: See :func:`class_gaussian_distance`.
        class_names: See :func:`class_gaussian_distance`.

    Returns:
        Shape ``(C, C)``, in [0, 1], symmetric, 1 on the diagonal.

    Raises:
        ValueError: If an argument is wrong, or if no scale is given and the median is 0, that
            is, if half of the pairs coincide.

    Example:
        >>> mean = torch.tensor([[0.0], [1.0], [3.0]])  # squared distances 1, 4, 9
        >>> gaussian_interrelation(mean, torch.ones(3, 1), scale=4.0)[0]  # exp(-1/4), exp(-9/4)
        tensor([1.0000, 0.7788, 0.1054])
    """
    if scale is not None:
        check_positive(scale=scale)
    covariance = shrink_covariance(
        covariance, shrinkage=shrinkage, shrinkage_target=shrinkage_target, counts=counts
    )
    distance = class_gaussian_distance(
        mean,
        covariance,
        mean_cov_ratio=mean_cov_ratio,
        block_size=block_size,
        class_names=class_names,
    )
    if scale is None:
        first, second = torch.triu_indices(len(mean), len(mean), 1, device=mean.device)
        scale = distance[first, second].median()
        if not scale > 0:
            raise ValueError(
                'scale has no default where half of the pairs of classes have distance 0; '
                'give one, or check that the features differ between classes'
            )
    return (-distance / scale).exp()


def class_gaussian_distance(
    mean: Tensor,
    covariance: Tensor,
    *,
    mean_cov_ratio: float = 1.0,
    block_size: int | None = None,
    class_names: Sequence[str] | None = None,
) -> Tensor:
    r"""Squared 2-Wasserstein distance between the Gaussians of all pairs of classes.

    .. math:: \gamma \, \lVert \mu_i - \mu_j \rVert^2 + D_{cov}(i, j)

    with :math:`D_{cov} = \lVert \sigma_i - \sigma_j \rVert^2` for variances (standard deviations
    :math:`\sigma`), and the squared Bures distance for covariance matrices,

    .. math:: tr \, \Sigma_i + tr \, \Sigma_j - 2 \lVert A_i^T A_j \rVert_*, \qquad
        A_i A_i^T = \Sigma_i,

    the nuclear norm being :math:`tr (\Sigma_i^{1/2} \Sigma_j \Sigma_i^{1/2})^{1/2}`.

    Numerics:
        - Works in float64 and returns the type of ``mean`` (float32 at least).
        - Variances cost ``O(C^2 D)`` and no memory beyond the result.
        - Matrices cost one eigendecomposition per class and the singular values of one matrix
          per pair, ``O(D^3)`` each: on one CPU core about 15 ms for 256 dimensions and 1 s for
          1024. Directions that hold less than the rounding of ``covariance`` are dropped, so
          that ``b`` examples per class cost as ``b`` dimensions. For a few pairs with gradients,
          :func:`~wkd_det.ops.divergences.bures_squared` computes the same.
        - Gradients are finite where variances are positive and, for matrices, where their
          eigenvalues are also distinct. These distances are meant as constants of training.

    Args:
        mean: Shape ``(C, D)``, ``C >= 2``.
        covariance: Variances, shape ``(C, D)``, or covariance matrices, shape ``(C, D, D)``,
            symmetric and positive semi-definite (singular ones are allowed).
        mean_cov_ratio: :math:`\gamma`, >= 0, weight of the means as in WKD-F.
        block_size: Pairs of matrices per block; by default so many that a block has 2^23 numbers.
        class_names: ``C`` names that errors give instead of indices.

    Returns:
        Shape ``(C, C)``, >= 0, symmetric, 0 on the diagonal.

    Raises:
        ValueError: If shapes disagree, an option is out of range, an entry is not finite, a
            variance is negative, or a matrix is not symmetric or has a negative eigenvalue. The
            message names the classes.

    References: Bhatia, Jain, Lim, On the Bures-Wasserstein distance between positive definite
        matrices, Expositiones Mathematicae 2019.

    Example:
        >>> mean = torch.tensor([[0.0, 0.0], [3.0, 0.0]])
        >>> variance = torch.tensor([[1.0, 1.0], [1.0, 9.0]])
        >>> class_gaussian_distance(mean, variance)  # 3^2 + (3 - 1)^2
        tensor([[ 0., 13.],
                [13.,  0.]])
        >>> class_gaussian_distance(mean, torch.diag_embed(variance))
        tensor([[ 0., 13.],
                [13.,  0.]])
    """
    _check_moments(mean, covariance, class_names)
    check_nonnegative(mean_cov_ratio=mean_cov_ratio)
    if block_size is not None:
        check_integers(block_size=block_size)
    with without_autocast(mean):
        (result_like,) = promote(mean)
        between = mean.double() * mean_cov_ratio**0.5
        if covariance.dim() == 2:
            distance = _squared_distance(torch.cat([between, covariance.double().sqrt()], dim=1))
        else:
            distance = _squared_distance(between) + _bures(covariance, block_size, class_names)
        return distance.to(result_like)


def shrink_covariance(
    covariance: Tensor,
    *,
    shrinkage: float | Tensor,
    shrinkage_target: str = 'pooled',
    counts: Tensor | None = None,
) -> Tensor:
    r"""Shrink the covariance of every class towards one that needs fewer examples.

    .. math:: (1 - \alpha_i) \, \Sigma_i + \alpha_i \, T_i

    where :math:`T_i` is the mean of all covariances (``'pooled'``) or the diagonal of
    :math:`\Sigma_i` (``'diagonal'``, for matrices only).

    Convention:
        ``shrinkage`` 0 changes nothing, 1 gives the target. One value per class lets rare
        classes lean on the others: ``n0 / (n0 + counts)`` counts the target as ``n0`` examples.

    Args:
        covariance: Variances, shape ``(C, D)``, or covariance matrices, shape ``(C, D, D)``.
        shrinkage: :math:`\alpha`, in [0, 1]: a number, or one per class, shape ``(C,)``.
        shrinkage_target: ``'pooled'`` or ``'diagonal'``.
        counts: Weights of the classes in the pooled covariance, shape ``(C,)``, >= 0; equal by
            default. A class of weight 0 is left out of the mean but still shrunk to it.

    Returns:
        Same shape as ``covariance``, at least float32.

    Raises:
        ValueError: If a shape or an option is wrong or would have no effect.

    References: Friedman, Regularized Discriminant Analysis, JASA 1989.

    Example:
        >>> variance = torch.tensor([[1.0], [3.0]])
        >>> shrink_covariance(variance, shrinkage=torch.tensor([0.0, 0.5]))  # pooled: 2
        tensor([[1.0000],
                [2.5000]])
    """
    classes = covariance.shape[0]
    check_choice(SHRINKAGE_TARGETS, shrinkage_target=shrinkage_target)
    if isinstance(shrinkage, Tensor) and shrinkage.shape not in ((), (classes,)):
        raise ValueError(
            f'shrinkage must be a number or have the shape ({classes},), '
            f'got {tuple(shrinkage.shape)}'
        )
    (covariance,) = promote(covariance)
    amount = torch.as_tensor(shrinkage).to(covariance)
    if not bool(((amount >= 0) & (amount <= 1)).all()):
        raise ValueError(f'shrinkage must lie in [0, 1], got {amount.tolist()}')
    if shrinkage_target == 'diagonal':
        if counts is not None:
            raise ValueError("counts weight the pooled covariance, got shrinkage_target='diagonal'")
        if covariance.dim() == 2:
            if bool((amount > 0).any()):
                raise ValueError(
                    "shrinkage_target='diagonal' needs covariance matrices (C, D, D), got "
                    f'variances {tuple(covariance.shape)}'
                )
            return covariance
        target = torch.diag_embed(covariance.diagonal(dim1=1, dim2=2))
    else:
        target = torch.einsum('c,c...->...', _weights(counts, covariance), covariance)
    amount = amount.reshape([-1] + [1] * (covariance.dim() - 1))
    return torch.lerp(covariance, target.expand_as(covariance), amount)


def _weights(counts: Tensor | None, covariance: Tensor) -> Tensor:
    classes = covariance.shape[0]
    if counts is None:
        return covariance.new_full((classes,), 1 / classes)
    if counts.shape != (classes,):
        raise ValueError(f'counts must have the shape ({classes},), got {tuple(counts.shape)}')
    counts = counts.to(covariance)
    if not bool((counts >= 0).all()) or not 0 < float(counts.sum()) < float('inf'):
        raise ValueError(
            f'counts must not be negative and have a positive sum, got {counts.tolist()}'
        )
    return counts / counts.sum()


def _squared_distance(points: Tensor) -> Tensor:
    """Squared distance between all rows, from differences: equal rows have exactly 0."""
    mode = 'donot_use_mm_for_euclid_dist'
    return torch.cdist(points, points, compute_mode=mode).square()


def _bures(covariance: Tensor, block_size: int | None, class_names: Sequence[str] | None) -> Tensor:
    """Squared Bures distance of all pairs, shape ``(C, C)``."""
    classes, dims = covariance.shape[:2]
    value, vector = torch.linalg.eigh(covariance.double())
    # Float32 covariances of few examples have eigenvalues of about +-1e-7 instead of 0.
    negative = (value[:, 0] < -1e-6 * value.abs().amax(1)).nonzero().flatten().tolist()
    if negative:
        raise ValueError(
            'covariance must be positive semi-definite, got the eigenvalue '
            f'{value[negative[0], 0].item()} in {listed_classes(negative, class_names)}'
        )
    # As measured: rounding leaves below 1 eps of the given type, and eigh a few of float64.
    eps = max(2 * torch.finfo(covariance.dtype).eps, 16 * torch.finfo(value.dtype).eps)
    rank = max(int((value > eps * value[:, -1:]).sum(1).max()), 1)
    value, vector = value[:, -rank:].clamp(min=0), vector[..., -rank:]
    factor = vector * value[:, None].sqrt()

    first, second = torch.triu_indices(classes, classes, 1, device=value.device)
    block_size = block_size or max(_BLOCK_ELEMENTS // dims**2, 1)
    nuclear = [
        torch.linalg.svdvals(factor[one].mT @ factor[other]).sum(1)
        for one, other in zip(first.split(block_size), second.split(block_size))
    ]
    trace = value.sum(1)
    total = trace[first] + trace[second]
    pairs = total - 2 * torch.cat(nuclear)
    # The difference of equal covariances is rounding; make it 0, as it is for variances.
    pairs = torch.where(pairs > 1e-12 * total, pairs, torch.zeros_like(pairs))
    upper = value.new_zeros(classes, classes).index_put((first, second), pairs)
    return upper + upper.mT


def _check_moments(mean: Tensor, covariance: Tensor, class_names: Sequence[str] | None) -> None:
    if mean.dim() != 2 or mean.shape[0] < 2 or mean.shape[1] < 1:
        raise ValueError(
            f'mean must have a shape (C, D) with at least 2 classes, got {tuple(mean.shape)}'
        )
    classes, dims = mean.shape
    if covariance.shape not in ((classes, dims), (classes, dims, dims)):
        raise ValueError(
            f'covariance must have the shape {(classes, dims)} or {(classes, dims, dims)}, '
            f'got {tuple(covariance.shape)}'
        )
    for name, value in (('mean', mean), ('covariance', covariance)):
        _refuse(~torch.isfinite(value), f'{name} must be finite, got NaN or infinity', class_names)
    if covariance.dim() == 2:
        _refuse(covariance < 0, 'variances must not be negative, got one below 0', class_names)
        return
    largest = covariance.abs().amax((1, 2), keepdim=True)
    difference = (covariance - covariance.mT).abs()
    rule = 'covariance must be symmetric, got different entries'
    _refuse(difference > 1e-5 * largest, rule, class_names)


def _refuse(wrong: Tensor, rule: str, class_names: Sequence[str] | None) -> None:
    """Raise if an entry is wrong, with the names of its classes."""
    classes = wrong.flatten(1).any(1).nonzero().flatten().tolist()
    if classes:
        raise ValueError(f'{rule} in {listed_classes(classes, class_names)}')
