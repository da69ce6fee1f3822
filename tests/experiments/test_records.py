"""Records: what is in the file, and how two origins differ."""

import json
import math
import re

import pytest

from wkd_det.experiments.records import (
    machine,
    origin,
    origin_differences,
    read_record,
    rounded,
    thinned,
    write_record,
)

FINGERPRINT = dict(
    config=dict(a=1),
    code={'wkd_det/a.py': 'c' * 64},
    files={'teacher.pth': 't' * 64},
    versions=dict(torch='2.1'),
    extra=dict(processes=1),
)


def test_a_record_has_one_line_a_key_and_strict_json(tmp_path):
    path = tmp_path / 'final/a/seed_1.json'
    content = dict(metrics={'a/b': 0.5, 'a/c': math.nan}, curve=[[1, 0.25], [2, 0.5]], seed=1)
    write_record(path, content)
    assert path.read_text() == (
        '{\n "metrics": {"a/b":0.5,"a/c":null},\n "curve": [[1,0.25],[2,0.5]],\n "seed": 1\n}\n'
    )
    assert json.loads(path.read_text())['metrics'] == {'a/b': 0.5, 'a/c': None}


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{"me', 'is no record: Unterm'),
        ('[]', 'is no record: it holds a list$'),
        ('{}', 'is no record: it lacks commit$'),
    ],
)
def test_what_is_no_record(tmp_path, text, message):
    path = tmp_path / 'a.json'
    path.write_text(text)
    with pytest.raises(ValueError, match=f'^{re.escape(str(path))} .*{message}'):
        read_record(path)


def test_what_a_report_reads_must_be_there(tmp_path):
    whole = dict.fromkeys(['commit', 'cpu_seconds', 'extra', 'files', 'machine', 'versions'])
    path = tmp_path / 'a.json'
    write_record(path, dict(whole, metrics={}, failed='the loss is inf'))
    assert read_record(path)['failed'] == 'the loss is inf'
    write_record(path, dict(whole, metrics={'a/b': 1}))
    with pytest.raises(ValueError, match='is no record: it lacks curve$'):
        read_record(path)


def test_curves_are_thinned_evenly_and_keep_their_end():
    points = {step: step / 100 for step in range(1, 101)}
    found = thinned(points)
    assert len(found) == 50
    assert found[0] == [2, 0.02]
    assert found[-1] == [100, 1.0]
    assert {b[0] - a[0] for a, b in zip(found, found[1:])} == {2}
    assert thinned({2: 0.5, 1: 0.25}) == [[1, 0.25], [2, 0.5]]
    assert thinned({}) == []


def test_numbers_in_lists_are_rounded():
    value = dict(bins=[0.123456789, 3], name='a', pair=(1 / 3, [2e-9 / 3]))
    assert rounded(value) == dict(bins=[0.123457, 3], name='a', pair=[0.333333, [6.66667e-10]])


def test_records_of_a_commit_count_on_other_machines():
    here, there = (
        origin(FINGERPRINT, 'abc'),
        origin(
            dict(FINGERPRINT, versions=dict(torch='2.9'), code={'wkd_det/a.py': 'd' * 64}), 'abc'
        ),
    )
    assert origin_differences(here, there) == []
    assert here['code'] is None
    assert here['files'] == {'teacher.pth': 't' * 12}
    assert origin_differences(here, origin(FINGERPRINT, 'abd')) == ['commit']


@pytest.mark.parametrize(
    ('part', 'value', 'named'),
    [
        ('config', dict(a=2), ['config_hash']),
        ('files', {'teacher.pth': 'u' * 64}, ['files teacher.pth']),
        ('extra', dict(processes=2), ['extra processes']),
        ('code', {'wkd_det/a.py': 'd' * 64}, ['code wkd_det/a.py']),
        ('versions', dict(torch='2.9'), ['versions torch']),
    ],
)
def test_without_a_commit_code_and_versions_count_too(part, value, named):
    other = origin({**FINGERPRINT, part: value}, None)
    assert origin_differences(origin(FINGERPRINT, None), other) == named
    with_commit = [origin({**FINGERPRINT, **one}, 'abc') for one in ({}, {part: value})]
    expected = [] if part in ('code', 'versions') else named
    assert origin_differences(*with_commit) == expected


def test_machine():
    found = machine(3)
    assert found['threads'] == 3
    assert found['processor']
    assert found['cores'] >= 1
    assert 0 < found['unit_cpu_seconds'] < 60
    assert machine(None)['threads'] >= 1
