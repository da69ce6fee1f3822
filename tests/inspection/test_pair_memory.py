"""What autograd keeps of a term, counted: closed forms."""

from __future__ import annotations

import torch
from torch import nn

from wkd_det.inspection.pairs.kept import KeptMemory

FLOATS = 4 * 1000


class Term(nn.Module):
    """Its parts are functions of a tensor."""

    def __init__(self, read, forward):
        super().__init__()
        self.parts = read, forward

    def read(self, value):
        return self.parts[0](value)

    def forward(self, value):
        """The second part."""
        return self.parts[1](value)


class Model(nn.Module):
    """Computes its own pass, and the terms on its result."""

    def __init__(self, **terms):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1000))
        self.terms = nn.ModuleDict(terms)

    def loss(self):
        own = (self.weight * 2).exp()  # keeps its result
        return [term(term.read(own)) for term in self.terms.values()]


def count(**terms):
    model = Model(**terms)
    kept = KeptMemory(model)
    with kept.counting(model):
        model.loss()
    assert 'forward' not in vars(next(iter(model.terms.values())))
    return kept


def test_each_storage_counts_once_for_the_first_that_keeps_it():
    kept = count(
        loss_a=Term(lambda own: own, lambda own: own.exp()),  # a result of its own
        loss_b=Term(lambda own: own, lambda own: own.square()),  # keeps the student's result
        loss_c=Term(lambda own: own.sin(), lambda sin: sin.exp()),  # sin keeps what it is given
    )
    assert kept.student == FLOATS
    assert kept.terms == dict(loss_a=FLOATS, loss_b=0, loss_c=FLOATS)


def test_weights_do_not_count_and_the_backward_pass_still_works():
    model = Model(loss_a=Term(lambda own: own, lambda own: own.exp().sum()))
    kept = KeptMemory(model)
    with kept.counting(model):
        (total,) = model.loss()
        total.backward()
    expected = torch.autograd.functional.jacobian(
        lambda weight: (weight * 2).exp().exp().sum(), torch.ones(1000)
    )
    torch.testing.assert_close(model.weight.grad, expected)
    assert kept.student == FLOATS
