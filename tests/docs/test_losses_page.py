"""docs/losses.md: every row names a loss and all of its options; the site lists all names."""

import importlib.util
import re
from pathlib import Path

import pytest

from wkd_det import losses, registry
from wkd_det.functional import FEATURE_DISTANCES
from wkd_det.hooks.term_schedule import TermScheduleHook
from wkd_det.runtime.config import keyword_names

DOCS = Path(__file__).parents[2] / 'docs'
TEXT = (DOCS / 'losses.md').read_text(encoding='utf-8')
ROWS = dict(re.findall(r'^\| `(\w+Loss)` \|.* \| ([^|]*) \|$', TEXT, re.MULTILINE))


@pytest.mark.parametrize('name', ROWS)
def test_a_row_names_a_loss_and_its_options(name):
    named = re.findall(r'`(\w+)`', ROWS[name])
    assert sorted(named) == sorted(keyword_names(getattr(losses, name)))


def test_the_losses_of_the_comparison_have_rows():
    assert len(ROWS) >= 13
    assert {'WKDLogitLoss', 'WKDFeatureLoss', 'KDLoss', 'ICDLoss', 'BoxLoss'} <= set(ROWS)


def test_the_site_lists_every_name():
    """So a loss without a row is documented all the same."""
    path = DOCS / '_ext/registry_table.py'
    spec = importlib.util.spec_from_file_location('registry_table', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = module.tables()
    tables = (
        registry.LOSSES,
        registry.CONNECTORS,
        registry.COST_SOURCES,
        registry.TAPS,
        registry.CLASSIFIER_TAPS,
    )
    for table in tables:
        assert all(f':class:`{name} <' in text for name in table)


@pytest.mark.parametrize(('distribution', 'distance'), FEATURE_DISTANCES)
def test_members_of_the_family(distribution, distance):
    table = TEXT.partition('### The family of WKD-F')[2].partition('```')[0]
    assert f'`{distribution}`' in table
    assert f'`{distance}`' in table


def test_parts_that_can_be_scheduled():
    for name in ROWS:
        for part in getattr(losses, name).scalable:
            assert re.search(rf'`{part}`[^,]* of `{name}`', TEXT), (name, part)


@pytest.mark.parametrize('option', keyword_names(TermScheduleHook))
def test_options_of_the_schedule(option):
    assert re.search(rf'\b{option}\b', TEXT.partition('## Schedules')[2])
