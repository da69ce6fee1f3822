"""Figures of a comparison: what a band is, and that they are drawn."""

import pytest

from specs import result, write_spec
from wkd_det.experiments.figures import band, forest_plot, learning_curves
from wkd_det.experiments.report import summarise
from wkd_det.experiments.spec import read_spec


def test_curves_of_runs_shorter_than_a_log_interval(tmp_path):
    spec = read_spec(write_spec(tmp_path))
    short = dict(result(0.0), losses={})
    learning_curves(spec, {'plain': {1: short}}, tmp_path / 'curves.png')
    assert (tmp_path / 'curves.png').read_bytes().startswith(b'\x89PNG')


def test_band():
    steps, mean, error = band([{'10': 1.0, '20': 2.0}, {'20': 4.0, '30': 9.0}])
    assert steps.tolist() == [20]
    assert mean.tolist() == [3.0]
    assert error.tolist() == [1.0]
    assert band([{'10': 1.0}])[2].tolist() == [0.0]


@pytest.mark.parametrize('curve', [None, {'20': 0.1, '40': 0.2}])
def test_plots_are_written(tmp_path, results, curve):
    spec = read_spec(write_spec(tmp_path))
    results['wkd'][3] = result(0.2, curve=curve)
    if curve:
        for runs in results.values():
            for value in runs.values():
                value['curve'] = curve
    learning_curves(spec, results, tmp_path / 'curves.png')
    forest_plot(spec, summarise(spec, results), tmp_path / 'forest.png')
    for name in ('curves.png', 'forest.png'):
        assert (tmp_path / name).read_bytes().startswith(b'\x89PNG')
