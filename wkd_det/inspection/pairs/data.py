"""Data sets of a config, as far as their files are there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from torch import Tensor
from torch.utils.data import Dataset

from wkd_det import registry
from wkd_det.runtime.class_names import names_in

SPLITS = ('train', 'val')
"""Those that training opens."""


@dataclass
class Data:
    """The data sets of training and validation."""

    sets: dict[str, Dataset] = field(default_factory=dict)
    """By split, those that could be built."""
    missing: dict[str, str] = field(default_factory=dict)
    """By split, what is not there."""

    @property
    def samples(self) -> int | None:
        """Number of training images; None where they are not there."""
        return len(self.sets['train']) if 'train' in self.sets else None

    def names(self, splits: tuple[str, ...] = ('val', 'train')) -> list[str] | None:
        """Return the class names of the first of some splits that says them.

        Those of the validation data are the ones that mmengine publishes when the teacher is
        loaded.
        """
        for split in splits:
            names = names_in(getattr(self.sets.get(split), 'metainfo', None))
            if names is not None:
                return names
        return None

    def side(self) -> int | None:
        """Return the larger side of the first training image of a classifier; None if unknown."""
        with suppress(Exception):  # an image that does not decode is training's to refuse
            first = self.sets['train'][0]
            image = first[0]
            if isinstance(image, Tensor):
                return max(image.shape[-2:])
        return None


def open_data(config: Config) -> Data:
    """Build the data sets that training opens.

    What is wrong otherwise than that files are missing is left to training to say.
    """
    data = Data()
    for split in SPLITS:
        loader = config.get(f'{split}_dataloader')
        if not loader or not isinstance(loader.get('dataset'), ConfigDict):
            continue
        try:
            with scope_of(config):
                data.sets[split] = registry.build(loader.dataset, 'DATASETS')
            missing = _missing_annotations(config.get(f'{split}_evaluator'))
        except (FileNotFoundError, NotADirectoryError) as error:
            missing = f'no {error.filename}' if error.filename else ' '.join(str(error).split())
        except Exception:
            missing = None
        if missing is not None:
            data.sets.pop(split, None)
            data.missing[split] = missing
    return data


@contextmanager
def scope_of(config: Config) -> Iterator[None]:
    """A block in which names are looked up in the default scope of a config."""
    with DefaultScope.overwrite_default_scope(config.get('default_scope') or 'mmengine'):
        yield


def _missing_annotations(evaluator: Any) -> str | None:
    for one in evaluator if isinstance(evaluator, list) else [evaluator or {}]:
        path = one.get('ann_file')
        if isinstance(path, str) and '://' not in path and not os.path.exists(path):
            return f'no {path}'
    return None
