"""Every config says what it is, and is what tools/new_config.py writes; no file is left over."""

from __future__ import annotations

import copy
import functools
import re
from pathlib import Path

import mmdet
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from config_catalogue.catalogue import Catalogue
from config_catalogue.headers import Header
from config_catalogue.tables import START, TABLES, configs_table, with_table
from config_catalogue.text import config_text
from wkd_det.detection import detectors
from wkd_det.detection.geometry import num_classes

ROOT = Path(__file__).parents[2]
MMDET = Path(mmdet.__file__).parent / '.mim'
CATALOGUE = Catalogue()
FILES = sorted((ROOT / 'configs').rglob('*.py'))
CONFIGS = [path for path in FILES if '_base_' not in path.parts]
# Between pair and method, a distilled config and its place.
PLACES = {
    CATALOGUE.place(method, pair): (method, pair)
    for pair in CATALOGUE.pairs
    for method in CATALOGUE.methods_for(pair)
}
DISTILLED = [path for path in CONFIGS if path in PLACES]
PLAIN = [path for path in CONFIGS if path not in PLACES]
EVERY = {'wkd-l', 'wkd-f', 'wkd-f-fpn', 'wkd-lf'}  # of WKD, for pairs of Faster R-CNN
pytestmark = pytest.mark.usefixtures('from_the_root')


@functools.cache
def load_config(path: Path) -> Config:
    return Config.fromfile(path)


def methods_at(pair: str, schedule: str) -> set[str]:
    """Methods that have a config for a pair."""
    found = (PLACES[path] for path in DISTILLED)
    return {method.name for method, one in found if (one.name, one.schedule) == (pair, schedule)}


def test_the_first_pair_of_each_kind_has_every_method_and_the_others_wkd() -> None:
    published = {PLACES[path][0].name for path in DISTILLED}  # a base alone may be new
    methods = [method for method in CATALOGUE.methods if method.name in published]
    every = {method.name for method in methods if 'two-stage' in method.kinds}
    assert methods_at('mini', '500i') == methods_at('scenes', '2400i') == every
    assert methods_at('faster-rcnn_r101-to-r18', '180k') == every
    assert methods_at('faster-rcnn_r101-to-r18', '1x') == EVERY
    for pair in ('faster-rcnn_r50-to-mobilenetv2', 'faster-rcnn_r101-to-r50'):
        assert methods_at(pair, '180k') == EVERY
    names = {
        kind: {method.name for method in methods if kind in method.kinds}
        for kind in ('cnn', 'alone', 'reference', 'gfl', 'query')
    }
    assert methods_at('mini_gfl', '500i') == names['gfl'] - every | {'wkd-f-fpn'}
    assert methods_at('mini_dino', '1000i') == names['query']
    assert methods_at('digits', '120i') == names['cnn']
    assert methods_at('digits-alone', '120i') == names['alone']
    for data, pair in (
        ('cifar100', 'resnet32x4-to-resnet8x4'),
        ('imagenet', 'resnet34-to-resnet18'),
    ):
        assert methods_at(f'{data}_{pair}', 'paper') == names['cnn']
        assert methods_at(f'{data}_{pair}', 'reference') == names['reference']
        assert methods_at(f'{data}_resnet18', 'self') == names['alone']
        born_again = methods_at(f'{data}_resnet18-to-resnet18', 'born-again')
        assert born_again >= {'kd', 'wkd-l', 'tfkd-self'}
    without = {pair.name for pair in CATALOGUE.pairs} - {PLACES[path][1].name for path in DISTILLED}
    assert without == set()


def test_every_kind_of_detector_has_a_config() -> None:
    kinds = {name: kind for name, kind in vars(detectors).items() if isinstance(kind, type)}
    made = {name for name, kind in kinds.items() if issubclass(kind, detectors.DistilledMixin)}
    made.remove('DistilledMixin')
    found = {load_config(path).model.type for path in DISTILLED}
    assert found - {'DistilledClassifier'} == made


