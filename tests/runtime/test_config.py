"""Configs from all that may name one; sections in which a wrong key lists the right ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config, ConfigDict
from mmengine.config.utils import MODULE2PACKAGE

from wkd_det.runtime.config import build_strict, check_keys, keyword_names, read_config


class Part:
    def __init__(self, width, *, depth=1, name='part'):
        self.values = (width, depth, name)


class NoArguments:
    pass


def make_part(width=3):
    return Part(width)


FOUND = dict(Part=Part, NoArguments=NoArguments, make_part=make_part)


def build(config, **defaults):
    return build_strict('section.part', config, ['Part', 'NoArguments'], FOUND.get, **defaults)


# read_config


def test_a_config_by_its_path(tmp_path):
    path = tmp_path / 'tiny.py'
    path.write_text("model = dict(type='FasterRCNN', levels=[1, 2])\n")
    for source in (path, str(path)):
        config = read_config(source)
        assert isinstance(config, Config)
        assert config.model.levels == [1, 2]
        assert config.filename == str(path)


@pytest.mark.parametrize('make', [str, Path])
def test_a_config_by_its_name_in_a_package(make):
    config = read_config(make('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'))
    assert config.model.type == 'FasterRCNN'


@pytest.mark.parametrize('make', [dict, ConfigDict, Config])
def test_a_config_by_its_content_is_a_copy(make):
    source = make(dict(model=dict(levels=[1, 2])))
    config = read_config(source)
    assert isinstance(config, Config)
    assert config.model.levels == [1, 2]
    config.model.levels.append(3)
    config.model.depth = 18
    assert source['model'] == dict(levels=[1, 2])


def test_a_config_that_is_none():
    with pytest.raises(FileNotFoundError):
        read_config('there/is/none.py')
    message = 'a config must be a path, a name, a dict or a Config, got None'
    with pytest.raises(TypeError, match=f'^{message}$'):
        read_config(None)


FASTER = 'faster-rcnn_r50_fpn_1x_coco.py'


@pytest.mark.parametrize('section', [None, 'teacher.config'])
@pytest.mark.parametrize(
    ('name', 'error', 'message'),
    [
        (
            'mmabsent::resnet/resnet18.py',
            ModuleNotFoundError,
            "'mmabsent::resnet/resnet18.py' is a config of openmmabsent, which is not installed",
        ),
        (
            f'mmdet::{FASTER}',
            FileNotFoundError,
            f"mmdet has no config '{FASTER}': .*/{FASTER} is not there, "
            f"'mmdet::faster_rcnn/{FASTER}' is",
        ),
        ('mmdet::', FileNotFoundError, "mmdet has no config '': .*configs is not there"),
        ('mmdet::a::b.py', FileNotFoundError, "mmdet has no config 'a::b.py': .* is not there"),
        (
            'mmdt::x/y.py',
            ValueError,
            "'mmdt::x/y.py' names no package that has configs: got 'mmdt'; near .*mmdet",
        ),
        ('openmmlab::x/y.py', ValueError, "'openmmlab::x/y.py' names no package that has configs"),
    ],
)
def test_names_of_what_is_not_there_are_said_and_nothing_is_installed(
    monkeypatch, section, name, error, message
):
    def install(*_):
        pytest.fail('an installer was called')

    for place in ('mmengine.hub.hub', 'mmengine.utils', 'mmengine.utils.package_utils'):
        monkeypatch.setattr(f'{place}.install_package', install)
    monkeypatch.setattr('subprocess.check_call', install)
    monkeypatch.setitem(MODULE2PACKAGE, 'mmabsent', 'openmmabsent')
    where = '' if section is None else f'{section}: '
    with pytest.raises(error, match=f'^{where}{message}'):
        read_config(name, section=section)


# check_keys


def test_known_keys_pass():
    check_keys('section', [], [])
    check_keys('section', dict(a=1), ['b', 'a'])


def test_unknown_keys_are_listed_with_the_valid_ones():
    message = r"section has unknown keys \['x', 'y'\]; valid keys are \['a', 'b'\]"
    with pytest.raises(KeyError, match=message):
        check_keys('section', ['y', 'a', 'x'], ['b', 'a'])


# keyword_names


def test_names_that_a_config_may_set():
    def function(first, /, second, *rest, third=1, **others):
        pass

    assert keyword_names(function) == ['second', 'third']
    assert keyword_names(Part) == ['width', 'depth', 'name']
    assert keyword_names(Part.__init__) == ['width', 'depth', 'name']
    assert keyword_names(NoArguments) == []


# build_strict


def test_builds_what_the_config_says():
    config = dict(type='Part', width=4, depth=2)
    assert build(config).values == (4, 2, 'part')
    assert config == dict(type='Part', width=4, depth=2)  # left as it was
    assert build(dict(type=Part, width=4)).values == (4, 1, 'part')  # a class instead of a name
    assert build(dict(type='make_part')).values == (3, 1, 'part')
    assert isinstance(build(dict(type='NoArguments')), NoArguments)


def test_types_of_this_package_are_found_by_default():
    loss = build_strict('loss', dict(type='KDLoss', temperature=4.0), [])
    assert type(loss).__name__ == 'KDLoss'
    assert loss.temperature == 4.0


def test_defaults_fill_gaps_of_types_that_take_them():
    assert build(dict(type='Part', width=4), depth=5).values == (4, 5, 'part')
    assert build(dict(type='Part', width=4, depth=2), depth=5).values == (4, 2, 'part')
    assert isinstance(build(dict(type='NoArguments'), depth=5), NoArguments)


@pytest.mark.parametrize('config', [None, 'Part', 3, [dict(type='Part')], Part])
def test_a_section_must_be_a_dict(config):
    with pytest.raises(TypeError, match='section.part must be a dict with a type, got '):
        build(config)


@pytest.mark.parametrize('kind', [None, 'Prat', 3, ['Part']])
def test_a_type_that_does_not_exist(kind):
    config = dict(width=4) if kind is None else dict(type=kind, width=4)
    message = r"section.part.type must be one of \['NoArguments', 'Part'\], got "
    with pytest.raises(KeyError, match=message):
        build(config)


def test_an_argument_that_does_not_exist():
    message = r"section.part has unknown keys \['detph'\]; valid .* \['depth', 'name', 'width'\]"
    with pytest.raises(KeyError, match=message):
        build(dict(type='Part', width=4, detph=2))
    with pytest.raises(KeyError, match=r"unknown keys \['width'\]; valid keys are \[\]"):
        build(dict(type='NoArguments', width=4))


def test_an_argument_that_is_missing():
    with pytest.raises(TypeError, match="'width'"):
        build(dict(type='Part'))
