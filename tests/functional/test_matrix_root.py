"""Square roots of symmetric matrices: scipy, equal and zero eigenvalues, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from torch.testing import assert_close

from wkd_det.ops.divergences import matrix_root


def matrices(count=3, size=4, rank=9, seed=0):
    data = torch.randn(count, size, rank, generator=torch.Generator().manual_seed(seed)).double()
    return data @ data.mT


def test_root_of_scipy():
    expected = np.stack([scipy.linalg.sqrtm(matrix.numpy()).real for matrix in matrices()])
    assert_close(matrix_root(matrices()), torch.from_numpy(expected), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('rank', [1, 4, 9])
def test_its_square_is_the_matrix(rank):
    root = matrix_root(matrices(rank=rank))
    assert_close(root @ root, matrices(rank=rank), rtol=1e-10, atol=1e-10)
    assert_close(root, root.mT, rtol=1e-10, atol=1e-10)


def test_gradcheck():
    def function(data):
        return matrix_root(data @ data.mT)

    data = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)).double()
    assert torch.autograd.gradcheck(function, (data.requires_grad_(),))


def test_gradient_of_equal_eigenvalues():
    """At c I the root moves as the matrix, divided by 2 sqrt(c)."""
    matrix = (4 * torch.eye(3)).double().requires_grad_()
    direction = matrices(1, 3)[0]
    (grad,) = torch.autograd.grad((matrix_root(matrix) * direction).sum(), matrix)
    assert_close(grad, direction / 4, rtol=1e-12, atol=1e-12)


def test_gradient_of_singular_matrices_is_finite():
    for matrix in (torch.zeros(2, 3, 3).double(), matrices(rank=1)):
        matrix.requires_grad_()
        matrix_root(matrix).sum().backward()
        assert torch.isfinite(matrix.grad).all()
