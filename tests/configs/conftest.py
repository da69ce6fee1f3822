"""Shared by the tests of configs: every config that can be written, each base parsed once."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import mmengine.config.utils
import pytest
from mmdet.utils import register_all_modules
from mmengine.config import Config

from config_catalogue.catalogue import Catalogue
from config_catalogue.entries import Method, Pair

ROOT = Path(__file__).parents[2]
LOAD = functools.cache(mmengine.config.utils.load)
PARSE = functools.cache(Config._file2dict)


def parse(filename: str, *arguments: Any, **options: Any) -> tuple[dict, str, dict]:
    """``Config._file2dict``, but a base is parsed once and copied for each config."""
    return copy.deepcopy(PARSE(filename, *arguments, **options))


@contextlib.contextmanager
def parsed_once() -> Iterator[pytest.MonkeyPatch]:
    """Read bases, and MMDetection's 90 metafiles, once and not for every config."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine.config.utils, 'load', LOAD)
        patch.setattr(Config, '_file2dict', staticmethod(parse))
        yield patch


@pytest.fixture(scope='module')
def from_the_root() -> Iterator[None]:
    """Work where users do."""
    register_all_modules()
    with parsed_once() as patch:
        patch.chdir(ROOT)
        yield


@pytest.fixture(scope='session')
def configs_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Config]]:
    """Configs of a pair by the method's name, all or some, as tools/new_config.py writes them."""
    folder = tmp_path_factory.mktemp('written')
    catalogue = Catalogue()

    @functools.cache
    def config(method: Method, pair: Pair) -> Config:
        path = folder / f'{method.name}_{pair.path.name}'
        with parsed_once():
            return Config.fromfile(catalogue.write(method, pair, path))

    def configs(pair: Pair, names: Collection[str] | None = None) -> dict[str, Config]:
        return {
            method.name: config(method, pair)
            for method in catalogue.methods_for(pair)
            if names is None or method.name in names
        }

    return configs
