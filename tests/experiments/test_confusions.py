"""Kinds of mistakes: how many differ between two methods, and by how much chance alone would."""

import numpy as np
import pytest

from specs import record, write_fake, write_spec
from wkd_det.experiments.confusions import compared
from wkd_det.experiments.records import write_record
from wkd_det.experiments.spec_reader import read_spec
from wkd_det.experiments.study import Study
from wkd_det.experiments.tables import confusions_table

pytest.importorskip('statsmodels')

SEEDS = range(1, 9)


def drawn(seed, more=0.0):
    """Confusions of 10 classes by seed; one kind of mistake is more frequent by a number."""
    generator = np.random.default_rng(seed)
    tables = generator.normal(50, 2, (len(SEEDS), 10, 10))
    tables[:, 3, 5] += more
    return {one: table.tolist() for one, table in zip(SEEDS, tables)}


def test_without_a_difference_five_in_a_hundred_differ_by_chance():
    found = [compared(drawn(2 * index), drawn(2 * index + 1)) for index in range(20)]
    assert all((one.seeds, one.kinds) == (8, 90) for one in found)
    assert 2 < np.mean([one.differing for one in found]) < 7  # 4.5
    assert sum(one.corrected for one in found) <= 3


def test_a_kind_of_mistake_that_one_method_avoids():
    found = compared(drawn(0, more=20), drawn(1))
    assert found.corrected == 1
    assert found.more == pytest.approx(20, abs=15)
    assert compared(drawn(0, more=80), drawn(1, more=80)).correlation > 0.9


def test_the_diagonal_is_no_mistake_and_equal_tables_do_not_differ():
    own = {seed: [[seed, 3], [4, 9]] for seed in (1, 2)}
    other = {seed: [[7, 3], [4, 100 * seed]] for seed in (1, 2)}
    found = compared(own, other)
    assert (found.kinds, found.differing, found.more) == (2, 0, 0)
    assert compared(own, {1: other[1]}) is None


def test_table_of_the_pairs_of_the_hypotheses(tmp_path):
    methods = {
        name: dict(config=write_fake(tmp_path, name), title=name.upper())
        for name in ('plain', 'wkd')
    }
    claims = [
        dict(name='H1', method='wkd', over='plain'),
        dict(name='H2', method='wkd', over='plain', margin=1),  # the same pair
    ]
    path = write_spec(tmp_path, methods=methods, seeds=list(SEEDS), hypotheses=claims)
    study = Study(read_spec(path))
    assert confusions_table(study, study.results()) == ''
    for name, tables in dict(plain=drawn(1), wkd=drawn(0, more=20)).items():
        for *_, key in study.finals([name]):
            metrics = {'fake/score': 0.5, 'fake/confusion': tables[key.seed]}
            write_record(study.path(key), record(study.spec, key, 0.5, metrics=metrics))
    head, _, line = confusions_table(study, study.results()).splitlines()
    assert head.startswith('| comparison | seeds | mistakes | kinds with p < 0.05 | by chance |')
    cells = [cell.strip() for cell in line.strip('|').split('|')]
    assert (cells[0], cells[1], cells[4], cells[5]) == ('WKD over PLAIN', '8', '4.5', '1')
    assert cells[3].endswith(' of 90')
