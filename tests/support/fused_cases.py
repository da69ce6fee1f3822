"""Runs the fused kernels in Triton's interpreter and prints how far they are from float64.

A program of its own: the interpreter is chosen by an environment variable when triton is imported,
for the whole process. It prints JSON: for each case the largest difference of the value, and of the
gradient, over the largest entry of the reference.
"""

from __future__ import annotations

import json
import os
from unittest.mock import patch

LOGITS = {
    # name: samples, classes, dtype, separated, options
    '2 classes': (3, 2, 'float32', True, {}),
    '2 classes, joint': (3, 2, 'float32', False, {}),
    '21 classes': (5, 21, 'float32', True, dict(temperature=2.0, transport_weight=3.0)),
    '21 classes, joint': (3, 21, 'float32', False, dict(temperature=4.0, num_iters=5)),
    '81 classes': (2, 81, 'float32', True, dict(num_iters=20)),
    '100 classes': (2, 100, 'float32', True, dict(epsilon=0.1, num_iters=1)),
    '128 classes': (2, 128, 'float32', True, {}),
    'a cost that is not symmetric': (3, 9, 'float32', True, dict(asymmetric=True)),
    'standardised': (2, 9, 'float32', True, dict(standardize=True)),
    'half': (3, 21, 'float16', True, {}),
    'bfloat16': (3, 21, 'bfloat16', True, {}),
    'weights of the samples': (3, 9, 'float32', True, dict(weighted=True)),
}
MAPS = {
    # name: shape, grid, dtype, options
    'one cell': ((2, 3, 5, 7), 1, 'float32', {}),
    'equal cells': ((1, 5, 8, 8), 4, 'float32', {}),
    'cells that overlap': ((2, 3, 7, 9), 4, 'float32', {}),
    'more cells than rows': ((1, 2, 2, 5), 3, 'float32', {}),
    'cells of one pixel': ((1, 2, 3, 3), 3, 'float32', {}),
    'more channels than a tile': ((1, 130, 3, 2), 1, 'float32', {}),
    'more pixels than a tile': ((1, 1, 37, 41), 1, 'float32', {}),
    'biased': ((1, 3, 6, 4), 2, 'float32', dict(unbiased=False)),
    'half': ((1, 3, 6, 5), 2, 'float16', {}),
    'bfloat16': ((1, 3, 6, 5), 2, 'bfloat16', {}),
    'channels last': ((2, 3, 5, 6), 2, 'float32', dict(channels_last=True)),
    'far from 0': ((1, 3, 6, 5), 2, 'float32', dict(shift=1000.0)),
    'KL': ((1, 3, 6, 5), 2, 'float32', dict(distance='kl')),
}


def main() -> None:
    """Print the differences of all cases."""
    from wkd_det.ops.fused import logit_transport, switch

    few = patch.object(logit_transport, '_PROGRAMS', 2)  # so that they walk
    everywhere = patch.object(switch, 'has_kernels', lambda device: True)
    with few, everywhere, switch.fused_kernels(True):
        print(json.dumps(dict(logits=_all(_logits, LOGITS), maps=_all(_maps, MAPS))))


def _all(run, cases):
    return {name: run(*case) for name, case in cases.items()}


def _logits(samples, classes, dtype, separated, options):
    import torch

    from wkd_det.losses.wkd_logit import wkd_logit_loss
    from wkd_det.ops.fused import logit_transport

    options = dict(dict(temperature=1.0), **options)
    cost = torch.rand(classes, classes, generator=_generator(2), dtype=torch.float64)
    if not options.pop('asymmetric', False):
        cost = (cost + cost.t()) / 2
    cost.fill_diagonal_(0)
    # The last class is a target too.
    target = (torch.arange(samples) - 1) % classes if separated else None
    if options.pop('weighted', False):
        options['weight'] = torch.arange(samples).float()
    pair = [
        (2 * torch.randn(samples, classes, generator=_generator(seed))).to(getattr(torch, dtype))
        for seed in (0, 1)
    ]
    return _compared(
        lambda student, teacher: wkd_logit_loss(
            student,
            teacher,
            cost if student.dtype == torch.float64 else cost.float(),
            target,
            **options,
        ),  # fmt: skip
        pair,
        patch.object(
            logit_transport, 'fused_wkd_logit', side_effect=logit_transport.fused_wkd_logit
        ),
    )


def _maps(shape, grid, dtype, options):
    import torch

    from wkd_det.losses.wkd_feature import feature_distribution_loss
    from wkd_det.ops.fused import moments

    options = dict(options)
    shift, last = options.pop('shift', 0.0), options.pop('channels_last', False)
    layout = torch.channels_last if last else torch.contiguous_format
    pair = [
        ((1 + seed) * torch.randn(shape, generator=_generator(seed)) + seed + shift)
        .to(getattr(torch, dtype))
        .contiguous(memory_format=layout)
        for seed in (0, 1)
    ]
    return _compared(
        lambda student, teacher: feature_distribution_loss(student, teacher, grid=grid, **options),
        pair,
        patch.object(moments, 'fused_moments', side_effect=moments.fused_moments),
    )


def _compared(loss, pair, spied):
    """Differences from float64, and how often the kernel was called."""
    import torch

    results = []
    with spied as kernel:
        for dtype in (pair[0].dtype, torch.float64):
            student, teacher = (one.detach().to(dtype, copy=True) for one in pair)
            student.requires_grad_()
            value = loss(student, teacher)
            value.backward()
            assert student.grad.dtype == dtype
            assert teacher.grad is None
            results.append((value.detach().double(), student.grad.double()))
            with torch.no_grad():
                assert loss(student, teacher).double().sub(results[-1][0]).abs() < 1e-6
    differences = [
        float((own - reference).abs().max() / reference.abs().max())
        for own, reference in zip(*results)
    ]
    return dict(value=differences[0], gradient=differences[1], calls=kernel.call_count)


def _generator(seed):
    import torch

    return torch.Generator().manual_seed(seed)


if __name__ == '__main__':
    os.environ['TRITON_INTERPRET'] = '1'
    main()
