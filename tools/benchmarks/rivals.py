"""``benchmark.py methods --pair``: what every method costs a classifier, in time and memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from benchmarks.memory import peak_extra_bytes
from benchmarks.networks import classifiers, teacher_forward, training_step
from benchmarks.report import format_table
from benchmarks.timing import pairwise_ratio, spread, time_in_turns
from config_catalogue.catalogue import Catalogue
from config_catalogue.entries import Method, Pair
from wkd_det.losses.banks import MemoryBanks, bank_bytes
from wkd_det.runtime.config import near_matches, read_config

PLAIN = 'plain student'
TEACHER = 'teacher forward'
IMAGENET = 1_281_167
"""Training images of ILSVRC 2012."""
_GROUP = 6
"""Methods that take turns with the plain student and the teacher."""


def benchmark_rivals(
    *, repeats: int, quick: bool = False, pair: str, methods: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Time a training step of every method of a pair of classifiers, and measure its memory.

    Configs are those that ``tools/new_config.py`` writes; weights and images are random. Class
    costs come from the teacher's classifier, terms are at their full weight. Groups of methods
    take turns with the plain student's step and the teacher's forward pass on the same images. With
    one thread the seconds are those of the processor.

    Args:
        repeats: Least number of timed rounds of each group.
        quick: Use batches of 4 and tables of 64 samples.
        pair: Name of a file of ``configs/_base_/pairs``.
        methods: Some of the pair's methods; None: all.

    Returns:
        One dict: ``case``, ``plain`` (``seconds``, ``extra_bytes``, and ``teacher_seconds``, None
        without a teacher), ``methods`` (``ratio`` over student and teacher, ``parameters``,
        ``extra_bytes`` over the plain step's, ``held_bytes`` of buffers, ``bank_bytes`` at the
        size of ImageNet or None, by name), no ``verdicts``.

    Raises:
        ValueError: If there is no such pair of classifiers, or the pair has no such method.
    """
    catalogue = Catalogue()
    found = _pair(catalogue, pair)
    chosen = _methods(catalogue, found, methods)
    case: dict[str, Any] = dict(case='', plain=None, methods={}, verdicts=[])
    for start in range(0, len(chosen), _GROUP):
        configs = dict(_configs(catalogue, found, chosen[start : start + _GROUP]))
        batch, size = _sizes(next(iter(configs.values())), quick)
        group = _group(configs, batch=batch, size=size, repeats=repeats, quick=quick)
        case['methods'] |= group['methods']
        case['plain'] = case['plain'] or group['plain']
        case['case'] = f'{pair}, {batch} images of {size} x {size}'
    return [case]


def format_rivals(cases: list[dict[str, Any]]) -> str:
    """Return the tables of :func:`benchmark_rivals`."""
    return '\n\n'.join(_format_case(case) for case in cases)


def _pair(catalogue: Catalogue, name: str) -> Pair:
    pairs = {pair.path.stem: pair for pair in catalogue.pairs if _is_of_classifiers(pair)}
    if name not in pairs:
        raise ValueError(f'--pair must name a pair of classifiers, {near_matches(name, [*pairs])}')
    return pairs[name]


def _is_of_classifiers(pair: Pair) -> bool:
    return pair.place.startswith('configs/classification/')


def _methods(catalogue: Catalogue, pair: Pair, names: Sequence[str] | None) -> list[Method]:
    methods = {method.name: method for method in catalogue.methods_for(pair)}
    for name in names or ():
        if name not in methods:
            raise ValueError(
                f'--methods must name methods of {pair.path.stem}, {near_matches(name, [*methods])}'
            )
    return [methods[name] for name in names] if names else list(methods.values())


def _configs(
    catalogue: Catalogue, pair: Pair, methods: Sequence[Method]
) -> Iterator[tuple[str, Config]]:
    with TemporaryDirectory() as folder:
        for method in methods:
            path = catalogue.write(method, pair, Path(folder) / f'{method.name}.py')
            config = read_config(path)
            for term in config.model.distill.values():
                if 'cost' in term.loss:
                    term.loss.cost = dict(type='ClassifierCost')
            yield method.name, config


def _sizes(config: Config, quick: bool) -> tuple[int, int]:
    size = config.model.get('image_size', 224)
    return 4 if quick else config.train_dataloader.batch_size, size


