"""Two maps of one level, cut to what both have."""

import pytest
import torch

from wkd_det.distillation.tap import common_part, cut_pair


@pytest.mark.parametrize(
    ('own', 'other', 'common'),
    [
        ((2, 2), (1, 1), (1, 1)),
        ((7, 5), (6, 6), (6, 5)),
        ((7, 5), (7, 6), (7, 5)),
        ((4, 9), (4, 9), (4, 9)),
    ],
)
def test_maps_are_cut_below_and_to_the_right(own, other, common):
    maps = [torch.rand(2, channels, *size) for channels, size in ((3, own), (4, other))]
    for found, full in zip(common_part(*maps), maps):
        assert torch.equal(found, full[..., : common[0], : common[1]])
    if own == other:
        assert common_part(*maps)[0] is maps[0]


@pytest.mark.parametrize('other', [(2, 5), (4, 7), (8, 10)])
def test_maps_that_differ_by_more_are_left_alone(other):
    maps = torch.rand(1, 3, 4, 5), torch.rand(1, 3, *other)
    assert all(found is full for found, full in zip(common_part(*maps), maps))


@pytest.mark.parametrize('other', [(6, 6), (7, 5), (4, 9)])
def test_a_mask_is_cut_like_the_map_that_it_belongs_to(other):
    own, target = torch.rand(2, 3, 7, 5), torch.rand(2, 4, *other)
    mask = torch.rand(2, *other) > 0.5
    *maps, cut = cut_pair(own, target, mask)
    assert all(torch.equal(a, b) for a, b in zip(maps, common_part(own, target)))
    assert torch.equal(cut, mask[:, : maps[1].shape[2], : maps[1].shape[3]])
    assert cut_pair(own, target, None)[2] is None
