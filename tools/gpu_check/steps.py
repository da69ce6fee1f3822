"""Parts ``classifiers`` and ``detectors``: distilled steps over the plain student's step."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmarks.networks import (
    ROOT,
    initialised,
    plain_classifier,
    plain_detector,
    random_teacher,
    training_step,
)
from benchmarks.timing import pairwise_ratio, spread, time_in_turns
from gpu_check.measuring import Meter, Run
from gpu_check.names import AS_IT_IS, BOTH, KD, PLAIN, WKD_F, WKD_L
from gpu_check.notes import Notes
from wkd_det.runtime.config import read_config
from wkd_det.testing.detectors import random_batch

FORMS: dict[str, dict[str, Any]] = {
    AS_IT_IS: {},
    'cast once': dict(dtype='autocast'),
    'cast once, channels_last': dict(dtype='autocast', channels_last=True),
    'cast once, channels_last, fused': dict(dtype='autocast', channels_last=True, fuse=True),
}
"""Option ``inference`` of the teacher by the name of the form."""
_NEEDED = 10.0
"""Seconds without which no other batch is begun."""


class Setup(NamedTuple):
    """A pair and the sizes at which it is trained."""

    title: str
    config: Path
    size: tuple[int, int]
    """Height and width of the images."""
    batches: tuple[int, ...]
    kd: Mapping[str, Any]
    """Term of KD."""
    calls: int
    """Steps in a row between two looks at the clock."""
    one_size: bool
    """Whether all batches have images of one size, so that cuDNN may try its kernels once."""


_CLASSIFIERS = ROOT / 'configs/classification'
_KD = dict(loss_kd=dict(tap='logits', loss=dict(type='KDLoss', temperature=4.0)))
_ROI_KD = dict(loss_kd=dict(tap='roi_logits', loss=dict(type='KDLoss')))
CLASSIFIERS = Setup(
    'ResNet-34 to ResNet-18',
    _CLASSIFIERS / 'imagenet/wkd-lf_resnet34-to-resnet18_reference.py',
    (224, 224), (256,), _KD, 4, True,
)  # fmt: skip
DETECTORS = Setup(
    'Faster R-CNN R-101 to R-18',
    ROOT / 'configs/detection/wkd-lf_faster-rcnn_r101-to-r18_1x.py',
    (800, 1333), (2, 8), _ROI_KD, 2, False,
)  # fmt: skip
_TINY_CLASSIFIERS = Setup(
    'resnet20 to resnet8', _CLASSIFIERS / 'digits/wkd-lf_digits.py', (32, 32), (8,), _KD, 1, True
)
_TINY_DETECTORS = Setup(
    'mini pair', ROOT / 'configs/mini/wkd-lf.py', (64, 96), (2,), _ROI_KD, 1, False
)


def check_classifiers(notes: Notes, meter: Meter) -> None:
    """Measure steps of ResNet-34 to ResNet-18; see :func:`check_detectors`."""
    setup = _TINY_CLASSIFIERS if meter.brief else CLASSIFIERS
    config = read_config(setup.config)
    config.model.distill.loss_wkd_l.loss.cost = dict(type='ClassifierCost')
    _check(notes, meter, setup, config)


def check_detectors(notes: Notes, meter: Meter) -> None:
    """Measure steps of Faster R-CNN R-101 to R-18.

    Notes below ``steps`` and batch, for the plain student and each distilled one, ``seconds``,
    ``ratio`` to the plain step (median, least, largest), ``extra_bytes``, ``waits`` by place and
    launches; below ``forms`` the same for WKD-L + WKD-F with each form of the teacher.
    """
    setup = _TINY_DETECTORS if meter.brief else DETECTORS
    _check(notes, meter, setup, read_config(setup.config))


def _check(notes: Notes, meter: Meter, setup: Setup, config: Config) -> None:
    init_default_scope('mmdet')
    MMLogger.get_current_instance().setLevel('WARNING')
    terms = config.model.distill
    chosen = {
        KD: setup.kd,
        WKD_L: dict(loss_wkd_l=terms.loss_wkd_l),
        WKD_F: dict(loss_wkd_f=terms.loss_wkd_f),
        BOTH: terms,
    }
    notes.add(
        'setup',
        pair=setup.title,
        size=' x '.join(map(str, setup.size)),
        precision='mixed precision' if meter.is_gpu else 'float32',
    )
    with _fast_convolutions(setup.one_size), TemporaryDirectory() as folder:
        pair = _Pair(config, Path(folder), meter.device)
        models = {PLAIN: pair.plain()}
        for name, distill in chosen.items():
            with notes.trying('models', name):
                models[name] = pair.distilled(distill)
        forms = {name: models[name] for name in (PLAIN, BOTH) if name in models}
        if BOTH in forms:
            forms[AS_IT_IS] = forms.pop(BOTH)
        for name, inference in FORMS.items():
            if inference:
                with notes.trying('models', f'teacher {name}'):
                    forms[name] = pair.distilled(terms, inference=inference)
        tables = dict(steps=models, forms=forms)
        rest = len(setup.batches) * len(tables)
        for batch in setup.batches:
            data = pair.batch(batch, setup.size)
            for table, compared in tables.items():
                place = (table, f'batch {batch}')
                with notes.trying(*place):
                    notes.check(0 if meter.brief else _NEEDED)
                    runs = {
                        name: training_step(model, config, data, amp=meter.is_gpu)
                        for name, model in compared.items()
                    }
                    seconds = notes.left / rest / 2
                    compare(notes, meter, place, runs, calls=setup.calls, seconds=seconds)
                rest -= 1
                if meter.is_gpu:
                    torch.cuda.empty_cache()


def compare(
    notes: Notes,
    meter: Meter,
    place: tuple[str, ...],
    runs: Mapping[str, Run],
    *,
    calls: int,
    seconds: float,
) -> None:
    """Time calls in turns over the first, then measure memory, waits and launches of each.

    A call that fails is noted with its error, and the others go on.

    Args:
        notes: Where the results go.
        meter: Measures.
        place: Keys below which they go.
        runs: Calls by name, the first the one to compare with.
        calls: Calls in a row between two looks at the clock.
        seconds: Time to spend on timing, roughly.
    """
    repeated, times = {}, {}
    for name, run in runs.items():
        with notes.trying(*place, name):
            queued = meter.queued(run, calls)
            times |= time_in_turns({name: queued}, repeats=1, seconds=0)
            repeated[name] = queued
    spent = sum(values[0] for values in times.values())
    rounds = int(seconds / spent) - 1 if spent else 0
    if rounds >= 1 and not meter.brief:
        times = time_in_turns(repeated, repeats=min(rounds, 5), seconds=0)
    first = next(iter(runs))
    for name, values in times.items():
        ratio = pairwise_ratio(values, times[first]) if first in times else None
        notes.add(*place, name, seconds=spread(values).median / calls, ratio=ratio)
    for name in times:
        with notes.trying(*place, name):
            notes.check()
            notes.add(*place, name, extra_bytes=meter.extra_bytes(runs[name]))
            notes.add(*place, name, **meter.launches_and_waits(runs[name]))


class _Pair:
    """A student and a teacher with random weights, and models with any terms made of them.

    Args:
        config: Config of a distilled model.
        folder: For the weights of the teacher.
        device: Where models and images are.
    """

    def __init__(self, config: Config, folder: Path, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.is_detector = 'backbone' in config.model
        self.section = random_teacher(config.model.teacher.config, folder / 'teacher.pth')
        if not self.is_detector:
            _calibrate(self.section, config.model.get('image_size', 224))

    def plain(self) -> nn.Module:
        """Return the plain student."""
        make = plain_detector if self.is_detector else plain_classifier
        return initialised(make(self.config)).to(self.device)

    def distilled(self, terms: Mapping[str, Any], **teacher: Any) -> nn.Module:
        """Return the student with terms, and options of the teacher."""
        model = copy.deepcopy(self.config.model)
        model.teacher = dict(self.section, **teacher)
        model.distill = ConfigDict(copy.deepcopy(dict(terms)))
        return initialised(model).to(self.device)

    def batch(self, count: int, size: tuple[int, int]) -> Any:
        """Return a batch whose images are on the device, so that their copy is not timed."""
        if self.is_detector:
            classes = self.config.model.roi_head.bbox_head.num_classes
            data = random_batch([size] * count, num_classes=classes, boxes=8)
            data['inputs'] = [image.to(self.device) for image in data['inputs']]
            data['data_samples'] = [sample.to(self.device) for sample in data['data_samples']]
            return data
        images = torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8)
        return [images.to(self.device), torch.arange(count)]  # labels as a loader gives them


def _calibrate(section: dict[str, Any], size: int) -> None:
    """Give the saved weights the statistics of random images.

    Otherwise activations grow from block to block and leave the range of float16.
    """
    model = initialised(section['config'])
    checkpoint = torch.load(section['checkpoint'], weights_only=True)
    model.load_state_dict(checkpoint['state_dict'])
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = None  # the mean over all batches: of the one
            module.reset_running_stats()
    with torch.no_grad():
        model.network(torch.randn(8, 3, size, size))
    torch.save(dict(checkpoint, state_dict=model.state_dict()), section['checkpoint'])


@contextmanager
def _fast_convolutions(tried: bool) -> Iterator[None]:
    """Let cuDNN try its kernels once per size, or not."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = tried
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
