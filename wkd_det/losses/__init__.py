"""Losses: one file per method or family, each with its function, its module and its checks."""

from __future__ import annotations

from wkd_det import registry
from wkd_det.losses.base import Loss

__all__ = ['Loss', *registry.LOSSES]


def __getattr__(name: str) -> type[Loss]:
    if name in registry.LOSSES:
        return registry.load(name, registry.LOSSES[name])
    if registry.RENAMED.get(name) in registry.LOSSES:
        return registry.renamed(name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
