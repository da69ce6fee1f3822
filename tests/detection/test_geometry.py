"""Sizes of maps in batches of other sizes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wkd_det.detection.geometry import fitted_maps

STRIDES = [4, 8, 16, 32, 64]


def rounded(size, stride, down):
    return max(size // stride, 1) if down else -(-size // stride)


def maps_of(sizes, rounds_down):
    """A map per level, numbered by rows and columns; some levels are rounded down."""
    maps = []
    for stride, down in zip(STRIDES, rounds_down):
        height, width = (rounded(size, stride, down) for size in sizes)
        rows = torch.arange(height, dtype=torch.float32)[:, None] + 1
        maps.append((1000 * rows + torch.arange(width) + 1)[None, None])
    return maps


side = st.integers(33, 300)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    own=st.tuples(side, side),
    other=st.tuples(side, side),
    rounds_down=st.sampled_from(
        [[False] * 5, [False] * 4 + [True], [False, False, True, True, True]]
    ),
    known=st.booleans(),
)
def test_maps_are_those_of_a_batch_of_the_other_size(own, other, rounds_down, known):
    expected = maps_of(own, rounds_down)
    found = fitted_maps(maps_of(other, rounds_down), own, other, STRIDES if known else None)
    for map_, want, stride in zip(found, expected, STRIDES):
        # Where the stride divides the size or is larger, one cannot see which way it is rounded.
        slack = 1 if any(size % stride == 0 or size < stride for size in other) else 0
        if not known:
            slack = max(slack, *(2 if size < 2 * stride else slack for size in other))
        assert all(abs(a - b) <= slack for a, b in zip(map_.shape[-2:], want.shape[-2:])), (
            map_.shape,
            want.shape,
            stride,
        )
        height, width = (min(a, b) for a, b in zip(map_.shape[-2:], want.shape[-2:]))
        got, want = map_[..., :height, :width], want[..., :height, :width]
        assert ((got == want) | (got == 0)).all()  # 0 behind what was there


def test_the_same_size_returns_the_maps():
    maps = maps_of((96, 96), [False] * 5)
    found = fitted_maps(maps, (96, 96), (96, 96))
    assert all(a is b for a, b in zip(found, maps))


@pytest.mark.parametrize('known', [True, False])
def test_the_top_of_a_pyramid_that_rounds_down(known):
    """On 96 pixels a map of one pixel is of stride 64, rounded down, not of stride 128."""
    down = [False] * 4 + [True]
    found = fitted_maps(maps_of((96, 96), down), (320, 160), (96, 96), STRIDES if known else None)
    assert tuple(found[4].shape[-2:]) == (5, 2)
    up = fitted_maps(maps_of((96, 96), [False] * 5), (320, 160), (96, 96))
    assert tuple(up[4].shape[-2:]) == (5, 3)
