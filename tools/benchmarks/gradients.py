"""``benchmark.py gradients``: the cost of weights that follow from gradients."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import torch
from mmengine.config import Config

from benchmarks.networks import ROOT, classifiers, training_step, untrained
from benchmarks.report import format_table
from benchmarks.timing import pairwise_ratio, time_in_turns
from wkd_det.runtime.config import read_config
from wkd_det.testing.detectors import random_batch

_CLASSIFIER = 'configs/classification/cifar100/wkd-lf_resnet32x4-to-resnet8x4_reference.py'
_DETECTOR = 'configs/mini/wkd-lf.py'
NUMBERS = 'numbers'
FORMS = {NUMBERS: (None, 10), 'every=50': (50, 50), 'every=1': (1, 10)}
"""Interval of the measurements and number of timed steps by form."""


def benchmark_gradients(*, repeats: int, quick: bool = False) -> list[dict[str, Any]]:
    """Time training steps with ``GradientShare`` on both terms, against weights that are numbers.

    WKD-L and WKD-F, random weights, noise for images. Time of the processor, so that a busy
    machine matters less; several steps at once, so that those between two measurements count.

    Args:
        repeats: Least number of timed rounds.
        quick: Two steps of each form, and the smaller batches.

    Returns:
        A dict per pair: ``case``, ``forms`` (``seconds`` of a step and ``ratio`` by name), no
        ``verdicts``.
    """
    cases = {
        'classifier, resnet32x4 to resnet8x4, 8 images of 32 x 32': _classifier_step,
        'detector, mini pair, 2 images of 96 x 96': _detector_step,
    }
    return [_case(title, step, repeats, quick) for title, step in cases.items()]


def format_gradients(cases: list[dict[str, Any]]) -> str:
    """Return the tables of :func:`benchmark_gradients`."""
    blocks = []
    for case in cases:
        rows = [
            [
                name,
                f'{1000 * form["seconds"]:.1f}',
                f'{form["ratio"].median:.3f}',
                f'{form["ratio"].low:.3f} .. {form["ratio"].high:.3f}',
            ]
            for name, form in case['forms'].items()
        ]
        blocks.append(format_table([case['case'], 'ms', 'ratio', 'range'], rows))
    return '\n\n'.join(blocks)


def _case(
    title: str, make: Callable[[int | None], Callable[[], Any]], repeats: int, quick: bool
) -> dict[str, Any]:
    forms = {name: (every, 2 if quick else steps) for name, (every, steps) in FORMS.items()}
    seconds = time_in_turns(
        {name: _block(make(every), steps) for name, (every, steps) in forms.items()},
        repeats=repeats,
        clock=time.process_time,
    )
    each = {name: [one / forms[name][1] for one in values] for name, values in seconds.items()}
    return dict(
        case=title,
        forms={
            name: dict(
                seconds=sorted(values)[len(values) // 2],
                ratio=pairwise_ratio(values, each[NUMBERS]),
            )
            for name, values in each.items()
        },
        verdicts=[],
    )


def _block(step: Callable[[], Any], count: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(count):
            step()

    return run


def _classifier_step(every: int | None) -> Callable[[], Any]:
    config = _governed(read_config(ROOT / _CLASSIFIER), every)
    config.model.distill.loss_wkd_l.loss.cost = dict(type='ClassifierCost')
    model, plain, _ = classifiers(config)
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    return training_step(model, config, [images, torch.arange(8) % plain.num_classes])


def _detector_step(every: int | None) -> Callable[[], Any]:
    config = _governed(read_config(ROOT / _DETECTOR), every)
    model = untrained(config)
    data = random_batch([(96, 96)] * 2, num_classes=model.roi_head.bbox_head.num_classes)
    return training_step(model, config, data)


def _governed(config: Config, every: int | None) -> Config:
    config = copy.deepcopy(config)
    for term in config.model.distill.values():
        if every is not None:
            term.loss.loss_weight = dict(type='GradientShare', share=0.2, every=every)
    return config
