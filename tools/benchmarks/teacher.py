"""``benchmark.py teacher``: the teacher's forward pass in the forms of ``teacher.inference``."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.networks import ROOT
from benchmarks.report import format_table
from benchmarks.timing import pairwise_ratio, time_in_turns
from wkd_det import registry
from wkd_det.distillation.inference import Inference
from wkd_det.distillation.teacher import Teacher, TeacherSource
from wkd_det.runtime.config import read_config

_CASES = {
    'ResNet-34': ('classification/imagenet/wkd-lf_resnet34-to-resnet18_reference.py', 16, 224),
    'R-101 and FPN': ('detection/wkd-lf_faster-rcnn_r101-to-r18_1x.py', 1, 320),
}
_FORMS = {
    'as it is': dict(),
    'fuse': dict(fuse=True),
    'channels_last': dict(channels_last=True),
    'fuse, channels_last': dict(fuse=True, channels_last=True),
}


def benchmark_teacher(*, repeats: int, quick: bool = False) -> list[dict[str, Any]]:
    """Time the forward pass of two teachers, of a detector its backbone and neck.

    Weights and images are random, and times are those of the processor. The types of
    ``teacher.inference`` are for GPUs; ``tools/check_gpu.py`` times them there.

    Args:
        repeats: Least number of timed rounds.
        quick: The first teacher alone, on one small image.

    Returns:
        A dict per teacher: ``case``, ``forms`` (time over that of the first form, and the relative
        difference of the output from it), ``verdicts`` (none).
    """
    cases = list(_CASES.items())[:1] if quick else _CASES.items()
    return [
        _case(title, path, *((1, 64) if quick else (batch, size)), repeats)
        for title, (path, batch, size) in cases
    ]


def format_teacher(cases: list[dict[str, Any]]) -> str:
    """Return the tables of :func:`benchmark_teacher`."""
    tables = []
    for case in cases:
        rows = [
            [name, *(f'{value:.2f}' for value in form['ratio']), f'{form["difference"]:.1e}']
            for name, form in case['forms'].items()
        ]
        header = [case['case'], 'time', 'least', 'largest', 'output differs by']
        tables.append(format_table(header, rows))
    return '\n\n'.join(tables)


def _case(title: str, path: str, batch: int, size: int, repeats: int) -> dict[str, Any]:
    config = read_config(ROOT / 'configs' / path)
    source = TeacherSource.from_config(dict(config.model.teacher))
    network = registry.build(source.model_config()).eval()
    network = getattr(network, 'network', network)
    images = torch.randn(batch, 3, size, size)
    runs = {
        name: _form(copy.deepcopy(network), images, Inference(**inference))
        for name, inference in _FORMS.items()
    }
    seconds = time_in_turns(runs, repeats=repeats, clock=time.process_time)
    first, *_ = _FORMS
    exact = runs[first]()
    forms = {
        name: dict(
            ratio=pairwise_ratio(seconds[name], seconds[first]),
            difference=((run() - exact).norm() / exact.norm()).item(),
        )
        for name, run in runs.items()
    }
    return dict(case=f'{title}, {batch} x {size} x {size}', forms=forms, verdicts=[])


def _form(network: nn.Module, images: Tensor, inference: Inference) -> Callable[[], Tensor]:
    teacher = Teacher(network, inference=inference)
    teacher.follow(images)
    forward = getattr(network, 'extract_feat', network)
    teacher.prepare(network, lambda: [partial(forward, images[:1])], ())

    @torch.no_grad()
    def run() -> Tensor:
        output = teacher.given(forward(inference.laid_out(images)))
        maps = output if isinstance(output, tuple) else (output,)
        return torch.cat([one.flatten() for one in maps])

    return run
