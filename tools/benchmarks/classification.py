"""``benchmark.py classification``: a distilled step of a classifier, and its data."""

from __future__ import annotations

import time
from typing import Any

import torch
from mmengine.config import Config
from PIL import Image

from benchmarks.networks import ROOT, classifiers, teacher_forward, training_step
from benchmarks.report import at_least, at_most, format_table, format_verdicts
from benchmarks.timing import spread, time_in_turns
from wkd_det.classification.data import build_transform
from wkd_det.runtime.config import read_config

_CONFIGS = ROOT / 'configs/classification'
_CASES = {
    'resnet32x4 to resnet8x4': ('cifar100/wkd-lf_resnet32x4-to-resnet8x4_reference.py', 32, 64),
    'resnet34 to resnet18': ('imagenet/wkd-lf_resnet34-to-resnet18_reference.py', 224, 16),
}
_SOURCE_SIZE = {32: 32, 224: 400}  # pixels of the images before augmentation


def benchmark_classification(
    *, repeats: int, quick: bool = False, max_ratio: float = 1.10
) -> list[dict[str, Any]]:
    """Time the distilled step with WKD-L + WKD-F, its parts, and the loading of its batch.

    Weights and images are random: both cost as much as trained weights and photographs. The data
    are loaded by one process, images from memory; decoding is not included.

    Args:
        repeats: Least number of timed rounds.
        quick: Measure the small pair alone, in a small batch.
        max_ratio: Required bound of the step over student step + teacher forward.

    Returns:
        A dict per pair: ``case``, ``parts`` (seconds by name), ``verdicts``.
    """
    cases = list(_CASES.items())[:1] if quick else _CASES.items()
    return [
        _case(title, path, size, 4 if quick else batch, repeats, max_ratio)
        for title, (path, size, batch) in cases
    ]


def format_classification(cases: list[dict[str, Any]]) -> str:
    """Return the tables of :func:`benchmark_classification`."""
    blocks = []
    for case in cases:
        rows = [
            [name, f'{1000 * part.median:.1f}', f'{1000 * part.low:.1f}', f'{1000 * part.high:.1f}']
            for name, part in case['parts'].items()
        ]
        table = format_table([case['case'], 'ms', 'least', 'largest'], rows)
        blocks.append(f'{table}\n\n{format_verdicts(case["verdicts"])}')
    return '\n\n'.join(blocks)


def _case(
    title: str, path: str, size: int, batch: int, repeats: int, max_ratio: float
) -> dict[str, Any]:
    config = read_config(_CONFIGS / path)
    config.model.distill.loss_wkd_l.loss.cost = dict(type='ClassifierCost')
    distilled, plain, teacher = classifiers(config)
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8)
    data = [images, torch.arange(batch) % plain.num_classes]
    inputs, _ = plain.data_preprocessor(data, True)
    seconds = time_in_turns(
        {
            'distilled step': training_step(distilled, config, data),
            'student step': training_step(plain, config, data),
            'teacher forward': teacher_forward(teacher, inputs),
        },
        repeats=repeats,
    )
    whole = [sum(parts) for parts in zip(seconds['student step'], seconds['teacher forward'])]
    ratio = spread([step / other for step, other in zip(seconds['distilled step'], whole)])
    loading = _loading(config, size, batch, repeats)
    step = spread(seconds['distilled step'])
    parts = {name: spread(values) for name, values in seconds.items()}
    parts.update({'student + teacher': spread(whole), 'batch of data': spread(loading)})
    workers = config.train_dataloader.num_workers
    return dict(
        case=f'{title}, {batch} images of {size} x {size}',
        parts=parts,
        verdicts=[
            at_most('times student step + teacher forward', ratio.median, max_ratio),
            at_least(
                f'batches that {workers} loading processes make in a step',
                workers * step.median / spread(loading).median,
                1.0,
            ),
        ],
    )


def _loading(config: Config, size: int, batch: int, repeats: int) -> list[float]:
    """Return the seconds for a batch of augmented images in one process."""
    transform = build_transform(config.train_dataloader.dataset.transforms)
    side = _SOURCE_SIZE[size]
    pixels = torch.randint(0, 256, (side, side, 3), dtype=torch.uint8).numpy()
    image = Image.fromarray(pixels)
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        torch.stack([transform(image) for _ in range(batch)])
        found.append(time.perf_counter() - start)
    return found
