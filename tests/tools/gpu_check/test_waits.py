"""Operators that are counted, operators that read values, and the lines that asked for them."""

import warnings
from pathlib import Path

import pytest
import torch

from gpu_check.waits import ROOT, OperatorWatch, beyond, place, reported_waits

HERE = Path(__file__).resolve().relative_to(ROOT).as_posix()


def watched(run):
    with OperatorWatch() as watch:
        run()
    return watch


def test_views_are_no_operators():
    tensor = torch.ones(2, 3)
    assert watched(lambda: tensor.t()[0].view(2).add(1)).total == 1
    assert watched(lambda: tensor.add_(1)).total == 1
    assert watched(lambda: tensor[None].expand(2, 2, 3)).total == 0


def test_the_backward_pass_counts():
    leaf = torch.ones(3, requires_grad=True)
    forward = watched(lambda: leaf.exp().sum()).total
    both = watched(lambda: torch.autograd.grad(leaf.exp().sum(), leaf)).total
    assert forward == 2
    assert both > forward


TENSOR = torch.tensor([1.0, 0.0, 2.0])


@pytest.mark.parametrize(
    'read',
    [
        TENSOR[0].item,
        lambda: float(TENSOR[0]),
        lambda: bool(TENSOR[0] > 0),
        TENSOR.tolist,
        TENSOR.numpy,
        TENSOR.nonzero,
        TENSOR.unique,
        lambda: TENSOR[TENSOR > 0],
        lambda: TENSOR.masked_select(TENSOR > 0),
        lambda: TENSOR.clone().__setitem__(TENSOR > 0, torch.ones(2)),
        lambda: TENSOR.equal(TENSOR),
        lambda: torch.tensor([1, 2]).repeat_interleave(torch.tensor([2, 1])),
        lambda: torch.linalg.eigh(torch.eye(2)),
        TENSOR.cpu,
        lambda: TENSOR.new_tensor([1.0]),
        lambda: torch.tensor([1.0], device='cpu'),
    ],
)
def test_values_that_are_read_or_brought(read):
    watch = watched(read)
    assert sum(watch.readers.values()) == 1
    assert [name.rpartition(':')[0] for name in watch.readers] == [HERE]


@pytest.mark.parametrize(
    'compute',
    [
        lambda: TENSOR[torch.tensor([0, 2])],
        lambda: TENSOR.where(TENSOR > 0, TENSOR),
        lambda: TENSOR.masked_fill(TENSOR > 0, 0.0),
        lambda: TENSOR.gather(0, torch.tensor([1])),
        lambda: TENSOR.softmax(0),
        lambda: TENSOR.to(torch.float64),
        lambda: torch.tensor([1, 2]).repeat_interleave(torch.tensor([2, 1]), output_size=3),
        lambda: torch.ones(2).repeat_interleave(2),
        lambda: torch.tensor([1.0]),
        lambda: torch.full((2,), 1.0, device='cpu'),
    ],
)
def test_values_that_stay_on_the_device(compute):
    assert not watched(compute).readers


def test_counters_of_an_optimizer_are_no_values_of_the_device():
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    optimizer = torch.optim.AdamW([parameter], foreach=False)
    assert not watched(optimizer.step).readers


def test_modes_end_with_the_block():
    watch = watched(TENSOR.tolist)
    TENSOR.tolist()
    TENSOR.add(1)
    assert sum(watch.readers.values()) == 1
    assert watch.total == 0


def test_waits_that_torch_reports(monkeypatch):
    modes = []
    monkeypatch.setattr(torch.cuda, 'get_sync_debug_mode', lambda: 0)
    monkeypatch.setattr(torch.cuda, 'set_sync_debug_mode', modes.append)

    def waiting():
        warnings.warn('Synchronization debug mode detects most synchronizing calls', stacklevel=1)
        for _ in range(2):
            warnings.warn('called a synchronizing CUDA operation (Triggered ...)', stacklevel=1)

    found = reported_waits(waiting)
    assert list(found.values()) == [2]  # of one line, also when it was seen before
    assert [name.rpartition(':')[0] for name in found] == [HERE]
    with pytest.raises(RuntimeError, match='stop'):
        reported_waits(broken)
    assert modes == ['warn', 0] * 2


def broken():
    raise RuntimeError('stop')


# Places


SITE = '/home/user/.cache/wkd_det/env/lib/python3.11/site-packages'


def stack(*names):
    """Frames from the outermost to the innermost, as a traceback shows them."""
    return [(name, 7 + index) for index, name in enumerate(names)][::-1]


@pytest.mark.parametrize(
    ('names', 'expected'),
    [
        ((f'{SITE}/mmdet/a.py', f'{SITE}/torch/b.py'), 'mmdet/a.py:7'),
        ((f'{ROOT}/wkd_det/a.py', f'{SITE}/torch/b.py'), 'wkd_det/a.py:7'),
        ((f'{SITE}/wkd_det/a.py', f'{SITE}/mmdet/b.py'), 'mmdet/b.py:8 from wkd_det/a.py:7'),
        (
            (f'{ROOT}/wkd_det/a.py', f'{ROOT}/wkd_det/b.py', f'{SITE}/mmdet/c.py'),
            'mmdet/c.py:9 from wkd_det/b.py:8',
        ),
        ((f'{ROOT}/wkd_det/a.py', f'{ROOT}/tools/gpu_check/waits.py'), 'wkd_det/a.py:7'),
        ((f'{ROOT}/wkd_det/a.py', '/usr/lib/python3.11/warnings.py'), 'wkd_det/a.py:7'),
        ((f'{SITE}/torch/b.py',), 'torch'),
        ((f'{ROOT}/.venv/lib/python3.11/site-packages/mmdet/a.py',), 'mmdet/a.py:7'),
    ],
)
def test_lines_that_asked(names, expected):
    assert place(stack(*names)) == expected


def test_waits_of_a_library_are_compared_whoever_called_it():
    plain = {'mmdet/a.py:1': 4, 'mmdet/b.py:2': 1}
    distilled = {
        'mmdet/a.py:1 from wkd_det/model.py:3': 4,
        'mmdet/b.py:2 from wkd_det/model.py:3': 1,
        'mmdet/b.py:2 from wkd_det/heads.py:5': 3,
        'wkd_det/checks.py:9': 2,
    }
    assert beyond(distilled, plain) == {
        'mmdet/b.py:2 from wkd_det/model.py:3, wkd_det/heads.py:5': 3,
        'wkd_det/checks.py:9': 2,
    }
    assert beyond(plain, distilled) == {}
