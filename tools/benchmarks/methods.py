"""``benchmark.py methods``: the cost of each distillation method, next to plain distillation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.memory import peak_extra_bytes
from benchmarks.networks import plain_student, training_step, untrained
from benchmarks.report import format_table
from benchmarks.timing import pairwise_ratio, spread, time_in_turns
from wkd_det.runtime.config import read_config
from wkd_det.testing.detectors import random_batch

PLAIN = 'plain student'
PAPER = [('wkd-l', 'kd', 1.3), ('wkd-f', 'kd', 1.0), ('reviewkd', 'wkd-f', 1.6)]
"""Training latency of a method over another's as the paper gives it, for image classification on
ImageNet, batch 256, on an RTX 4090; by the names of the configs."""


def benchmark_methods(
    *, repeats: int, quick: bool = False, folder: Path, baseline: str = 'kd'
) -> list[dict[str, Any]]:
    """Time a training step of every distilled config of a folder, and measure its memory.

    Weights are random and the images noise, the same for all. The first config's student without
    its terms is timed with them.

    Args:
        repeats: Least number of timed rounds.
        quick: Use two small images instead of 16 of 96 x 96.
        folder: Folder of the configs; those without a teacher are left out.
        baseline: Name of the config that the others are compared with.

    Returns:
        One dict: ``case``, ``methods`` (``seconds``, ``ratio``, ``extra_bytes``,
        ``extra_ratio`` by name), ``paper``, no ``verdicts``.

    Raises:
        FileNotFoundError: If the baseline is not there.
    """
    configs = {path.stem: read_config(path) for path in sorted(folder.glob('*.py'))}
    configs = {name: config for name, config in configs.items() if 'distill' in config.model}
    if baseline not in configs:
        raise FileNotFoundError(
            f'{folder} has no distilled config {baseline}.py to compare with, '
            f'only {sorted(configs)}'
        )
    sizes = [(64, 64)] * 2 if quick else [(96, 96)] * 16
    runs = {}
    for name, config in configs.items():
        model = untrained(config)
        data = random_batch(sizes, num_classes=model.roi_head.bbox_head.num_classes)
        if not runs:
            runs[PLAIN] = training_step(plain_student(config, model), config, data)
        runs[name] = training_step(model, config, data)
    seconds = time_in_turns(runs, repeats=repeats)
    extra = {name: peak_extra_bytes(run) for name, run in runs.items()}
    methods = {
        name: dict(
            seconds=spread(values),
            ratio=pairwise_ratio(values, seconds[baseline]),
            extra_bytes=extra[name],
            extra_ratio=extra[name] / extra[baseline],
        )
        for name, values in seconds.items()
    }
    paper = [
        dict(
            method=method,
            over=over,
            paper=ratio,
            ours=pairwise_ratio(seconds[method], seconds[over]).median,
        )
        for method, over, ratio in PAPER
        if method in seconds and over in seconds
    ]
    title = (
        f'{folder}, {len(sizes)} images of {sizes[0][0]} x {sizes[0][1]}, relative to {baseline}'
    )
    return [dict(case=title, methods=methods, paper=paper, verdicts=[])]


def format_methods(cases: list[dict[str, Any]]) -> str:
    """Return the tables of :func:`benchmark_methods`."""
    return '\n\n'.join(_format_case(case) for case in cases)


def _format_case(case: dict[str, Any]) -> str:
    rows = [
        [
            name,
            f'{1e3 * method["seconds"].median:.1f}',
            f'{method["ratio"].median:.3f}',
            f'{method["ratio"].low:.3f} .. {method["ratio"].high:.3f}',
            f'{method["extra_bytes"] / 2**20:.1f}',
            f'{method["extra_ratio"]:.3f}',
        ]
        for name, method in case['methods'].items()
    ]
    header = ['training step', 'ms', 'ratio', 'range', 'extra MiB', 'ratio']
    parts = [case['case'], format_table(header, rows)]
    if case['paper']:
        rows = [
            [f'{row["method"]} / {row["over"]}', f'{row["ours"]:.2f}', f'{row["paper"]:.1f}']
            for row in case['paper']
        ]
        parts.append(format_table(['time of a step', 'ours, here', "the paper's, ImageNet"], rows))
    return '\n'.join(parts)
