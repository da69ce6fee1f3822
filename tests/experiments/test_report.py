"""Reports: statistics by their definition, and the tables."""

import csv
import io
import math
from itertools import product

import numpy as np
import pytest

from specs import WEIGHT, result, write_spec
from wkd_det.experiments.report import (
    csv_text,
    markdown_search,
    markdown_table,
    mean_of,
    paired_difference,
    summarise,
)
from wkd_det.experiments.spec import read_spec

# Statistics


def test_mean_and_standard_error():
    mean = mean_of([1.0, 2.0, 3.0, 6.0])
    assert mean.value == 3.0
    assert mean.error == pytest.approx(math.sqrt(14 / 3) / 2)
    assert mean.count == 4
    assert math.isnan(mean_of([1.0]).error)
    with pytest.raises(ValueError, match='values must not be empty'):
        mean_of([])


def test_paired_difference_removes_what_seeds_share():
    reference = {1: 0.1, 2: 0.5, 3: 0.9}
    difference = paired_difference(
        {seed: value + 0.01 for seed, value in reference.items()}, reference
    )
    assert difference.value == pytest.approx(0.01)
    assert difference.low == pytest.approx(0.01)
    assert difference.high == pytest.approx(0.01)
    assert (difference.count, difference.ahead) == (3, 3)


def test_interval_is_that_of_all_resamples():
    """Four seeds have 4^4 resamples; SciPy's random ones come close to all of them."""
    gaps = [0.0, 0.1, 0.3, 0.8]
    means = sorted(np.mean(choice) for choice in product(gaps, repeat=4))
    expected = np.percentile(means, [2.5, 97.5])
    difference = paired_difference(dict(enumerate(gaps)), dict.fromkeys(range(4), 0.0))
    assert (difference.low, difference.high) == pytest.approx(tuple(expected), abs=0.03)
    again = paired_difference(dict(enumerate(gaps)), dict.fromkeys(range(4), 0.0))
    assert again == difference
    assert difference.ahead == 3  # a tie is not ahead


def test_interval_of_five_seeds_covers_what_the_document_says():
    """83 % of normal differences, in 2000 draws; 600 draws have a standard error of 1.5 %."""
    random = np.random.default_rng(0)
    zero = dict.fromkeys(range(5), 0.0)
    covered = 0
    for _ in range(600):
        difference = paired_difference(dict(enumerate(random.normal(size=5))), zero)
        covered += difference.low <= 0 <= difference.high
    assert covered / 600 == pytest.approx(0.83, abs=0.045)


def test_only_seeds_that_both_have_are_compared():
    difference = paired_difference({1: 1.0, 2: 5.0}, {2: 4.0, 3: 0.0})
    assert (difference.value, difference.count) == (1.0, 1)
    assert math.isnan(difference.low)
    assert paired_difference({1: 1.0}, {2: 1.0}) is None


# Tables


def test_table(tmp_path, results):
    spec = read_spec(write_spec(tmp_path))
    rows = summarise(spec, results)
    assert markdown_table(spec, rows).splitlines() == [
        '| method | seeds | coco/bbox_mAP | minus plain [95 %] | s / step | extra memory (MiB) |',
        '|---|---|---|---|---|---|',
        '| plain | 2 | 0.3000 ± 0.1000 |  | 0.500 | +0 |',
        '| WKD-L | 2 | 0.4000 ± 0.1000 | +0.1000 [+0.1000, +0.1000], 2/2 ahead | 0.625 | +58 |',
    ]


def test_table_of_what_there_is(tmp_path):
    spec = read_spec(write_spec(tmp_path))
    rows = summarise(spec, dict(wkd={2: result(0.3, memory=None)}))
    assert markdown_table(spec, rows).splitlines()[2:] == ['| WKD-L | 1 | 0.3000 |  | 0.500 |  |']


def test_csv(tmp_path, results):
    spec = read_spec(write_spec(tmp_path))
    rows = list(
        csv.DictReader(io.StringIO(csv_text(spec, [('final', 'wkd', 0.5, 2, results['wkd'][2])])))
    )
    assert list(rows[0])[:6] == [
        'stage', 'method', 'factor', 'seed', 'coco/bbox_mAP', 'coco/bbox_mAP_50',
    ]  # fmt: skip
    assert rows[0]['factor'] == '0.5'
    assert float(rows[0]['coco/bbox_mAP']) == 0.5
    assert rows[0]['fingerprint'] == 'abc'


def test_search_is_in_the_record(tmp_path):
    spec = read_spec(write_spec(tmp_path, search=dict(seeds=[9], factors=[0.5, 1])))
    scores = dict(wkd={0.5: [0.25], 1.0: [math.nan]})
    assert markdown_search(spec, scores).splitlines()[2:] == [
        '| plain | nothing to tune | |',
        f'| WKD-L | `{WEIGHT}` 1 | **0.5: 0.2500**, 1: failed |',
    ]
