"""Who takes fused kernels: GPUs where they are asked for, with arguments that they know."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from wkd_det.losses.wkd_feature import feature_distribution_loss
from wkd_det.losses.wkd_logit import wkd_logit_loss
from wkd_det.ops.fused import switch
from wkd_det.ops.fused.switch import fused_kernels, read_switch, takes_fused

ROOT = Path(__file__).parents[3]


@pytest.fixture
def kernels(monkeypatch):
    """Kernels for any device, in whose place stand functions that note that they were called."""
    calls = []

    def fused_wkd_logit(student, teacher, cost, target, **options):
        calls.append((student.dtype, teacher.requires_grad, options))
        return student.float().sum(dim=1) * 0

    def fused_moments(maps, grid, unbiased):
        calls.append((maps.dtype, grid, unbiased))
        sums = maps.float().sum(dim=(2, 3))[..., None].expand(-1, -1, grid * grid)
        return sums, sums * 0

    for name, function in (('logit_transport', fused_wkd_logit), ('moments', fused_moments)):
        module = SimpleNamespace(**{function.__name__: function})
        monkeypatch.setitem(sys.modules, f'wkd_det.ops.fused.{name}', module)
    monkeypatch.setattr(switch, 'has_kernels', lambda device: True)
    monkeypatch.setattr(switch, '_has_triton', True)
    with fused_kernels(True):
        yield calls


def logits(classes=3, dtype=torch.float32, **options):
    maps = torch.zeros(2, classes, dtype=dtype, requires_grad=True)
    cost = options.pop('cost', 1 - torch.eye(classes))
    options = dict(dict(temperature=1.0), **options)
    return wkd_logit_loss(maps, maps.detach(), cost, torch.tensor([0, 1]), **options)


def maps(dtype=torch.float32, **options):
    features = torch.randn(2, 3, 4, 4).to(dtype)
    return feature_distribution_loss(features, features, **options)


@pytest.mark.parametrize(('value', 'asked'), [('1', True), ('0', False), (None, False)])
def test_values_of_the_variable(value, asked):
    assert read_switch(value) is asked


@pytest.mark.parametrize('value', ['', 'yes', '2'])
def test_any_other_value_is_an_error(value):
    with pytest.raises(ValueError, match=f"^WKD_DET_FUSED must be 0 or 1, got '{value}'$"):
        read_switch(value)


def test_the_variable_is_read_when_the_package_is_and_the_kernels_are_not():
    program = (
        'from wkd_det.losses import wkd_feature, wkd_logit; from wkd_det.ops.fused import switch; '
        "import sys; print(switch._asked, 'wkd_det.ops.fused.moments' in sys.modules)"
    )
    environment = dict(os.environ, PYTHONPATH=str(ROOT), WKD_DET_FUSED='1')
    command = [sys.executable, '-c', program]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.stdout == 'True False\n', run.stderr


def test_plain_pytorch_is_the_default():
    assert os.environ.get('WKD_DET_FUSED') != '1'
    assert not switch._asked


def test_the_block_ends_with_what_was_before():
    with fused_kernels(True):
        with fused_kernels(False):
            assert not switch._asked
        assert switch._asked
    assert not switch._asked


def test_the_block_ends_after_an_error_too():
    def fails():
        with fused_kernels(True):
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert not switch._asked


@pytest.mark.parametrize(
    ('device', 'hip', 'capability', 'expected'),
    [
        ('cpu', None, (9, 0), False),
        ('meta', None, (9, 0), False),
        ('cuda', None, (7, 5), False),
        ('cuda', '6.0', (9, 0), False),
        ('cuda', None, (8, 0), True),
        ('cuda', None, (12, 0), True),
    ],
)
def test_devices(monkeypatch, device, hip, capability, expected):
    monkeypatch.setattr(torch.version, 'hip', hip)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: capability)
    assert switch.has_kernels(torch.device(device)) is expected


def test_tensors(kernels, monkeypatch):
    narrow = [torch.ones(1, dtype=dtype) for dtype in (torch.float32, torch.half, torch.bfloat16)]
    assert takes_fused(*narrow)
    assert not takes_fused(narrow[0], torch.ones(1, dtype=torch.float64))
    assert not takes_fused(torch.ones(0))
    assert not takes_fused(narrow[0], torch.ones(1, device='meta'))
    with fused_kernels(False):
        assert not takes_fused(*narrow)
    monkeypatch.setattr(switch, '_has_triton', False)
    assert not takes_fused(*narrow)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_wkd_l_hands_over_its_arguments(kernels, dtype):
    logits(dtype=dtype, temperature=2.0, transport_weight=3.0, epsilon=0.1, num_iters=4)
    numbers = dict(temperature=2.0, transport_weight=3.0, epsilon=0.1, num_iters=4)
    assert kernels == [(dtype, False, numbers)]


def test_wkd_l_standardises_before(kernels):
    logits(dtype=torch.float16, standardize=True)
    assert kernels[0][:2] == (torch.float32, False)


@pytest.mark.parametrize(
    'options',
    [
        dict(log_domain=True),
        dict(debiased=True),
        dict(weigh_by_non_target=True),
        dict(classes=129),
        dict(dtype=torch.float64),
        dict(cost=(1 - torch.eye(3)).double()),
        dict(cost=(1 - torch.eye(3)).expand(2, 3, 3)),
        dict(cost=(1 - torch.eye(3)).requires_grad_()),
        dict(temperature=torch.tensor(1.0)),
    ],
    ids=str,
)
def test_wkd_l_is_plain_elsewhere(kernels, options):
    assert logits(**options) > 0
    assert not kernels


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(distance='kl'),
        dict(distribution='laplace', distance='kl'),
        dict(distribution='exponential', distance='kl'),
        dict(distribution='channel_mean', distance='frobenius'),
    ],
    ids=str,
)
def test_moments_are_read_in_half_precision(kernels, options):
    assert maps(torch.float16, grid=2, **options).dtype == torch.float32
    assert kernels == [(torch.float16, 2, True)] * 2


@pytest.mark.parametrize(
    'options',
    [
        dict(mask=torch.ones(2, 4, 4, dtype=torch.bool)),
        dict(distribution='full'),
        dict(distribution='pmf'),
        dict(dtype=torch.float64),
    ],
    ids=['mask', 'full', 'pmf', 'float64'],
)
def test_moments_are_plain_elsewhere(kernels, options):
    maps(**options)
    assert not kernels
