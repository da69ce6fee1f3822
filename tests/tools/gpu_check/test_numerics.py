"""Every loss in every precision at small sizes, and what is noted where one is wrong."""

import pytest
import torch
from torch import nn

from gpu_check import numerics
from gpu_check.measuring import Meter
from gpu_check.notes import Notes
from gpu_check.samples import SIZES, TINY, DrawnOnCPU, Sample, samples, value_and_gradient
from precision import AUTOCAST
from wkd_det import registry

CPU = torch.device('cpu')
ROUNDING = dict(float16=1e-3, bfloat16=8e-3)
"""Of a gradient in that type: a few units in the last place, 2^-11 and 2^-8."""


def checked(monkeypatch, **made):
    """What is found out about losses of one map."""
    found = {
        name: lambda loss=loss: Sample(loss, dict(student=torch.tensor([3.0, 4.0])))
        for name, loss in made.items()
    }
    monkeypatch.setattr(numerics, 'samples', lambda sizes: found)
    notes = Notes()
    numerics.check_numerics(notes, Meter(CPU, brief=True))
    return notes.found['losses']


@pytest.mark.parametrize('sizes', [TINY, SIZES], ids=['tiny', 'whole'])
def test_no_loss_is_missing(sizes):
    assert {name.split()[0] for name in samples(sizes)} == set(registry.LOSSES)


@pytest.mark.parametrize('name', samples(TINY))
def test_every_loss_in_every_precision(name):
    sample = samples(TINY)[name]()
    exact = value_and_gradient(sample, CPU, torch.float64)
    assert exact[1].any()
    for mode in ('float32', 'deterministic'):
        found = numerics._compared(mode, sample, exact, CPU)
        assert max(found['value'], found['gradient']) < 1e-5
    assert found['same_bits']
    for dtype in AUTOCAST:
        mode = str(dtype).removeprefix('torch.')
        assert numerics._compared(mode, sample, exact, CPU)['gradient'] < ROUNDING[mode]


def test_values_of_networks_are_the_same_in_all_precisions():
    inputs = samples(TINY)['KDLoss']().inputs
    for tensor in inputs.values():
        assert torch.equal(tensor, tensor.bfloat16().float())
        assert torch.equal(tensor, tensor.half().float())


def test_samples_do_not_depend_on_each_other():
    first, second = (samples(TINY)['WKDLogitLoss']().inputs for _ in range(2))
    samples(TINY)['KDLoss']()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_errors_are_relative(monkeypatch):
    def rounded(student):
        # 5 % of the value are lost in float32; the gradient, 2 * student, is exact.
        value = student.square().sum()
        return value if value.dtype == torch.float64 else value - value.detach() / 20

    modes = checked(monkeypatch, one=rounded)['one']
    assert modes['float32']['value'] == pytest.approx(0.05)
    assert modes['float32']['gradient'] == 0
    assert modes['deterministic']['same_bits'] is True


def test_what_is_not_finite_and_what_raises_is_noted(monkeypatch):
    def overflowing(student):
        return student.sum() * 1e38 * (1e200 if student.dtype == torch.float64 else 10)

    def without_bfloat16(student):
        if student.dtype == torch.bfloat16:
            raise RuntimeError('not implemented for BFloat16')
        return student.square().sum()

    def broken(student):
        raise ValueError('no such loss')

    found = checked(monkeypatch, inf=overflowing, half=without_bfloat16, broken=broken)
    assert found['inf']['float32']['value'] is None
    assert found['half']['bfloat16'] == dict(error='RuntimeError: not implemented for BFloat16')
    assert found['half']['float32']['value'] == 0
    assert found['broken'] == dict(error='ValueError: no such loss')


def test_other_bits_are_seen(monkeypatch):
    calls = []

    def drifting(student):
        calls.append(student)
        return student.sum() * (1 + 1e-3 * len(calls))

    assert checked(monkeypatch, one=drifting)['one']['deterministic']['same_bits'] is False


def test_settings_are_those_of_before(monkeypatch):
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.allow_tf32

    def broken(student):
        if student.dtype != torch.float64:
            raise ValueError('stop')
        return student.sum()

    checked(monkeypatch, one=broken)
    assert before == (
        torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.allow_tf32,
    )  # fmt: skip


def test_numbers_are_drawn_alike_in_all_types():
    def drawn(like):
        with DrawnOnCPU():
            return [
                torch.rand(2, 3, dtype=like.dtype, device=like.device),
                torch.randn_like(like),
                torch.randint(5, (4,)),
                torch.rand_like(like),
            ]

    single, double = (drawn(torch.ones(3, dtype=dtype)) for dtype in (torch.float32, torch.float64))
    assert [one.dtype for one in double] == [torch.float64] * 2 + [torch.int64, torch.float64]
    assert all(torch.equal(one, other.to(one)) for one, other in zip(single, double))
    assert not torch.equal(single[1], drawn(torch.ones(3))[3])


def test_a_loss_with_weights_gets_them_in_its_type():
    layer = nn.Linear(2, 1)
    sample = Sample(lambda student, head: head(student).sum(), dict(
        student=torch.ones(3, 2), head=layer,
    ))  # fmt: skip
    value, gradient = value_and_gradient(sample, CPU, torch.float64)
    weight = layer.weight.double().detach()
    assert torch.equal(gradient, weight.expand(3, 2).flatten())
    assert value.item() == pytest.approx(3 * (weight.sum() + layer.bias.double()).item())
    assert layer.weight.dtype == torch.float32
