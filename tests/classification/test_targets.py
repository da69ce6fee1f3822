"""Targets: what a batch carries with its labels, and labels that are no distributions."""

import re

import pytest
import torch

from wkd_det.classification.targets import Targets, check_soft_labels


def test_plain_labels_are_targets_without_anything_else():
    labels = torch.tensor([2, 0])
    targets = Targets.of(labels)
    assert targets.labels is labels
    assert (targets.indices, targets.labelled, targets.strong) == (None, None, None)
    assert not targets.are_soft
    assert Targets.of(targets) is targets
    assert Targets.of(torch.ones(2, 1)).are_soft


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.float16])
def test_distributions_of_any_precision_pass(dtype):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randn(4, 1000, generator=generator).softmax(dim=1).to(dtype)
    check_soft_labels(labels, 1000)
    check_soft_labels(labels, None)


@pytest.mark.parametrize(
    ('labels', 'message'),
    [
        (
            [[0.5, 0.5]],
            'soft labels must have the shape (N, 3), one probability per class of the network, got '
            '(1, 2)',
        ),
        (
            [[0.0, 0.0, 1.0], [0.5, 0.5, 0.5]],
            'soft labels must be probabilities that sum to 1 for each image, got values from 0.5 '
            'with the sum 1.5 (image 1 of the batch)',
        ),
        (
            [[-0.5, 0.5, 1.0]],
            'soft labels must be probabilities that sum to 1 for each image, got values from -0.5 '
            'with the sum 1 (image 0 of the batch)',
        ),
        (
            [[float('nan'), 0.5, 0.5]],
            'soft labels must be probabilities that sum to 1 for each image, got values from nan '
            'with the sum nan (image 0 of the batch)',
        ),
    ],
)
def test_labels_that_are_no_distributions(labels, message):
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        check_soft_labels(torch.tensor(labels), 3)
