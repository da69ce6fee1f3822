"""Specs: what is read, and every mistake by its key."""

import re

import pytest

from specs import STAGES, fake_search, write_fake, write_spec
from wkd_det.experiments.spec import Check, Stage
from wkd_det.experiments.spec_reader import read_spec

LR = 'optim_wrapper.optimizer.lr'


def two(folder, **options):
    """Two methods; options are those of the second."""
    return dict(
        plain=dict(config=write_fake(folder, 'plain'), weight='model.weight'),
        wkd=dict(config=write_fake(folder, 'wkd'), **options),
    )


def test_spec_is_read(tmp_path):
    spec = read_spec(
        write_spec(
            tmp_path,
            search=fake_search(length=10, widen=2, check=dict(length=20)),
            metrics=['fake/a', dict(key='fake/b', title='B', higher=False, digits=1)],
            digits=2,
            commit='abc',
        )
    )
    assert spec.name == spec.title == 'spec'
    assert spec.seeds == (1, 2)
    assert (spec.metric, spec.column.digits) == ('fake/score', 2)
    first, second = spec.columns
    assert (first.title, first.higher, first.digits) == ('fake/a', True, 4)
    assert (second.title, second.higher, second.digits) == ('B', False, 1)
    assert spec.records == tmp_path / 'results/spec'
    assert spec.work_dir == tmp_path / 'work/spec'
    assert spec.commits == ('abc',)
    titled = [dict(key='fake/score', title='score', digits=3), 'fake/a']
    spec_ = read_spec(write_spec(tmp_path, 'titled', metrics=titled))
    assert (spec_.column.title, spec_.column.digits) == ('score', 3)
    assert [column.key for column in spec_.columns] == ['fake/a']
    assert (spec.search.seeds, spec.search.length, spec.search.widen) == ((101,), 10, 2)
    assert spec.search.check == Check(20, 2)
    expected = (Stage(('model.weight',), (0.5, 1, 2)), Stage((LR,), (0.5, 1, 2)))
    assert spec.method('wkd').stages == spec.method('plain').stages == expected
    assert spec.method('wkd').like == 'wkd'


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('a.py', 'seeds = [1', 'a.py is no spec: '),
        ('a.py', 'seeds = some', "a.py is no spec: name 'some' is not defined"),
        ('a.md', '# A', 'a.md is no spec: Only py/yml/yaml/json type are supported now!'),
    ],
)
def test_what_is_no_spec(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_spec(tmp_path / name)
    with pytest.raises(FileNotFoundError, match='^there is no spec .*b.py'):
        read_spec(tmp_path / 'b.py')


@pytest.mark.parametrize(
    ('changes', 'error', 'message'),
    [
        (dict(overrides=['a']), TypeError, r"^overrides must be a dict, got \['a'\]$"),
        (
            dict(search=fake_search(widen=None)),
            ValueError,
            '^search.widen must be a whole number of at least 0, got None$',
        ),
        (dict(search=fake_search(overrides=3)), TypeError, '^search.overrides must be a dict'),
    ],
)
def test_values_of_the_wrong_kind(tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        read_spec(write_spec(tmp_path, **changes))


def test_a_method_may_have_stages_seeds_and_length_of_its_own(tmp_path):
    stages = [dict(keys='weight', factors=[1, 10, 100]), dict(keys=['model.a'], factors=[1, 2, 4])]
    methods = two(tmp_path, weight=['model.weight', 'model.b'], stages=stages, seeds=[2], length=7)
    methods['like'] = dict(config=methods['wkd']['config'], weight='model.c', like='wkd')
    spec = read_spec(write_spec(tmp_path, methods=methods, search=fake_search()))
    own, like = spec.method('wkd'), spec.method('like')
    assert own.stages[0].keys == ('model.weight', 'model.b')
    assert (own.seeds, own.length) == ((2,), 7)
    assert like.like == 'wkd'
    assert like.stages == (Stage(('model.c',), (1, 10, 100)), Stage(('model.a',), (1, 2, 4)))


def test_factors_of_another_study(tmp_path):
    write_spec(tmp_path, 'first', search=fake_search())
    methods = two(tmp_path, weight=['model.weight', 'model.b'])
    spec = read_spec(
        write_spec(tmp_path, 'second', methods=methods, search=dict(of='first.py'), seeds=[5])
    )
    assert spec.search.of.name == 'first'
    assert spec.method('wkd').stages[0].keys == ('model.weight', 'model.b')
    assert spec.method('plain').stages[1].keys == (LR,)


def test_studies_may_name_each_other(tmp_path):
    claim = dict(name='H', method='wkd', over='plain', study='second.py')
    write_spec(tmp_path, 'second', search=dict(of='first.py'))
    path = write_spec(
        tmp_path, 'first', search=fake_search(), lengths=['second.py'], hypotheses=[claim]
    )
    write_spec(tmp_path, 'second', search=dict(of='first.py'), lengths=['first.py'])
    spec = read_spec(path)
    assert spec.lengths == (tmp_path / 'second.py',)
    assert spec.hypotheses[0].study == tmp_path / 'second.py'


def test_hypotheses(tmp_path):
    claims = [
        dict(name='H1', title='more', method='wkd', over='plain'),
        dict(name='H2', method='wkd', over=['plain', 'wkd'], metric='fake/b', margin=0.5),
    ]
    spec = read_spec(
        write_spec(tmp_path, hypotheses=claims, metrics=[dict(key='fake/b', higher=False)])
    )
    first, second = spec.hypotheses
    assert (first.over, first.column, first.margin) == (('plain',), spec.column, 0.0)
    assert (second.over, second.column.higher, second.margin) == (('plain', 'wkd'), False, 0.5)
    assert not spec.exploratory('plain')
    assert read_spec(write_spec(tmp_path)).exploratory('plain') is False
    other = read_spec(write_spec(tmp_path, hypotheses=[dict(name='H', method='wkd', over='wkd')]))
    assert other.exploratory('plain')


SEEDS = 'must be a list of whole numbers of at least 0'
STAGE = dict(keys='weight', factors=[0.5, 1, 2])


@pytest.mark.parametrize(
    ('changes', 'error', 'message'),
    [
        (dict(sedes=[1]), KeyError, r"spec.py has unknown keys \['sedes'\]"),
        (dict(metric=None), KeyError, 'spec.py lacks metric'),
        (dict(seeds=[]), ValueError, rf'^seeds {SEEDS}, got \[\]$'),
        (dict(seeds=[1.5]), ValueError, rf'^seeds {SEEDS}, got \[1.5\]$'),
        (dict(seeds=[1, 1]), ValueError, r'^seeds must be different numbers, got \[1, 1\]$'),
        (dict(length=0), ValueError, '^length must be a whole number of at least 1, got 0$'),
        (dict(digits=-1), ValueError, '^digits must be a whole number of at least 0, got -1$'),
        (dict(references=['kd']), ValueError, r"^references must be among the methods .*got 'kd'$"),
        (dict(references=3), TypeError, '^references must be a string or a list of strings, got 3'),
        (dict(methods={}, references=None), ValueError, '^methods must not be empty$'),
        (dict(methods=dict(a=dict(title='x'))), TypeError, '^methods.a must be a dict with config'),
        (dict(methods=dict(a=dict(config='no'))), FileNotFoundError, '^methods.a.config not found'),
        (dict(metrics=[dict(title='x')]), KeyError, 'an entry of metrics lacks key'),
        (
            dict(metrics=[dict(key='fake/score', higher=False)]),
            ValueError,
            "^metric must be one whose higher values are better, got 'fake/score'$",
        ),
        (dict(metrics=[1]), TypeError, '^an entry of metrics must be a dict, got 1$'),
        (dict(search=dict(seeds=[2], stages=[STAGE])), ValueError, r'^search.seeds must not be am'),
        (dict(search=dict(seeds=[9])), KeyError, 'search lacks stages'),
        (dict(search=dict(of='no.py')), FileNotFoundError, '^search.of: there is no '),
        (dict(search=fake_search(widen=-1)), ValueError, '^search.widen must be a whole number of'),
        (dict(search=fake_search(check=dict(factors=1))), ValueError, '^search.check.factors must'),
        (dict(search=fake_search(factors=[1])), KeyError, r"search has unknown keys \['factors'\]"),
        (dict(prepare=[dict(name='x')]), ValueError, '^prepare x must have either command or conf'),
        (dict(prepare=[dict(name='x', command='ls')]), TypeError, 'command must be a list of word'),
        (dict(prepare=[dict(name='x', command=[], needs=['a'])]), ValueError, 'makes is missing$'),
        (dict(prepare=[dict(name='x', command=[], keep='a')]), ValueError, 'keep is for a config'),
        (dict(hypotheses=[dict(name='H')]), KeyError, 'an entry of hypotheses lacks method'),
        (
            dict(hypotheses=[dict(name='H', method='kd', over='plain')]),
            ValueError,
            r"^hypothesis H must be among the methods \['plain', 'wkd'\], got 'kd'$",
        ),
        (
            dict(hypotheses=[dict(name='H', method='wkd', over='plain', metric='b')]),
            ValueError,
            r"^hypothesis H: metric must be metric or one of metrics \['fake/score'\], got 'b'$",
        ),
        (
            dict(hypotheses=[dict(name='H', method='wkd', over='plain', margin=-1)]),
            ValueError,
            '^hypothesis H: margin must be a number of at least 0, got -1$',
        ),
        (dict(lengths=['no.py']), FileNotFoundError, '^lengths: there is no '),
    ],
)  # fmt: skip
def test_wrong_specs(tmp_path, changes, error, message):
    with pytest.raises(error) as found:
        read_spec(write_spec(tmp_path, **changes))
    assert re.search(message, str(found.value.args[0]))


@pytest.mark.parametrize(
    ('factors', 'rule'),
    [
        ([1], r'be a list of at least two positive numbers, got \[1\]'),
        ([0, 1], r'be a list of at least two positive numbers, got \[0, 1\]'),
        ([1, True], 'be a list of at least two positive numbers'),
        ([2, 1], r'grow from number to number, got \[2, 1\]'),
        ([1, 1], 'grow from number to number'),
    ],
)
def test_wrong_factors(tmp_path, factors, rule):
    stages = [dict(keys='weight', factors=factors)]
    path = write_spec(tmp_path, search=dict(seeds=[9], stages=stages))
    with pytest.raises(ValueError, match=rf'^search.stages\[0\].factors must {rule}'):
        read_spec(path)


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (
            dict(weight='model.weight', stages=STAGES[:1]),
            ValueError,
            r'^methods.wkd.stages must have as many stages and start factors as search.stages '
            r'\(\[3, 3\]\): every method gets the same budget; got \[3\]$',
        ),
        ({}, KeyError, 'methods.wkd lacks weight, the keys that the search scales'),
        (dict(weight='a', like='kd'), ValueError, "^methods.wkd.like must be .*got 'kd'$"),
        (dict(weight='a', like='wkd'), ValueError, "^methods.wkd.like must be .*got 'wkd'$"),
        (
            dict(weight='a', like='plain', stages=STAGES),
            ValueError,
            '^methods.wkd must not have both like and stages$',
        ),
        (
            dict(weight='a', seeds=[3]),
            ValueError,
            r'^methods.wkd.seeds must be among seeds \[1, 2\], got \[3\]$',
        ),
    ],
)
def test_every_method_gets_the_same_search(tmp_path, options, error, message):
    path = write_spec(tmp_path, methods=two(tmp_path, **options), search=fake_search())
    with pytest.raises(error) as found:
        read_spec(path)
    assert re.search(message, str(found.value.args[0]))


def test_mistakes_without_a_search_or_with_that_of_another_study(tmp_path):
    methods = two(tmp_path, like='plain')
    with pytest.raises(ValueError, match='^methods.wkd.like needs a search section$'):
        read_spec(write_spec(tmp_path, methods=methods))
    write_spec(tmp_path, 'first')
    path = write_spec(tmp_path, 'second', search=dict(of='first.py'))
    message = "^search.of must be a study with a search of its own, got 'first.py'$"
    with pytest.raises(ValueError, match=message):
        read_spec(path)
    write_spec(tmp_path, 'first', search=fake_search())
    methods = two(tmp_path, weight='a', stages=STAGES)
    path = write_spec(tmp_path, 'second', methods=methods, search=dict(of='first.py'))
    with pytest.raises(ValueError, match='^methods.wkd.stages are those of search.of$'):
        read_spec(path)
