"""The command ``wkd_det``: what is installed, the configs, and the tools of the package."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import mmdet
import pytest
import torch
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

from wkd_det import __main__ as command
from wkd_det.runtime.config import config_file, read_config
from wkd_det.version import __version__

ROOT = Path(__file__).parents[1]


@pytest.fixture
def wkd_det(monkeypatch, capsys, tmp_path):
    """Run the command in a folder of its own; return what it prints and how it ends."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['wkd_det', *map(str, arguments)])
        code = 0
        try:
            command.main()
        except SystemExit as end:
            code = end.code
        return capsys.readouterr().out, code

    return run


def test_shows_what_is_installed_and_three_commands(wkd_det):
    output, code = wkd_det()
    assert code == 0
    assert output.startswith(f'wkd_det {__version__} in ')
    assert f'torch        {torch.__version__}\n' in output
    assert f'mmdet        {mmdet.__version__}\n' in output
    assert re.search(r"mmcv +2\.\S+, operators (compiled|by torchvision's kernels)\n", output)
    assert re.search(r'devices +\S', output)
    assert output.split('Start with:')[1].count('python -m wkd_det') == 3


def test_says_what_is_missing(wkd_det, monkeypatch):
    monkeypatch.setattr(command, 'version_of', lambda name: None)
    output, code = wkd_det()
    assert code == 0
    assert output.count('missing') == 5
    assert "For detectors: pip install 'wkd_det[openmmlab]' (or 'wkd_det[onedl]')\n" in output


def test_version(wkd_det):
    assert wkd_det('--version') == (f'{__version__}\n', 0)


def test_lists_configs_with_their_titles(wkd_det):
    everything = wkd_det('configs')[0]
    assert everything == wkd_det('configs', 'list')[0]
    assert '_base_' not in everything
    names = re.findall(r'^wkd_det::(\S+)$', everything, re.MULTILINE)
    configs = [path.relative_to(ROOT / 'configs') for path in (ROOT / 'configs').rglob('*.py')]
    assert sorted(names) == sorted(str(path) for path in configs if '_base_' not in path.parts)
    output = wkd_det('configs', 'list', 'wkd_det::mini/wkd-lf.py')[0]
    title = (ROOT / 'configs/mini/wkd-lf.py').read_text().splitlines()[0].lstrip('# ')
    assert output == f'wkd_det::mini/wkd-lf.py\n    {title}\n'


def test_copies_configs_that_read_the_same(wkd_det, tmp_path):
    output, code = wkd_det('configs', 'copy', 'mini/*', '--to', 'own')
    assert code == 0
    assert re.fullmatch(r'\d+ configs and \d+ bases are in own\n', output)
    copied = {path.name for path in (tmp_path / 'own/mini').glob('*.py')}
    assert copied == {path.name for path in (ROOT / 'configs/mini').glob('*.py')}
    kept = Config.fromfile(tmp_path / 'own/mini/wkd-lf.py').to_dict()
    assert kept == Config.fromfile(ROOT / 'configs/mini/wkd-lf.py').to_dict()
    assert not (tmp_path / 'own/detection').exists()
    (tmp_path / 'own/mini/wkd-lf.py').write_text('# mine')
    assert wkd_det('configs', 'copy', 'mini', '--to', 'own')[1] == (
        'error: own/mini/wkd-lf.py exists and is another file'
    )
    assert (tmp_path / 'own/mini/wkd-lf.py').read_text() == '# mine'


def test_no_such_config(wkd_det):
    message = "error: no config fits 'nowhere'; python -m wkd_det configs lists all"
    assert wkd_det('configs', 'list', 'nowhere')[1] == message
    assert wkd_det('configs', 'copy', 'nowhere')[1] == message


def test_runs_the_tools_of_the_package(wkd_det):
    for name in command.TOOLS:
        assert (command.SHIPPED / f'tools/{name}.py').is_file()
    output, code = wkd_det('make_mini_dataset', '--train', 2, '--val', 1, '--output', 'scenes')
    assert code == 0
    assert output.startswith('scenes: train 2 scenes with ')


def test_explains_and_gives_the_code_of_a_mistake(wkd_det):
    output, code = wkd_det('explain', 'wkd_det::mini/wkd-lf.py', '--method', 'kd')
    assert (output, code) == ('', 2)
    output, code = wkd_det('explain', 'nowhere.py')
    assert (output, code) == ('', 'error: no such file: nowhere.py')


# Names of configs


@pytest.mark.parametrize('name', ['mini/wkd-lf.py', 'classification/digits/wkd-lf_digits.py'])
def test_names_are_paths_in_the_package(name):
    path = ROOT / 'configs' / name
    assert Path(config_file(f'wkd_det::{name}')).samefile(path)
    assert read_config(f'wkd_det::{name}').to_dict() == Config.fromfile(path).to_dict()


def test_other_text_is_no_name_and_a_wrong_name_is_an_error(monkeypatch):
    for text in ('a.py', 'model.type=a::b', 'nobody::a/b.py', '--flag'):
        assert config_file(text) == text
    assert Path(config_file('mmdet::_base_/default_runtime.py')).is_file()
    with pytest.raises(FileNotFoundError, match=r"^wkd_det has no config 'mini/x.py': .* is not"):
        config_file('wkd_det::mini/x.py')
    monkeypatch.setitem(MODULE2PACKAGE, 'mmabsent', 'openmmabsent')
    message = "^'mmabsent::x.py' is a config of openmmabsent, which is not installed$"
    with pytest.raises(ModuleNotFoundError, match=message):
        config_file('mmabsent::x.py')


def test_a_base_of_the_package_builds_as_its_own_file_does(tmp_path):
    from mmdet.registry import MODELS

    name = 'wkd_det::classification/digits/baseline/resnet8.py'
    (tmp_path / 'own.py').write_text(f'_base_ = {name!r}')
    config = Config.fromfile(tmp_path / 'own.py').model
    assert config._scope_ == 'wkd_det'
    model = MODELS.build(config)
    plain = MODELS.build(read_config(name).model)
    assert type(model) is type(plain)
    assert [*model.state_dict()] == [*plain.state_dict()]


def test_batches_of_a_base_of_the_package_are_collated(tmp_path):
    """mmengine leaves the scope of the base among the options of the function."""
    from mmengine.runner import Runner

    name = 'wkd_det::classification/digits/baseline/resnet8.py'
    (tmp_path / 'own.py').write_text(f'_base_ = {name!r}')
    loader = Runner.build_dataloader(Config.fromfile(tmp_path / 'own.py').val_dataloader, seed=0)
    images, labels = next(iter(loader))
    assert images.shape[1:] == (3, 32, 32)
    assert len(images) == len(labels) == 200
