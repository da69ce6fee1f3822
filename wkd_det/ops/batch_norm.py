"""Batch normalisation for one call: of single values, and without a change of its statistics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def normalise_single_values(module: nn.Module, features: Tensor) -> Iterator[None]:
    """Use the running statistics for one call where the batch has none of its own.

    A 1 x 1 map of one image (or an empty batch) has no variance, and batch normalisation refuses
    it in training mode; such maps occur at the top of a pyramid on small images.

    A normalisation that is synchronised over processes takes its statistics from all of them, and
    they wait for this one: it is left as it is.

    Args:
        module: Module whose batch normalisations are switched for the duration of the block.
        features: Input of the module, shape ``(N, C, H, W)``.
    """
    samples, _, height, width = features.shape
    norms = []
    if samples * height * width <= 1:
        norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training]
        norms = [m for m in norms if not _is_synchronised(m)]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()


@contextmanager
def unchanged_statistics(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Normalise as each module's mode says, and leave running statistics and counters alone.

    In training mode the statistics of the batch are used as always, but not remembered.

    Args:
        modules: Modules whose batch normalisations are meant.
    """
    norms = {m for module in modules for m in module.modules() if isinstance(m, _BatchNorm)}
    tracked = [norm for norm in norms if norm.training and norm.track_running_stats]
    for norm in tracked:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in tracked:
            norm.track_running_stats = True


def _is_synchronised(norm: nn.Module) -> bool:
    return (
        isinstance(norm, nn.SyncBatchNorm)
        and distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )
