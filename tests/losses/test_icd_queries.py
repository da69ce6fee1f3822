"""Queries of ICD: true and invented instances, and their codes."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from wkd_det.losses.icd_queries import InstanceEncoder, Instances, InstanceSampler


def test_true_instances_come_first_and_invented_ones_follow():
    sampler = InstanceSampler(4, ratio=5.0, limit=10, jitter=0.3)
    boxes = [torch.tensor([[16.0, 8, 32, 24]]), torch.zeros(0, 4)]
    labels = [torch.tensor([3]), torch.zeros(0, dtype=torch.long)]
    got = sampler(boxes, labels, [(64, 32), (64, 64)])
    assert got.true.tolist() == [[1, 0, 0, 0, 0, 0], [0] * 6]
    assert got.valid.tolist() == [[1] * 6, [1, 0, 0, 0, 0, 0]]
    assert got.labels[0, 0] == 3
    assert got.extents[0, 0].tolist() == [16, 16]
    left, top, right, bottom = got.sides[0, 0].tolist()
    assert left + right == pytest.approx(0.5)
    assert top + bottom == pytest.approx(0.25)
    # Half a box, and at most 0.3 of it away from the centre.
    assert abs(left - right) <= 2 * 0.3 * 0.5
    assert abs(top - bottom) <= 2 * 0.3 * 0.25
    inside = torch.cat([got.points - got.sides[..., :2], got.points + got.sides[..., 2:]], 2)
    assert inside.min() >= -1e-6
    assert inside.max() <= 1 + 1e-6


def test_the_limit_leaves_no_object_out():
    sampler = InstanceSampler(4, ratio=5.0, limit=3, jitter=0.0)
    for count, total in ((1, 3), (5, 5)):
        boxes = torch.tensor([[0.0, 0, 8, 8]]).repeat(count, 1)
        got = sampler([boxes], [torch.zeros(count, dtype=torch.long)], [(64, 64)])
        assert got.valid.sum() == total
        assert got.true.sum() == count
        assert_close(got.points[0, 0], torch.tensor([4 / 64, 4 / 64]))  # no jitter


def test_a_query_knows_class_place_and_octave():
    encoder = InstanceEncoder(num_classes=3, width=8)
    seen = []
    encoder.layers.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    ones = torch.ones(1, 1)
    for extent, octave in ((0.0, 0), (63, 0), (64, 1), (128, 2), (500, 3), (5000, 4)):
        encoder(
            Instances(
                labels=torch.tensor([[2]]),
                points=torch.tensor([[[0.25, 0.5]]]),
                extents=torch.tensor([[[extent, 40.0]]]),
                sides=torch.zeros(1, 1, 4),
                valid=ones,
                true=ones,
            )
        )
        row = seen[-1][0, 0]
        assert row[:3].tolist() == [0, 0, 1]
        assert row[3] == pytest.approx(1)  # sin(2 pi / 4)
        assert row[3 + 64] == pytest.approx(0, abs=1e-6)  # its cosine
        assert row[3 + 128] == pytest.approx(0, abs=1e-6)  # sin(2 pi / 2)
        assert row[-10:-5].argmax() == octave
        assert row[-10:].sum() == 2