def test_distilled_configs_are_what_the_tool_writes() -> None:
    """A header, a pair and a method; the result alone is written by hand."""
    different = []
    for path in DISTILLED:
        result = re.compile('^# Expected: .+$', re.MULTILINE)
        written = config_text(*PLACES[path], path, root=ROOT)
        if result.sub('', path.read_text()) != result.sub('', written):
            different.append(path.name)
    assert different == []


def test_headers_say_what_and_how() -> None:
    for path in CONFIGS:
        fields = Header.of(path).fields
        missing = {'Method', 'Pair', 'Needs', 'Command', 'Expected'} - set(fields)
        assert missing == set(), path
        command = fields['Command'].replace('\\ ', '')
        assert f' {path.relative_to(ROOT).as_posix()}' in command
        scripts = re.findall(r'tools/\S+', command)
        assert [name for name in scripts if not (ROOT / name).is_file()] == []


def test_names_differ() -> None:
    """A distilled config is trained in a folder of its own name."""
    names = [path.stem for path in DISTILLED]
    assert sorted(set(names)) == sorted(names)
    assert [path for path in DISTILLED if 'work_dir' in load_config(path)] == []


def test_no_fragment_stays_behind() -> None:
    fragments = {'distill', 'settings', 'student', 'teacher'}
    for path in CONFIGS:
        config = load_config(path)
        left = [key for key in config if key.startswith('loss_') or key in fragments]
        assert left == [], path


def test_plain_models_build() -> None:
    for path in PLAIN:
        # On the meta device, where weights take neither time nor memory.
        with torch.device('meta'):
            model = MODELS.build(copy.deepcopy(load_config(path).model))
        classes = dict(mini=10, detection=80, digits=10, cifar100=100, imagenet=1000)
        classes.update(scenes=10, backbones=50)
        parts = [part for part in path.parts if part in classes]
        found = model.num_classes if hasattr(model, 'num_classes') else num_classes(model)
        assert found == classes[parts[-1]], path


def test_no_base_is_unused() -> None:
    used: set[Path] = set()

    def follow(path: Path) -> None:
        for base in Config._get_base_files(str(path)):
            found = (path.parent / base).resolve()
            if '::' not in base and found not in used:
                used.add(found)
                follow(found)

    for method, pair in PLACES.values():
        for path in (pair.path, method.base_for(pair)):
            used.add(path)
            follow(path)
    for path in CONFIGS:
        follow(path)
    bases = {path for path in FILES if '_base_' in path.parts}
    strategies = {path for path in bases if path.parent.name == 'strategies'}  # for users' configs
    assert sorted(bases - used - strategies) == []


def test_a_method_defines_distill_and_at_most_what_goes_with_it() -> None:
    for path in sorted((ROOT / 'configs/_base_/distill').rglob('*.py')):
        keys = set(Config.fromfile(path))
        assert {'distill'} <= keys <= {'distill', 'custom_hooks', 'student', 'train_dataset'}, path


@pytest.mark.parametrize('folder', TABLES)
def test_tables_are_those_that_the_tool_makes(folder: str) -> None:
    text = (ROOT / 'configs' / folder / 'README.md').read_text()
    table = configs_table(CATALOGUE, folder)
    assert with_table(text, table) == text, f'renew it: {START}'
    links = re.findall(r'\]\(([^)]+)\)', table)
    listed = {(ROOT / 'configs' / folder / link).resolve() for link in links}
    parts = [ROOT / 'configs' / part for part in TABLES[folder]]
    assert listed == {path for path in CONFIGS if {*parts} & {*path.parents}}


READMES = sorted((ROOT / 'configs').rglob('README.md'))


@pytest.mark.parametrize('readme', READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_readme_names_files_that_exist(readme: Path) -> None:
    text = readme.read_text()
    links = re.findall(r'\]\(([^)#]+)[^)]*\)', text)
    local = [link for link in links if '://' not in link]
    assert [link for link in local if not (readme.parent / link).is_file()] == []
    named = re.findall(r'(?<![\w/:.-])(?:configs|tools|tests|wkd_det)/[\w./-]+\.\w+', text)
    assert [name for name in named if not (ROOT / name).is_file()] == []
    released = re.findall(r'mmdet::([\w./-]+)', text)
    assert [name for name in released if not (MMDET / 'configs' / name).is_file()] == []
