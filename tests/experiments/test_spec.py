"""Specs: what is read, and every mistake by its key."""

import pytest

from specs import STUDENT, WEIGHT, WKD_L, write_spec
from wkd_det.experiments.spec import read_spec


def test_spec_is_read(tmp_path):
    spec = read_spec(write_spec(tmp_path, search=dict(seeds=[9], factors=[0.5, 1], length=10)))
    assert spec.seeds == (1, 2)
    assert spec.search.seeds == (9,)
    assert spec.method('wkd').weights == (WEIGHT,)
    assert spec.method('wkd').factors == (0.5, 1.0)
    assert spec.method('plain').factors == ()
    assert spec.title == 'spec'
    assert spec.work_dir == tmp_path / 'work'


@pytest.mark.parametrize(
    ('changes', 'error', 'message'),
    [
        (dict(sedes=[1]), KeyError, r"unknown keys \['sedes'\]"),
        (dict(metric=None), KeyError, 'lacks metric'),
        (dict(seeds=[]), ValueError, 'seeds must be a list of whole numbers'),
        (dict(seeds=[1, 1]), ValueError, 'seeds must be different numbers'),
        (dict(length=0), ValueError, 'length must be a whole number of at least 1, got 0'),
        (dict(references=['kd']), ValueError, r"references must be among .*got 'kd'"),
        (dict(methods={}), ValueError, 'methods must not be empty'),
        (dict(methods=dict(a=dict(title='x'))), TypeError, 'methods.a must be a dict with c'),
        (dict(methods=dict(a=dict(config='no'))), FileNotFoundError, 'methods.a.config not found'),
        (dict(search=dict(seeds=[2], factors=[1])), ValueError, r'must not be among .*got \[2\]'),
        (dict(search=dict(seeds=[9], factors=[0])), ValueError, 'list of positive numbers'),
        (dict(search=dict(seeds=[9])), KeyError, 'search lacks factors'),
        (dict(prepare=[dict(name='x')]), ValueError, 'either command or config'),
        (dict(prepare=[dict(name='x', command='ls')]), TypeError, 'command must be a list'),
        (dict(prepare=[dict(name='x', config=STUDENT)]), KeyError, 'lacks work_dir'),
        (dict(prepare=[dict(name='x', command=[], needs=['a'])]), ValueError, 'makes is missing'),
    ],
)  # fmt: skip
def test_wrong_specs(tmp_path, changes, error, message):
    if changes.get('methods'):
        changes = dict(changes, references=None)
    with pytest.raises(error, match=message):
        read_spec(write_spec(tmp_path, **changes))


def test_every_method_gets_the_same_budget(tmp_path):
    methods = dict(
        plain=dict(config=STUDENT), wkd=dict(config=WKD_L, weight=WEIGHT, factors=[1, 2, 3])
    )
    path = write_spec(tmp_path, methods=methods, search=dict(seeds=[9], factors=[1, 2]))
    with pytest.raises(ValueError, match=r'as many values as search.factors \(2\).*got 3'):
        read_spec(path)