def _group(
    configs: dict[str, Config], *, batch: int, size: int, repeats: int, quick: bool
) -> dict[str, Any]:
    runs: dict[str, Callable[[], Any]] = {}
    models = {}
    for name, config in configs.items():
        models[name], plain, teacher = _models(config, quick)
        data = _batch(config, batch, size, plain.num_classes)
        if not runs:
            runs[PLAIN] = training_step(plain, config, [data['images'], data['labels']])
            if teacher is not None:
                inputs, _ = plain.data_preprocessor([data['images'], data['labels']], True)
                runs[TEACHER] = teacher_forward(teacher, inputs)
        if 'indices' in data:
            models[name].distiller.set_samples(_labels(models[name], plain.num_classes))
        runs[name] = training_step(models[name], config, data)
    extra = {name: peak_extra_bytes(run) for name, run in runs.items() if name != TEACHER}
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds = time_in_turns(runs, repeats=repeats, clock=clock)
    parts = [seconds[name] for name in (PLAIN, TEACHER) if name in seconds]
    whole = [sum(values) for values in zip(*parts)]
    plain_part = dict(
        seconds=spread(seconds[PLAIN]),
        teacher_seconds=spread(seconds[TEACHER]) if TEACHER in seconds else None,
        extra_bytes=extra[PLAIN],
    )
    methods = {
        name: dict(
            ratio=pairwise_ratio(seconds[name], whole),
            parameters=_trained(model.distiller),
            extra_bytes=extra[name] - extra[PLAIN],
            held_bytes=sum(buffer.nbytes for buffer in model.distiller.buffers()),
            bank_bytes=_banks_of_imagenet(model.distiller),
        )
        for name, model in models.items()
    }
    return dict(plain=plain_part, methods=methods)


def _models(config: Config, quick: bool) -> tuple[nn.Module, nn.Module, nn.Module | None]:
    if quick:
        for term in config.model.distill.values():
            if 'num_samples' in term.loss:
                term.loss.update(num_samples=64, negatives=16)
    return classifiers(config)


def _batch(config: Config, count: int, size: int, num_classes: int) -> dict[str, Any]:
    """Return a batch with what the data set of a config adds to images and labels."""
    dataset = config.train_dataloader.dataset
    generator = torch.Generator().manual_seed(0)

    def images() -> torch.Tensor:
        shape = (count, 3, size, size)
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)

    batch = dict(images=images(), labels=torch.arange(count) % num_classes)
    if dataset.get('with_index'):
        batch['indices'] = torch.arange(count)
    if dataset.get('strong_transforms'):
        batch['strong'] = images()
    return batch


def _labels(model: nn.Module, num_classes: int) -> torch.Tensor:
    """Return the label of every sample that the model's losses keep; equally many per class."""
    banks = next(part for part in model.modules() if isinstance(part, MemoryBanks))
    return torch.arange(len(banks.student)) % num_classes


def _trained(module: nn.Module) -> int:
    return sum(part.numel() for part in module.parameters() if part.requires_grad)


def _banks_of_imagenet(distiller: nn.Module) -> int | None:
    banks = [part for part in distiller.modules() if isinstance(part, MemoryBanks)]
    return sum(bank_bytes(IMAGENET, bank.student.shape[1]) for bank in banks) or None


def _format_case(case: dict[str, Any]) -> str:
    rows = [
        [
            name,
            f'{method["ratio"].median:.2f}',
            f'{method["ratio"].low:.2f} .. {method["ratio"].high:.2f}',
            f'{method["parameters"]:,}',
            f'{method["extra_bytes"] / 2**20:.1f}',
            f'{method["held_bytes"] / 2**20:.1f}',
            f'{method["bank_bytes"] / 2**20:.0f}' if method['bank_bytes'] else '',
        ]
        for name, method in case['methods'].items()
    ]
    header = ['method', 'time', 'range', 'parameters', 'step MiB', 'held MiB', 'ImageNet MiB']
    plain = case['plain']
    parts = f'{PLAIN} {1e3 * plain["seconds"].median:.0f} ms'
    over = f'the {PLAIN}'
    if plain['teacher_seconds']:
        parts += f', {TEACHER} {1e3 * plain["teacher_seconds"].median:.0f} ms'
        over += ' plus the teacher'
    parts += f'; its step takes {plain["extra_bytes"] / 2**20:.1f} MiB'
    text = (
        f'time: over {over}; parameters: trained, of connectors and losses; step MiB: beyond the '
        f'plain step;\nheld MiB: buffers; ImageNet MiB: banks for {IMAGENET:,} images, computed'
    )
    return f'{case["case"]}\n{parts}\n{text}\n{format_table(header, rows)}'
