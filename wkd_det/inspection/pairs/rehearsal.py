"""Training up to its first step: a runner is built and started, and stopped before it learns."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import Tensor

from wkd_det.distillation.model import DistilledModel
from wkd_det.inspection.pairs.data import SPLITS, Data
from wkd_det.inspection.pairs.images import losses_of, random_images, random_labels
from wkd_det.inspection.pairs.methods import num_samples
from wkd_det.inspection.pairs.names import published


class _FirstStepError(Exception):
    """Training has come to its first step."""


class _StopHook(Hook):
    """Computes the losses of the first images of the first batch, and stops the runner."""

    priority = 'LOWEST'

    def __init__(self, count: int) -> None:
        self.count = count

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        model = runner.model
        first = _first_of(data_batch, _rows(data_batch, self.count))
        data = model.data_preprocessor(first, True)
        with runner.optim_wrapper.optim_context(model):
            losses_of(model, data)
        raise _FirstStepError


def rehearse(
    config: Config, data: Data, *, names: list[str] | None, count: int, size: int, folder: Path
) -> None:
    """Start training as ``tools/train.py`` does, and stop before the first update.

    The runner builds model, loops, hooks, optimizer and schedules, loads the teacher and what the
    student begins with, and loads the first batch, whose losses are computed. Where the training
    data are not there, the rest is built and the losses are those of random images.

    Args:
        config: The distilled config.
        data: Its data sets, as far as they are there.
        names: Names of the student's classes, for data that are not there.
        count: Number of images whose losses are computed.
        size: Side of random images in pixels.
        folder: Work folder of the run.

    Raises:
        Exception: Whatever training would raise.
    """
    quiet = _quiet(config, data, folder)
    with _apart():
        runner = Runner.from_cfg(quiet)
        if runner._train_loop is None:
            _without_data(runner, config, names, count, size)
            return
        for split in SPLITS:  # built already
            if split in data.sets:
                getattr(runner, f'_{split}_dataloader').dataset = data.sets[split]
        runner.register_hook(_StopHook(count))
        with suppress(_FirstStepError):
            runner.train()


def _quiet(config: Config, data: Data, folder: Path) -> Config:
    """The config without what a rehearsal has no use for: logs, workers, missing data."""
    config = copy.deepcopy(config)
    config.work_dir = str(folder)
    config.experiment_name = f'rehearsal-{uuid.uuid4().hex[:8]}'
    config.log_level = 'ERROR'
    config.launcher = 'none'
    config.resume = False
    config.pop('compile', None)
    if config.get('visualizer'):
        config.visualizer.vis_backends = None
    for split in (*data.missing, 'test'):
        for part in ('dataloader', 'evaluator', 'cfg'):
            config[f'{split}_{part}'] = None
        if split == 'train':
            config.optim_wrapper = config.param_scheduler = None
    for split in SPLITS:
        loader = config.get(f'{split}_dataloader')
        if loader:
            loader.update(num_workers=0, persistent_workers=False)
            loader.pop('prefetch_factor', None)
    return config


def _without_data(
    runner: Runner, config: Config, names: list[str] | None, count: int, size: int
) -> None:
    """Do what can be done of training without its data."""
    model: DistilledModel = runner.model
    if config.get('optim_wrapper'):
        runner.build_optim_wrapper(config.optim_wrapper)
    with published(names):
        runner._init_model_weights()
        runner.load_or_resume()
        model.train()
        distiller = model.distiller
        if distiller is not None and distiller.keeps_samples:
            samples = num_samples(config.model.get('distill') or {}) or count
            device = next(model.parameters()).device
            labels = random_labels(samples, model.num_classes_of(model) or 1)
            distiller.set_samples(labels.to(device))
        batch = random_images(model, count=count, size=size, strong=_has_two_views(config))
        losses_of(model, model.data_preprocessor(batch, True))


def _has_two_views(config: Config) -> bool:
    loader = config.get('train_dataloader') or {}
    return bool((loader.get('dataset') or {}).get('strong_transforms'))


@contextmanager
def _apart() -> Iterator[None]:
    """A block whose runner leaves no logger, message hub, visualizer or scope behind."""
    kinds = (MMLogger, MessageHub, Visualizer, DefaultScope)
    before = [dict(kind._instance_dict) for kind in kinds]
    random = torch.random.get_rng_state()
    try:
        yield
    finally:
        torch.random.set_rng_state(random)
        for kind, known in zip(kinds, before):
            kind._instance_dict.clear()
            kind._instance_dict.update(known)


def _rows(batch: Any, count: int) -> slice | list[int]:
    """Rows of the first images of a batch: of the labelled ones, and of those without labels."""
    samples = batch.get('data_samples') if isinstance(batch, Mapping) else None
    if not samples:
        return slice(count)
    from wkd_det.detection.unlabelled import is_labelled

    known = [is_labelled(sample) for sample in samples]
    sides = ([i for i, one in enumerate(known) if one is side] for side in (True, False))
    return sorted(row for side in sides for row in side[:count])


def _first_of(batch: Any, rows: slice | list[int]) -> Any:
    """Rows of a batch of either task."""
    if isinstance(batch, Tensor):
        return batch[rows]
    if isinstance(batch, Mapping):
        return {key: _first_of(value, rows) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        whole = [isinstance(one, Tensor) and one.dim() != 3 for one in batch]
        if batch and all(whole):
            return [one[rows] for one in batch]  # images and labels
        return list(batch[rows]) if isinstance(rows, slice) else [batch[row] for row in rows]
    return batch
