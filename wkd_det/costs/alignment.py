"""CKA: centred kernel alignment between the feature sets of classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wkd_det.costs.matrix import listed_classes
from wkd_det.ops.arithmetic import promote, without_autocast
from wkd_det.ops.checks import check_choice, check_integers, check_positive

KERNELS = ('linear', 'polynomial', 'rbf')
_BLOCK_ELEMENTS = 2**25  # Gram entries held at once by default: 128 MB in float32


def cka(
    features: Tensor,
    *,
    kernel: str = 'linear',
    degree: int = 2,
    bandwidth: float = 0.4,
    block_size: int | None = None,
    class_names: Sequence[str] | None = None,
) -> Tensor:
    r"""Centred kernel alignment between the feature sets of all classes.

    .. math::
        IR_{ij} = \frac{\langle \bar K_i, \bar K_j \rangle_F}
                       {\lVert \bar K_i \rVert_F \, \lVert \bar K_j \rVert_F}, \qquad
        \bar K_i = H K_i H, \quad H = I - \tfrac{1}{b} 1 1^T

    with the Gram matrix :math:`K_i` of the ``b`` examples of class ``i`` (:math:`x, y` are two
    of them, :math:`D` holds the squared distances between all):

    - ``'linear'``: :math:`x^T y`;
    - ``'polynomial'``: :math:`(x^T y + 1)^{degree}`;
    - ``'rbf'``: :math:`\exp(-D / (2 \, bandwidth^2 \, median(D)))`.

    Convention:
        - Example ``n`` of one class is compared with example ``n`` of every other: the result
          depends on the order of the examples. Where that order is arbitrary, so is most of the
          result, and its off-diagonal entries are nearly constant; see
          :func:`~wkd_det.costs.structure.structure_report`.
        - The median runs over all ``b * b`` distances, the zeros of the diagonal included, and
          is the lower of the two middle values (as in the reference implementation).
        - Linear and RBF alignment ignore shifts and scales of a class; polynomial does not.

    Numerics:
        The Gram matrices are walked in blocks of rows, all classes at once, and their products
        are added up in float64: the work is ``C b^2 (C + D)``, half of it saved by symmetry; the
        memory in addition to the features is twice ``C * block_size * b`` numbers, for the two
        non-linear kernels also ``b * b`` of a class. With autograd on, every block is kept.
        The polynomial kernel loses ``(mean / spread)^2`` of the precision of ``features``: pass
        float64 where the mean of a class dwarfs its spread.

    Args:
        features: Shape ``(C, b, D)``: ``b >= 2`` examples of each class; any floating type,
            computed in at least float32.
        kernel: ``'linear'``, ``'polynomial'`` or ``'rbf'``.
        degree: Exponent of the polynomial kernel, >= 1.
        bandwidth: Width of the RBF kernel in units of the median distance, > 0.
        block_size: Rows of the Gram matrices per block; by default so many that a block has
            2^25 numbers. It changes only memory and rounding.
        class_names: ``C`` names that errors give instead of indices.

    Returns:
        Shape ``(C, C)``, in [0, 1], symmetric, 1 on the diagonal.

    Raises:
        ValueError: If the shape or an option is wrong, if a feature is not finite, if a class
            does not vary over its examples (its alignment is 0 / 0), or if, for the RBF kernel,
            the median distance of a class is 0. The message names the classes.

    References: Kornblith, Norouzi, Lee, Hinton, Similarity of Neural Network Representations
        Revisited, ICML 2019.

    Example:
        >>> one = torch.tensor([[-1.0], [0.0], [1.0]])
        >>> other = torch.tensor([[1.0], [-2.0], [1.0]])  # orthogonal to the first
        >>> cka(torch.stack([one, 3 * one + 5, other]))
        tensor([[1., 1., 0.],
                [1., 1., 0.],
                [0., 0., 1.]])
    """
    _check_options(features, kernel, degree, bandwidth, block_size)
    classes, examples, dims = features.shape
    if block_size is None:
        block_size = max(_BLOCK_ELEMENTS // (classes * examples), 1)
    with without_autocast(features):
        (features,) = promote(features)
        # Classes per step: their normalised features, or Gram matrices, fill about a block.
        width = dims if kernel == 'linear' else max(dims, examples)
        step = max(classes * block_size // width, 1)
        blocks = [
            _GramBlock(part, first, kernel=kernel, degree=degree, bandwidth=bandwidth)
            for first, part in zip(range(0, classes, step), features.split(step))
        ]
        _refuse(blocks, class_names)
        product = features.new_zeros(classes, classes, dtype=torch.float64)
        for start in range(0, examples, block_size):
            rows, after = slice(start, start + block_size), slice(start + block_size, None)
            inside = torch.cat([block.piece(rows, rows) for block in blocks]).flatten(1)
            product = product + (inside @ inside.mT).double()
            if start + block_size < examples:
                beyond = torch.cat([block.piece(rows, after) for block in blocks]).flatten(1)
                product = product + 2 * (beyond @ beyond.mT).double()  # and below the diagonal
        return _normalise(product, class_names).to(features)


class _GramBlock:
    """Centred Gram matrices ``H K H`` of some classes, computed in pieces, never held as a whole.

    Figures of the whole matrix that every piece needs (shift, size, median distance, row means)
    are computed once, here. Classes without them are listed, and then nothing is computed.

    Args:
        features: Shape ``(classes, examples, dims)``.
        first: Index of the first of these classes among all.
        kernel: One of :data:`KERNELS`.
        degree: Exponent of the polynomial kernel.
        bandwidth: Width of the RBF kernel.
    """

    def __init__(
        self, features: Tensor, first: int, *, kernel: str, degree: int, bandwidth: float
    ) -> None:
        self.features = features
        self.kernel = kernel
        self.degree = degree
        self.row_mean: Tensor | None = None
        values = features.detach()
        eps = torch.finfo(values.dtype).eps
        least, largest = values.amin(1), values.amax(1)
        rounding = 8 * eps * torch.maximum(least.abs(), largest.abs())
        self.infinite = _indices(~torch.isfinite(largest - least).all(1), first)
        self.constant = _indices((largest - least <= rounding).all(1), first)
        self.coincident: list[int] = []
        if self.infinite or self.constant:
            return

        # Alignment ignores the size of a Gram matrix; scaled to about 1, powers do not overflow.
        if kernel == 'polynomial':
            self.size = values.square().sum(2).amax(1)[:, None, None] + 1
            self.row_mean = self._entries(slice(None), slice(None)).mean(2, keepdim=True)
            return
        self.shift = features.mean(1, keepdim=True)
        self.size = (values - self.shift.detach()).square().sum(2).mean(1).sqrt()[:, None, None]
        if kernel == 'rbf':
            median = self._squared_distance(slice(None), slice(None)).flatten(1).median(1).values
            # The mean squared length is 1 now, and a distance of 0 comes out as its rounding.
            self.coincident = _indices(median <= 16 * eps, first)
            if not self.coincident:
                self.width = 2 * bandwidth**2 * median[:, None, None]
                self.row_mean = self._entries(slice(None), slice(None)).mean(2, keepdim=True)

    def piece(self, rows: slice, columns: slice) -> Tensor:
        """Rows and columns of the centred matrices, shape ``(classes, rows, columns)``."""
        entries = self._entries(rows, columns)
        if self.row_mean is None:  # the linear kernel of centred features is centred
            return entries
        mean = self.row_mean.mean(1, keepdim=True)
        return entries - (self.row_mean[:, rows] - mean) - self.row_mean[:, columns].mT

    def _entries(self, rows: slice, columns: slice) -> Tensor:
        if self.kernel == 'rbf':
            return (-self._squared_distance(rows, columns) / self.width).exp()
        if self.kernel == 'polynomial':
            inner = self.features[:, rows] @ self.features[:, columns].mT
            return ((inner + 1) / self.size) ** self.degree
        return self._normalised(rows) @ self._normalised(columns).mT

    def _squared_distance(self, rows: slice, columns: slice) -> Tensor:
        left, right = self._normalised(rows), self._normalised(columns)
        lengths = left.square().sum(2)[:, :, None] + right.square().sum(2)[:, None]
        return (lengths - 2 * left @ right.mT).clamp(min=0)

    def _normalised(self, rows: slice) -> Tensor:
        return (self.features[:, rows] - self.shift) / self.size


def _indices(wrong: Tensor, first: int) -> list[int]:
    return (wrong.nonzero().flatten() + first).tolist()


def _normalise(product: Tensor, class_names: Sequence[str] | None) -> Tensor:
    """Turn inner products of Gram matrices into alignments."""
    norm = product.diagonal().sqrt()
    vanished = (~(norm > 0)).nonzero().flatten().tolist()
    if vanished:
        raise ValueError(
            'the kernel does not vary in the precision of features, pass float64 or centre them; '
            f'got {listed_classes(vanished, class_names)}'
        )
    alignment = product / norm[:, None] / norm
    alignment = ((alignment + alignment.mT) / 2).clamp(0, 1)
    same = torch.eye(len(product), dtype=torch.bool, device=product.device)
    return alignment.masked_fill(same, 1)


def _refuse(blocks: list[_GramBlock], class_names: Sequence[str] | None) -> None:
    """Raise if a class of any block has no alignment; name all such classes."""
    rules = {
        'infinite': 'features must be finite, got NaN or infinity in',
        'constant': 'features must vary over the examples of a class, got constant ones in',
        'coincident': 'the RBF kernel needs a median distance above 0, half of the pairs of '
        'examples coincide in',
    }
    for attribute, rule in rules.items():
        classes = [index for block in blocks for index in getattr(block, attribute)]
        if classes:
            raise ValueError(f'{rule} {listed_classes(classes, class_names)}')


def _check_options(
    features: Tensor, kernel: str, degree: int, bandwidth: float, block_size: int | None
) -> None:
    if features.dim() != 3 or 0 in features.shape:
        raise ValueError(
            f'features must have a shape (classes, examples, dims), got {tuple(features.shape)}'
        )
    if not features.is_floating_point():
        raise ValueError(f'features must be of a floating type, got {features.dtype}')
    if features.shape[1] < 2:
        raise ValueError(f'CKA needs at least 2 examples per class, got {features.shape[1]}')
    check_choice(KERNELS, kernel=kernel)
    check_integers(degree=degree)
    check_positive(bandwidth=bandwidth)
    if block_size is not None:
        check_integers(block_size=block_size)
