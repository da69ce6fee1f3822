"""Branches of OFA: their layers by stage, merged patches, precision, arguments."""

from __future__ import annotations

import re
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from wkd_det.classification.branches import OFABranch

Tokens = partial(OFABranch, of_tokens=True, grid=2)


def kernels(branch):
    return [
        (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0], m.groups)
        for m in branch.modules()
        if isinstance(m, nn.Conv2d)
    ]


# Layers


def test_a_block_for_each_later_stage():
    branch = OFABranch(8, 5, stage=1, num_stages=4, width=48)
    assert kernels(branch) == [
        (8, 8, 3, 2, 8), (8, 8, 1, 1, 1), (8, 8, 3, 1, 8), (8, 16, 1, 1, 1),
        (16, 16, 3, 2, 16), (16, 16, 1, 1, 1), (16, 16, 3, 1, 16), (16, 48, 1, 1, 1),
    ]  # fmt: skip
    assert sum(isinstance(m, nn.BatchNorm2d) for m in branch.modules()) == 4
    assert branch.classify.weight.shape == (5, 48)
    assert branch(torch.randn(2, 8, 8, 8)).shape == (2, 5)


def test_the_last_stage_has_a_1x1_convolution():
    branch = OFABranch(8, 5, stage=3, width=12)
    assert kernels(branch) == [(8, 12, 1, 1, 1)]
    maps = torch.randn(2, 8, 3, 3)
    conv = branch.layers[0].conv
    expected = branch.classify(F.conv2d(maps, conv.weight, conv.bias).mean(dim=(2, 3)))
    assert_close(branch(maps), expected)


def test_widths_double_by_default():
    assert [OFABranch(8 * 2**i, 5, stage=i).classify.in_features for i in range(4)] == [64] * 4
    assert Tokens(8, 5, student_size=(4, 4)).classify.in_features == 8


@pytest.mark.parametrize(
    ('size', 'activated'), [(2, []), (4, [True]), (8, [True, False]), (16, [True, True, False])]
)
def test_patches_are_merged_until_the_grid(size, activated):
    branch = Tokens(8, 5, student_size=(size, size), stage=1)
    assert [one.activate for one in branch.layers if hasattr(one, 'activate')] == activated
    assert len(branch.layers) == len(activated) + 2
    assert branch(torch.randn(3, 8, size, size)).shape == (3, 5)
    assert len(Tokens(8, 5, student_size=(2, 2), stage=3).layers) == 1


def test_merging_takes_neighbours():
    """A map that is constant in 2 x 2 cells gives the same as its cells one by one."""
    merging = Tokens(4, 5, student_size=(4, 4), width=8).layers[0]
    cells = torch.randn(1, 4, 2, 2)
    merged = merging(cells.repeat_interleave(2, 2).repeat_interleave(2, 3))
    for row, column in ((0, 1), (1, 0)):
        cell = cells[:, :, row, column, None, None].expand(1, 4, 2, 2)
        assert_close(merging(cell)[0, :, 0, 0], merged[0, :, row, column])


# Training


@pytest.mark.parametrize('of_tokens', [False, True])
def test_every_weight_learns_in_half_precision(of_tokens):
    branch = OFABranch(8, 5, student_size=(4, 4), stage=2, of_tokens=of_tokens, grid=2, width=12)
    maps = torch.randn(3, 8, 4, 4, requires_grad=True)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        logits = branch(maps)
    F.cross_entropy(logits.float(), torch.arange(3)).backward()
    assert all(p.grad.isfinite().all() for p in branch.parameters())
    assert all(p.grad.any() for p in branch.layers.parameters() if p.dim() > 1)
    assert maps.grad.any()


@pytest.mark.parametrize('size', [1, 2, 4])
def test_a_single_image(size):
    branch = OFABranch(8, 5, stage=1)
    assert branch(torch.randn(1, 8, size, size)).shape == (1, 5)
    assert all(module.training for module in branch.modules())


# Errors


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: OFABranch(8, 5, stage=4), 'stage must be below num_stages, got 4 and 4'),
        (lambda: OFABranch(8, 5, width=0), 'width must be an integer of at least 1, got 0'),
        (
            lambda: Tokens(8, 5),
            'a branch of tokens needs the size of the map: student_size is not known',
        ),
        (
            lambda: Tokens(8, 5, student_size=(5, 5)),
            'the way to grid=2 divides the sides of the map by 2, got 5 x 5',
        ),
        (
            lambda: Tokens(8, 5, student_size=(2, 2), width=12),
            'width must be that of the map, 8, where no patches are merged, got 12',
        ),
        (
            lambda: Tokens(8, 5, student_size=(4, 4), width=6),
            'width must be a multiple of 4, got 6',
        ),
    ],
)
def test_refused_arguments(build, message):
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        build()
