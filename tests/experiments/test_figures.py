"""Figures of a study: what is drawn, and when there is none."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from specs import write_fake, write_records, write_spec
from wkd_det.experiments import figures
from wkd_det.experiments.figures import (
    band,
    calibration_curves,
    calibration_error,
    confusions,
    forest_plot,
    gain_over_length,
    kinds_of_mistakes,
    learning_curves,
    pooled_bins,
)
from wkd_det.experiments.spec_reader import read_spec
from wkd_det.experiments.study import Study
from wkd_det.experiments.tables import summarise

VALUES = dict(plain={1: 0.2, 2: 0.4, 3: 0.31}, wkd={1: 0.3, 2: 0.5, 3: 0.4})


@pytest.fixture
def drawn(monkeypatch):
    """Figures that would be written, by the name of their file."""
    found: dict[str, Figure] = {}
    monkeypatch.setattr(
        figures, '_save', lambda figure, output: found.setdefault(output.name, figure)
    )
    return found


def studied(folder, name='spec', values=VALUES, options=None, **changes):
    study = write_records(
        write_spec(folder, name, seeds=[1, 2, 3], **(options or {})), values, **changes
    )
    return study, study.results()


def test_curves_are_those_of_the_metric_where_there_are_such(tmp_path, drawn):
    study, results = studied(tmp_path)
    learning_curves(study.spec, results, tmp_path / 'curves.png')
    (axis,) = drawn['curves.png'].axes
    assert axis.get_ylabel() == 'fake/score'
    plain, wkd = axis.lines
    assert plain.get_label() == 'plain'
    np.testing.assert_allclose(wkd.get_xydata(), [[2, 0.2], [4, 0.4]])


def test_curves_of_the_task_loss_otherwise(tmp_path, drawn):
    study, results = studied(tmp_path, curve={'fake/score': [[4, 0.5]]})
    learning_curves(study.spec, results, tmp_path / 'curves.png')
    (axis,) = drawn['curves.png'].axes
    assert (axis.get_ylabel(), axis.get_yscale()) == ('task loss', 'log')
    study, results = studied(tmp_path, curve={'fake/score': [[4, 0.5]]}, losses=[])
    learning_curves(study.spec, results, tmp_path / 'short.png')  # shorter than a log interval
    assert drawn['short.png'].axes[0].get_yscale() == 'linear'


def test_band():
    steps, mean, deviation = band([[[10, 1.0], [20, 2.0]], [[20, 4.0], [30, 9.0]]])
    assert steps.tolist() == [20]
    assert mean.tolist() == [3.0]
    assert deviation.tolist() == pytest.approx([2**0.5])
    assert band([[[10, 1.0]]])[2].tolist() == [0.0]


def test_forest_plot_shows_intervals_and_which_of_them_hold_zero(tmp_path, drawn):
    methods = {name: dict(config=write_fake(tmp_path, name)) for name in ('plain', 'a', 'b', 'c')}
    values = dict(
        plain=VALUES['plain'],
        a={1: 0.3, 2: 0.5, 3: 0.42},
        b={1: 0.3, 2: 0.3, 3: 0.31},
        c={1: 0.1},
    )
    study, results = studied(tmp_path, values=values, options=dict(methods=methods))
    rows = summarise(study, results)
    forest_plot(study.spec, rows, tmp_path / 'forest.png')
    (axis,) = drawn['forest.png'].axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ['a', 'b', 'c']
    colors = [line.get_color() for line in axis.lines if line.get_marker() == 'o']
    assert colors == ['tab:blue', 'gray', 'gray']
    interval = axis.lines[1].get_xdata()
    difference = rows[1].differences['plain']
    assert list(interval) == [difference.low, difference.high]
    assert 'paired over 1 to 3 seeds' in drawn['forest.png'].get_suptitle()


def test_gain_over_length_joins_studies(tmp_path, drawn):
    short, _ = studied(tmp_path, 'short', options=dict(length=2))
    less = dict(plain=VALUES['plain'], wkd={1: 0.25, 2: 0.45, 3: 0.37})
    long, _ = studied(tmp_path, 'long', values=less, options=dict(length=8))
    gain_over_length([long, short], tmp_path / 'gain.png')
    (axis,) = drawn['gain.png'].axes
    (errorbars,) = axis.containers
    line, _, (bars,) = errorbars
    np.testing.assert_allclose(line.get_xydata(), [[2, 0.29 / 3], [8, 0.16 / 3]])
    difference = summarise(short, short.results())[1].differences['plain']
    np.testing.assert_allclose(bars.get_segments()[0], [[2, difference.low], [2, difference.high]])
    assert axis.get_ylabel() == 'fake/score minus plain'
    gain_over_length([long], tmp_path / 'none.png')
    later = Study(read_spec(write_spec(tmp_path, 'later', length=16)))
    gain_over_length([long, later], tmp_path / 'none.png')
    assert 'none.png' not in drawn


def test_bins_of_all_runs_are_pooled():
    """3 + 1 images at 0.25 and 4 at 0.75; the bin without images counts for nothing."""
    runs = [
        dict(count=[3, 4, 0], confidence=[0.2, 0.75, 0], accuracy=[0.0, 0.5, 0]),
        dict(count=[1, 0, 0], confidence=[0.4, None, 0], accuracy=[1.0, None, 0]),
    ]
    count, confidence, accuracy = pooled_bins(runs)
    assert count.tolist() == [4, 4]
    assert confidence.tolist() == pytest.approx([0.25, 0.75])
    assert accuracy.tolist() == pytest.approx([0.25, 0.5])


def test_the_error_of_each_run_counts_and_not_that_of_their_sum():
    """Two runs that miss by 0.2 each, in opposite directions, do not make a calibrated method."""
    runs = [dict(count=[5, 0], confidence=[0.5, 0], accuracy=[right, 0]) for right in (0.3, 0.7)]
    assert [calibration_error(run) for run in runs] == pytest.approx([0.2, 0.2])
    _, confidence, accuracy = pooled_bins(runs)
    assert accuracy == pytest.approx(confidence)


def metrics(near, table):
    return {
        'fake/score': 0.5,
        'fake/calibration': dict(count=[1, 3], confidence=[0.25, 0.75], accuracy=[0, 0.5]),
        'fake/mistakes': dict(near=near, far=5),
        'fake/confusion': table,
        'fake/confusion_names': ['ant', 'bee'],
    }


def test_calibration_mistakes_and_confusions(tmp_path, drawn):
    path = write_spec(tmp_path, seeds=[1, 2, 3])
    write_records(path, dict(plain=VALUES['plain']), metrics=metrics(20, [[8, 2], [4, 6]]))
    study = write_records(path, dict(wkd=VALUES['wkd']), metrics=metrics(8, [[9, 1], [7, 3]]))
    results = study.results()
    calibration_curves(study.spec, results, tmp_path / 'calibration.png')
    (axis,) = drawn['calibration.png'].axes
    assert axis.lines[1].get_label() == 'plain (ECE 25.0 %)'
    np.testing.assert_allclose(axis.lines[1].get_xydata(), [[0.25, -0.25], [0.75, -0.25]])
    kinds_of_mistakes(study.spec, results, tmp_path / 'mistakes.png')
    (axis,) = drawn['mistakes.png'].axes
    assert [[bar.get_width() for bar in one] for one in axis.containers] == [[20, 8], [5, 5]]
    assert [bar.get_x() for bar in axis.containers[1]] == [20, 8]
    confusions(study, results, tmp_path / 'confusion.png')
    axis = drawn['confusion.png'].axes[0]
    np.testing.assert_array_equal(axis.images[0].get_array(), [[0, -1], [3, 0]])
    assert [label.get_text() for label in axis.get_xticklabels()] == ['ant', 'bee']
    assert 'mistakes of WKD-L minus plain' in axis.get_title()


def test_without_such_results_there_is_no_figure(tmp_path, drawn):
    study, results = studied(tmp_path)
    calibration_curves(study.spec, results, tmp_path / 'calibration.png')
    kinds_of_mistakes(study.spec, results, tmp_path / 'mistakes.png')
    confusions(study, results, tmp_path / 'confusion.png')
    assert drawn == {}


def test_the_same_content_gives_the_same_bytes(tmp_path):
    study, results = studied(tmp_path)
    rows = summarise(study, results)
    for name in 'ab':
        forest_plot(study.spec, rows, tmp_path / name / 'forest.png')
    first, second = ((tmp_path / name / 'forest.png').read_bytes() for name in 'ab')
    assert first.startswith(b'\x89PNG')
    assert first == second
    assert Study(study.spec).results() == results
    assert read_spec(study.spec.path) == study.spec
