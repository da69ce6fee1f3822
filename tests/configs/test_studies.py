"""Studies of this project: every arm is a model that builds, with data sets that exist."""

import copy
from pathlib import Path

import pytest
import torch
from mmdet.registry import DATASETS, MODELS

from wkd_det.experiments.plan import load
from wkd_det.experiments.spec_reader import read_spec

ROOT = Path(__file__).parents[2]
SPECS = sorted((ROOT / 'studies').glob('cifar100*.py'))
IMAGES = dict(cifar100_shares='val')
"""Of the tables that compare with trials of a search: its images."""
pytestmark = pytest.mark.usefixtures('from_the_root')


@pytest.fixture
def spec(request):
    return read_spec(request.param)


@pytest.mark.parametrize('spec', SPECS, ids=lambda path: path.stem, indirect=True)
def test_every_arm_of_cifar_100_builds(spec):
    for method in spec.methods:
        config = load(method.config, spec.overrides, method.overrides)
        with torch.device('meta'):  # no memory, no initialisation
            model = MODELS.build(copy.deepcopy(config.model))
        assert model.num_classes == 100
        train, val = (config[f'{name}_dataloader'].dataset for name in ('train', 'val'))
        held_out = {section.get('val_per_class') for section in (train, val)}
        assert held_out == {50}  # the images of the search are in no training
        assert (train.split, val.split) == ('train', IMAGES.get(spec.path.stem, 'test'))
        assert train.batched
        assert DATASETS.get(train.type) is not None
        distilled = hasattr(model, 'distiller')
        reads = model.distiller.teacher_modules('teacher') if distilled else []
        # What is stored is all that the terms read; else the teacher is at work, and nothing is.
        stored = {'', *train.get('stored_maps', ())} if 'stored_teacher' in train else set()
        assert not stored or set(reads) <= stored


@pytest.mark.parametrize('spec', SPECS, ids=lambda path: path.stem, indirect=True)
def test_the_search_sees_other_images_and_other_seeds(spec):
    search = spec.search
    if search is not None and search.seeds:
        assert search.overrides['val_dataloader.dataset.split'] == 'val'
        assert not set(search.seeds) & set(spec.seeds)
