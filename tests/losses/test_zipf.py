"""Zipf's label smoothing: ranks and votes by hand, its authors' numbers, the module."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from golden import check, golden
from wkd_det.functional import zipf_distribution, zipf_loss
from wkd_det.losses import ZipfLoss

EXACT = dict(rtol=1e-12, atol=0)


def test_ranks_by_hand():
    """Equal classes share the best rank; the target is left out after ranking."""
    scores = torch.tensor([[5.0, 9.0, 5.0, 0.0, 0.0]], dtype=torch.float64)
    for target, law in ((0, [1, 1 / 2, 1 / 4, 1 / 4]), (1, [1 / 2, 1 / 2, 1 / 4, 1 / 4])):
        law = torch.tensor([law], dtype=torch.float64)
        found = zipf_distribution(scores, torch.tensor([target]))
        assert_close(found, law / law.sum(), **EXACT)
    flat = zipf_distribution(scores, torch.tensor([1]), power=0.0)
    assert torch.equal(flat, torch.full((1, 4), 0.25, dtype=torch.float64))


@pytest.mark.parametrize('case', ['zipf/dense', 'zipf/own_logits', 'zipf/dense_masked'])
def test_reference(case):
    shared, fields = golden('logits'), golden(case)
    student = fields.get('student', shared['student']).requires_grad_()
    target, votes = shared['label'], fields.get('votes')
    loss = zipf_loss(
        student, target, votes, power=fields['power'], mask=case == 'zipf/dense_masked'
    )
    check(case, loss, student=student)
    if 'target' in fields:
        counts = torch.nn.functional.one_hot(votes, 10).sum(dim=1).double()
        assert_close(zipf_distribution(counts, target), fields['target'], **EXACT)


def test_masked_samples_do_not_count():
    shared = golden('logits')
    student, votes = shared['student'], golden('zipf/dense')['votes']
    right = student.argmax(dim=1)
    wrong = torch.where(torch.arange(6) < 2, right, (right + 1) % 10)
    value = zipf_loss(student, wrong, votes, mask=True)
    assert_close(value, zipf_loss(student[:2], right[:2], votes[:2]), **EXACT)
    nothing = zipf_loss(student.requires_grad_(), (right + 1) % 10, votes, mask=True)
    assert nothing.item() == 0
    nothing.backward()


def head(inputs=3, classes=5):
    torch.manual_seed(0)
    return nn.Linear(inputs, classes)


def given(**changed):
    torch.manual_seed(1)
    return dict(
        student=torch.randn(4, 3, 2, 2),
        target=torch.tensor([0, 4, 2, 2]),
        student_logits=torch.randn(4, 5, requires_grad=True),
        student_head=head(),
        **changed,
    )


@pytest.mark.parametrize('upsample', [1, 2])
def test_pixels_vote_by_the_last_layer(upsample):
    arguments = given()
    features = arguments['student']
    if upsample > 1:
        features = nn.functional.interpolate(features, scale_factor=2, mode='bilinear')
    votes = torch.stack(
        [head()(features[:, :, row, column]).argmax(dim=1)
         for row in range(2 * upsample) for column in range(2 * upsample)], dim=1,
    )  # fmt: skip
    loss = ZipfLoss(upsample=upsample, loss_weight=0.5)
    expected = 0.5 * zipf_loss(arguments['student_logits'], arguments['target'], votes)
    assert_close(loss(**arguments), expected)


def test_the_map_and_the_last_layer_get_no_gradient():
    arguments = given()
    arguments['student'].requires_grad_()
    ZipfLoss()(**arguments).backward()
    assert arguments['student'].grad is None
    assert all(p.grad is None for p in arguments['student_head'].parameters())
    assert arguments['student_logits'].grad.any()


def test_own_logits_rank_without_the_map():
    arguments = given()
    expected = 0.1 * zipf_loss(arguments['student_logits'], arguments['target'])
    loss = ZipfLoss(own_logits=True)
    assert torch.equal(loss(**arguments | dict(student=None, student_head=None)), expected)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
def test_maps_of_mixed_precision(dtype):
    arguments = given()
    arguments['student'] = arguments['student'].to(dtype)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = ZipfLoss()(**arguments)
    assert value.dtype == torch.float32
    assert torch.equal(value, ZipfLoss()(**arguments))


def test_it_says_what_it_needs():
    assert ZipfLoss.takes == 'features'
    assert ZipfLoss.needs == ('target', 'student_logits', 'student_head')
    assert not ZipfLoss.needs_teacher


@pytest.mark.parametrize(
    ('votes', 'message'),
    [
        (torch.zeros(6, dtype=torch.long), r'votes must have the shape \(6, P\), got \(6,\)'),
        (torch.zeros(5, 2, dtype=torch.long), r'votes must have the shape \(6, P\), got \(5, 2\)'),
        (torch.zeros(6, 2), 'votes must hold integers, got torch.float32'),
        (torch.full((6, 2), 10), r'votes must lie in \[0, 10\), got values from 10 to 10'),
    ],
)
def test_votes_that_do_not_fit(votes, message):
    shared = golden('logits')
    with pytest.raises(ValueError, match=f'^{message}$'):
        zipf_loss(shared['student'], shared['label'], votes)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(upsample=0), 'upsample must be an integer of at least 1, got 0'),
        (dict(power=-1), 'power must not be negative, got -1'),
    ],
)
def test_numbers_outside_their_range(options, message):
    with pytest.raises(ValueError, match=f'^{message}$'):
        ZipfLoss(**options)
